"""A real Prometheus and a real Alertmanager for tests: Debian's packages."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from dataco_assets_tests.server_process import ServerProcess
from local_stack.ports import LOOPBACK, choose

PROMTOOL, PROMETHEUS, ALERTMANAGER = (
    shutil.which(name) or "" for name in ("promtool", "prometheus", "prometheus-alertmanager")
)
RULES = Path(__file__).parents[1] / "docker" / "prometheus" / "alerts.yaml"

needs_prometheus = pytest.mark.skipif(
    not (PROMTOOL and PROMETHEUS and ALERTMANAGER),
    reason="no Prometheus here (Debian: apt-get install prometheus prometheus-alertmanager; .ci/run does)",
)


class Prometheus(ServerProcess):
    """A server that scrapes every five seconds.

    Args:
        folder: For its configuration and data.
        rules: File with the rules.
        scraped: `host:port` of what is scraped.
        alertmanager: `host:port` of where alerts are sent; None: nowhere.
    """

    def __init__(self, folder: Path, *, rules: Path, scraped: str, alertmanager: str | None = None) -> None:
        super().__init__(folder / "prometheus.log")
        self._folder = folder
        self.address = f"{LOOPBACK}:{choose(['prometheus'])['prometheus']}"
        config = {
            # Time enough for a scrape while a server is away.
            "global": {"scrape_interval": "5s", "scrape_timeout": "5s", "evaluation_interval": "1s"},
            "rule_files": [str(rules)],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager] if alertmanager else []}]}]},
            "scrape_configs": [{"job_name": "dataco", "static_configs": [{"targets": [scraped]}]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))

    def command(self) -> Sequence[str | Path]:
        return [
            PROMETHEUS,
            f"--config.file={self._folder / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]

    def answers(self) -> bool:
        return requests.get(f"http://{self.address}/-/ready", timeout=5).ok

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression has now."""
        answer = requests.get(f"http://{self.address}/api/v1/query", params={"query": expression}, timeout=10)
        return answer.json()["data"]["result"]


class Alertmanager(ServerProcess):
    """A server that sends alerts on to a webhook at once.

    Args:
        folder: For its configuration and data.
        webhook: URL that is called.
    """

    def __init__(self, folder: Path, *, webhook: str) -> None:
        super().__init__(folder / "alertmanager.log")
        self._folder = folder
        self.address = f"{LOOPBACK}:{choose(['alertmanager'])['alertmanager']}"
        config = {
            "route": {
                "receiver": "webhook",
                "group_by": ["alertname"],
                "group_wait": "0s",
                "group_interval": "1s",
                "repeat_interval": "1h",
            },
            "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook}]}],
        }
        (folder / "alertmanager.yaml").write_text(yaml.safe_dump(config))

    def command(self) -> Sequence[str | Path]:
        return [
            ALERTMANAGER,
            f"--config.file={self._folder / 'alertmanager.yaml'}",
            f"--storage.path={self._folder / 'alerts'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]

    def answers(self) -> bool:
        return requests.get(f"http://{self.address}/-/ready", timeout=5).ok
