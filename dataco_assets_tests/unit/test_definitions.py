"""Tests the code location as a whole: what it contains, and that loading it imports nothing heavy."""

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from pydantic import SecretStr

from dataco_assets.clicks.row import COLUMNS
from dataco_assets.definitions import build_defs, defs
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.settings import Settings
from dataco_assets.spark_configuration import spark_configuration

SNAPSHOT = Path(__file__).with_name("definitions.json")
HEAVY = ("pyspark", "py4j", "happybase", "thriftpy2", "confluent_kafka", "elasticsearch", "pandas", "pyarrow")


def test_loading_imports_none_of_the_heavy_libraries() -> None:
    program = f"import sys, dataco_assets.definitions; print([m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr


def test_dagster_validates_it_without_any_server(tmp_path: Path) -> None:
    nowhere = "127.0.0.1:1"
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dagster")), "definitions", "validate", "-m", "dataco_assets.definitions"],
        env={
            **os.environ,
            "DAGSTER_HOME": str(tmp_path),
            "DATACO_KAFKA_BOOTSTRAP_SERVERS": nowhere,
            "DATACO_HBASE_THRIFT_PORT": "1",
            "DATACO_ELASTICSEARCH_URL": f"http://{nowhere}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_graph_is_the_one_reviewed() -> None:
    """Compares the visible parts of the graph with a file, so that a change shows in review.

    To accept a change, write what this test prints into the file.
    """
    found = described(defs)
    expected = json.loads(SNAPSHOT.read_text()) if SNAPSHOT.exists() else None
    assert found == expected, json.dumps(found, indent=2)


def described(definitions: dg.Definitions) -> dict[str, Any]:
    graph = definitions.resolve_asset_graph()
    repository = definitions.get_repository_def()
    return {
        "assets": {
            node.key.to_user_string(): {
                "deps": sorted(key.to_user_string() for key in node.parent_keys),
                "group": node.group_name,
                "kinds": sorted(node.kinds),
                "owners": sorted(node.owners),
                "partitioned": node.partitions_def is not None,
                "single run ranges": node.backfill_policy == dg.BackfillPolicy.single_run(),
                "described": bool(node.description),
                "external": node.is_external,
            }
            for node in sorted(graph.asset_nodes, key=lambda node: node.key)
        },
        "checks": sorted(f"{key.asset_key.to_user_string()}: {key.name}" for key in graph.asset_check_keys),
        "jobs": sorted(job.name for job in repository.get_all_jobs() if not job.name.startswith("__")),
        "sensors": sorted(sensor.name for sensor in repository.sensor_defs),
        "resources": sorted(repository.get_top_level_resources()),
    }


def test_a_test_builds_the_platform_on_settings_of_its_own_and_with_any_part_swapped() -> None:
    """The resources have nothing from this process's environment, and the swapped parts are the ones that run."""
    ran: list[str] = []

    @dg.asset
    def raw_clicks(settings: dg.ResourceParam[Settings], hbase: HBaseResource) -> dg.MaterializeResult:
        ran.append(f"{settings.clicks_topic} {hbase.settings.clicks_topic}")
        return dg.MaterializeResult()

    @dg.sensor(name="kafka_lag_sensor", job_name="ingest_clicks")
    def idle(settings: dg.ResourceParam[Settings]) -> dg.SkipReason:
        return dg.SkipReason(f"nothing on {settings.clicks_topic}")

    built = build_defs(
        settings=Settings.load().model_copy(update={"clicks_topic": "mine"}),
        resource_overrides={"spark": "no Spark"},
        asset_overrides={"raw_clicks": raw_clicks},
        job_overrides={"ingest_clicks": dg.define_asset_job("ingest_clicks", tags={"mine": "yes"})},
        sensor_overrides={"kafka_lag_sensor": idle},
    )

    job = built.resolve_job_def("ingest_clicks")
    assert job.tags["mine"] == "yes"
    assert job.execute_in_process(asset_selection=[dg.AssetKey("raw_clicks")]).success
    assert ran == ["mine mine"]
    sensor = built.resolve_sensor_def("kafka_lag_sensor")
    skipped: Any = sensor(dg.build_sensor_context(resources={"settings": (built.resources or {})["settings"]}))
    assert skipped.skip_message == "nothing on mine"
    assert described(built)["assets"].keys() == described(defs)["assets"].keys()


@pytest.mark.parametrize("kind", ["resource", "asset", "asset_check", "job", "sensor"])
def test_an_override_of_nothing_is_refused(kind: str) -> None:
    overrides: dict[str, Any] = {f"{kind}_overrides": {"no_such_part": None}}
    with pytest.raises(ValueError, match=r"has no .* 'no_such_part' to override; it has \w+"):
        build_defs(**overrides)


def test_no_setting_becomes_configuration_that_dagster_stores_or_shows() -> None:
    secret = "s3cr3t-horse"  # noqa: S105  # a made-up one
    mine = {"elasticsearch_password": SecretStr(secret), "clicks_topic": "a-topic-of-mine"}
    built = build_defs(settings=Settings.load().model_copy(update=mine))

    shown = RepositorySnap.from_def(built.get_repository_def())

    names = {resource.name for resource in shown.resources or []}
    assert names == {"settings", "kafka", "hbase", "spark", "elasticsearch"}
    assert secret not in str(shown)
    assert "a-topic-of-mine" not in str(shown)


def test_further_spark_configuration_reaches_the_session_and_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spark_resources.connectors.connector_jars", lambda _: [])
    monkeypatch.setattr("spark_resources.class_archive.class_archive", lambda _: None)
    given = SecretStr('{"spark.executor.memory": "4g", "spark.sql.shuffle.partitions": 64}')
    settings = Settings.load().model_copy(update={"spark_conf": given})
    configuration = spark_configuration(settings)
    assert configuration["spark.executor.memory"] == "4g"
    assert configuration["spark.sql.shuffle.partitions"] == "64"
    assert configuration["spark.sql.session.timeZone"] == "UTC"


def test_only_the_edges_read_the_settings_of_the_process() -> None:
    """Everything else receives them as arguments, so that a test can pass others."""
    root = Path(__file__).parents[2] / "dataco_assets"
    reading = re.compile(r"(?<![\w.])settings\(\)")
    inside = [
        f"{path.relative_to(root)}: {node.name}"
        for path in root.rglob("*.py")
        if path.parent.name != "cli" and path.name != "settings.py"
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and any(reading.search(ast.unparse(statement)) for statement in node.body)
    ]
    assert inside == [], "`settings()` in a body; it may stand in decorators only"


def test_raw_clicks_shows_the_columns_that_a_row_has() -> None:
    metadata = defs.resolve_asset_graph().get(dg.AssetKey("raw_clicks")).metadata
    shown = [column.name for column in metadata["dagster/column_schema"].columns]
    assert shown == [column.decode() for column in COLUMNS]


@pytest.mark.parametrize("name", ["raw_clicks", "url_country_aggregates", "es_click_index"])
def test_every_column_is_explained(name: str) -> None:
    metadata = defs.resolve_asset_graph().get(dg.AssetKey(name)).metadata
    columns = metadata["dagster/column_schema"].columns
    assert columns
    assert all(column.description for column in columns)
