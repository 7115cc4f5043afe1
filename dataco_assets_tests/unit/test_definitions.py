"""The code location as a whole: what it holds, and that loading it is light."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from dataco_assets.definitions import build_defs, defs

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
    """Holds what people see of the graph against a file, so that a change of it shows in review.

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


def test_a_resource_can_be_swapped() -> None:
    swapped = build_defs(resource_overrides={"spark": dg.ResourceDefinition.hardcoded_resource("mine")})
    assert swapped.get_repository_def().get_top_level_resources()["spark"] != defs.resources


@pytest.mark.parametrize("name", ["raw_clicks", "url_country_aggregates", "es_click_index"])
def test_every_column_is_explained(name: str) -> None:
    metadata = defs.resolve_asset_graph().get(dg.AssetKey(name)).metadata
    columns = metadata["dagster/column_schema"].columns
    assert columns
    assert all(column.description for column in columns)
