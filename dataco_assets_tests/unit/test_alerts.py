"""Tests each alert with Prometheus's own tool: it fires for its fault, and nothing fires while all is well."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from dataco_assets_tests.prometheus import PROMTOOL, RULES, needs_prometheus

PAGE = Path(__file__).parents[2] / "docs" / "monitoring.md"
ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
}
FINE = {
    'dataco_server_up{server="Kafka"}': "1x60",
    "dataco_lost_ranges": "0x60",
    "dataco_retention_headroom_seconds": "604800x60",
    "dataco_oldest_waiting_click_seconds": "4x60",
    "dataco_overdue_hours": "0x60",
    "dataco_account_problems": "0x60",
    "dataco_canary_age_seconds": "400x60",
    "dataco_parked": "0x60",
    "dataco_daemon_heartbeat_age_seconds": "20x60",
    'dataco_connector_tasks{state="FAILED"}': "0x60",
    "dataco_connector_running": "1x60",
    'dataco_clicks_rejected_total{reason="invalid_url"}': "0+1x60",
    "dataco_clicks_stored_total": "0+1000x60",
    'dataco_job_last_success_timestamp_seconds{job="maintain_aggregates"}': "0x60",
}
"""Values at one sample a minute, for an hour, while all is well."""
FAULTS: dict[str, dict[str, str | None]] = {
    "DatacoMetricsMissing": {'dataco_server_up{server="Kafka"}': None},
    "DatacoServerAway": {'dataco_server_up{server="Kafka"}': "0x60"},
    "DatacoClicksLost": {"dataco_lost_ranges": "1x60"},
    "DatacoRetentionNear": {
        "dataco_retention_headroom_seconds": "21000x60",
        "dataco_oldest_waiting_click_seconds": "901x60",
    },
    "DatacoClicksWait": {"dataco_oldest_waiting_click_seconds": "901x60"},
    "DatacoHoursWait": {"dataco_overdue_hours": "1x60"},
    "DatacoNotAccountedFor": {"dataco_account_problems": "1x60"},
    "DatacoCanaryLost": {"dataco_canary_age_seconds": "901x60"},
    "DatacoParked": {"dataco_parked": "1x60"},
    "DatacoDaemonSilent": {"dataco_daemon_heartbeat_age_seconds": "121x60"},
    "DatacoConnectorFailed": {'dataco_connector_tasks{state="FAILED"}': "1x60"},
    "DatacoRejectedShare": {'dataco_clicks_rejected_total{reason="invalid_url"}': "0+60x60"},
    "DatacoMaintenanceOverdue": {
        'dataco_job_last_success_timestamp_seconds{job="maintain_aggregates"}': "-260000x60",
    },
}
IMPLIED = {"DatacoRetentionNear": {"DatacoClicksWait"}}
"""Alerts that another one brings with it."""


def firing(series: dict[str, str], folder: Path) -> set[str]:
    """The alerts that fire after half an hour."""
    none_fires = [{"eval_time": "30m", "alertname": alert, "exp_alerts": []} for alert in ALERTS]
    values = [{"series": name, "values": each} for name, each in series.items()]
    tests = [{"interval": "1m", "input_series": values, "alert_rule_test": none_fires}]
    file = folder / "case.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "tests": tests}))
    done = subprocess.run([PROMTOOL, "test", "rules", file], capture_output=True, text=True, check=False, timeout=60)
    found = set(re.findall(r"alertname: (\w+)", done.stdout + done.stderr))
    assert done.returncode == bool(found), done.stdout + done.stderr
    return found


@needs_prometheus
def test_nothing_fires_while_all_is_well(tmp_path: Path) -> None:
    assert firing(FINE, tmp_path) == set()


@needs_prometheus
@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_for_its_fault_alone(alert: str, tmp_path: Path) -> None:
    changed = {**FINE, **FAULTS[alert]}
    series = {name: values for name, values in changed.items() if values is not None}
    assert firing(series, tmp_path) == {alert} | IMPLIED.get(alert, set())


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_names_its_place_in_the_runbook(alert: str) -> None:
    page, _, anchor = ALERTS[alert]["annotations"]["runbook"].partition("#")
    assert PAGE.match(page)
    headings = re.findall(r"^### (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert anchor == alert.lower()
    assert alert in headings
