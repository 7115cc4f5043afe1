"""Tests the boards of Grafana and the saved objects of Kibana: as generated, consistent, and provisioned in containers.

That their queries find what they should is shown in `integration/test_reading.py` and `test_operations_board.py`.
"""

import importlib.util
import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from itertools import combinations
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import vl_convert
import yaml

from dataco_assets.settings import Settings
from dataco_assets_tests.prometheus import PROMTOOL, needs_prometheus

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
GRAFANA, KIBANA = DOCKER / "grafana", DOCKER / "kibana"
GENERATORS = (GRAFANA / "make_boards.py", KIBANA / "make_saved_objects.py")
BOARDS: Mapping[str, Any] = {path.stem: json.loads(path.read_text()) for path in GRAFANA.glob("boards/*.json")}
SAVED = [json.loads(line) for line in (KIBANA / "traffic.ndjson").read_text().splitlines()]
DATA_SOURCES = {
    each["uid"]: each
    for each in yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "dataco.yaml").read_text())["datasources"]
}


def generator(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def within(value: Any) -> Iterator[Mapping[str, Any]]:
    """Every object in a value."""
    if isinstance(value, dict):
        yield value
        for each in value.values():
            yield from within(each)
    elif isinstance(value, list):
        for each in value:
            yield from within(each)


@pytest.mark.parametrize("path", GENERATORS, ids=lambda path: path.stem)
def test_the_files_are_what_is_generated(path: Path) -> None:
    for file, text in generator(path).written().items():
        assert file.read_text() == text, f"`make boards` writes {file.name}"


def test_there_is_a_board_of_the_traffic_and_one_of_operations() -> None:
    assert {name: board["uid"] for name, board in BOARDS.items()} == {
        "traffic": "dataco-traffic",
        "operations": "dataco-operations",
    }


def test_the_board_of_operations_shows_each_metric_that_the_page_lists() -> None:
    """And the page lists each that is exported: `integration/test_monitoring.py`."""
    page = (ROOT / "docs" / "monitoring.md").read_text()
    shown = {target["expr"] for panel in BOARDS["operations"]["panels"] for target in panel["targets"]}
    assert set(re.findall(r"dataco_\w+", " ".join(shown))) == set(re.findall(r"^\| `(dataco_\w+)` \|", page, re.M))


@pytest.mark.parametrize("name", BOARDS)
def test_panels_have_places_of_their_own(name: str) -> None:
    panels = BOARDS[name]["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    taken = [
        {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
        for place in (panel["gridPos"] for panel in panels)
    ]
    assert all(0 <= x < 24 for cells in taken for x, _ in cells)
    assert not any(one & other for one, other in combinations(taken, 2))


@pytest.mark.parametrize("name", BOARDS)
def test_queries_have_names_and_data_sources_that_there_are(name: str) -> None:
    for panel in BOARDS[name]["panels"]:
        refs = [target["refId"] for target in panel["targets"]]
        assert len({*refs}) == len(refs)
        for target in panel["targets"]:
            used = re.findall(r"\$(\w)\b", target.get("expression", "")) if target.get("type") == "math" else []
            used += [target["expression"]] if target.get("type") == "reduce" else []
            assert {*used} <= {*refs[: refs.index(target["refId"])]}, panel["title"]
        assert any(not target.get("hide") for target in panel["targets"])
    asked = {each["uid"]: each["type"] for each in within(BOARDS[name]) if {"uid", "type"} == set(each)}
    asked.pop("__expr__", None)
    assert asked.items() <= {uid: source["type"] for uid, source in DATA_SOURCES.items()}.items()


@pytest.mark.parametrize("name", BOARDS)
def test_no_panel_averages_or_adds_up_users(name: str) -> None:
    for query in within(BOARDS[name]["panels"]):
        assert query.get("type") not in {"avg", "cardinality", "percentiles"}
        assert query.get("field") not in {"average_time_spent_seconds", "unique_users"}
    users = [
        (panel, target)
        for panel in BOARDS[name]["panels"]
        for target in panel["targets"]
        if any(metric.get("field") == "entering_users" for metric in target.get("metrics", ()))
    ]
    for panel, target in users:
        assert [bucket["settings"]["interval"] for bucket in target["bucketAggs"]] == ["1h"]
        assert panel["type"] == "timeseries" or panel["options"]["reduceOptions"]["calcs"] == ["max"]


def test_data_sources_are_those_of_the_compose_file_and_the_default_settings() -> None:
    services = yaml.safe_load((DOCKER / "docker-compose.yaml").read_text())["services"]
    url = services["dataco"]["environment"]["DATACO_ELASTICSEARCH_URL"]
    pages = Settings.model_fields["index_alias"].default
    names = {
        uid: each["jsonData"].get("index") for uid, each in DATA_SOURCES.items() if each["type"] == "elasticsearch"
    }
    assert names == {
        "dataco-pages": pages,
        "dataco-audience": f"{pages}-audience",
        "dataco-restatements": f"{pages}-restatements",
    }
    assert {each["url"] for each in DATA_SOURCES.values() if each["type"] == "elasticsearch"} == {url}
    assert DATA_SOURCES["dataco-prometheus"]["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    (provider,) = yaml.safe_load((GRAFANA / "provisioning" / "dashboards" / "dataco.yaml").read_text())["providers"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert mounts["./grafana/boards"] == provider["options"]["path"]
    assert mounts["./grafana/provisioning"] == "/etc/grafana/provisioning"


def test_the_compose_files_prometheus_scrapes_its_metrics() -> None:
    folder = DOCKER / "prometheus"
    there, here = (yaml.safe_load((folder / name).read_text()) for name in ("prometheus.yaml", "compose.yaml"))
    del there["alerting"]
    (job,) = here["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["metrics:9464"]}]
    there["scrape_configs"][0]["static_configs"] = job["static_configs"]
    assert here == there


@needs_prometheus
@pytest.mark.parametrize("name", ["prometheus.yaml", "compose.yaml"])
def test_prometheus_takes_its_configuration(name: str) -> None:
    command = [PROMTOOL, "check", "config", DOCKER / "prometheus" / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_kibana_is_of_elasticsearchs_version() -> None:
    services = yaml.safe_load((DOCKER / "docker-compose.yaml").read_text())["services"]
    assert services["kibana"]["image"].partition(":")[2] == services["elasticsearch"]["image"].partition(":")[2]


def test_saved_objects_refer_to_what_the_file_has() -> None:
    present = {(each["type"], each["id"]) for each in SAVED}
    assert len(present) == len(SAVED)
    (dashboard,) = [each for each in SAVED if each["type"] == "dashboard"]
    references = {each["name"]: (each["type"], each["id"]) for each in dashboard["references"]}
    assert set(references.values()) <= present
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    assert {f"{panel['panelIndex']}:{panel['panelRefName']}" for panel in panels} == set(references)
    drawn = {each["id"] for each in SAVED if each["type"] == "visualization"}
    assert drawn == {each["id"] for each in dashboard["references"]}, "each visualisation is on the dashboard, once"
    assert all(panel["gridData"]["x"] + panel["gridData"]["w"] <= 48 for panel in panels)


def specifications() -> Mapping[str, Any]:
    states = (json.loads(each["attributes"]["visState"]) for each in SAVED if each["type"] == "visualization")
    return {state["title"]: json.loads(state["params"]["spec"]) for state in states}


@pytest.mark.parametrize("title", specifications())
def test_a_visualisation_asks_as_kibana_allows(title: str) -> None:
    """Hours and filters of the dashboard may not be asked for beside a query, by Kibana's rules."""
    url = specifications()[title]["data"]["url"]
    views = {each["id"]: each["attributes"]["timeFieldName"] for each in SAVED if each["type"] == "index-pattern"}
    assert url["%context%"] is True
    assert url["%timefield%"] == views[url["index"]]
    assert "query" not in url["body"]
    assert not any("avg" in each or "cardinality" in each for each in within(url["body"]))


@pytest.mark.parametrize("title", specifications())
def test_a_visualisation_compiles(title: str) -> None:
    spec = specifications()[title]
    spec["data"] = {"values": []}
    assert vl_convert.vegalite_to_vega(spec, vl_version="5.21")["marks"]
