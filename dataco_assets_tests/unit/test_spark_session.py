"""Tests what a run does with Spark before and after its session starts: a cluster that is away, and the run's id."""

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import pytest
from pyspark.sql import SparkSession

from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings
from spark_resources.session import SparkMasterUnavailable, planned_for, require_master


@pytest.mark.parametrize(
    ("master", "why"),
    [
        ("spark://127.0.0.1:1", "refused"),
        ("spark://nohost.invalid:7077", "not known"),
        ("spark://127.0.0.1:1,nohost.invalid:7077", "refused.*nohost.invalid.*not known"),
    ],
)
def test_a_master_that_does_not_answer_is_named_within_seconds(master: str, why: str) -> None:
    resource = SparkResource(settings=Settings(spark_master=master))  # pyright: ignore[reportCallIssue]
    began = time.monotonic()
    with pytest.raises(SparkMasterUnavailable, match=rf"{master} does not answer.*{why}.*DATACO_SPARK_MASTER"):
        _ = resource.session
    assert time.monotonic() - began < 10


def test_one_master_that_answers_is_enough_and_others_are_not_asked() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        require_master(f"spark://127.0.0.1:1,127.0.0.1:{listener.getsockname()[1]}")
    for master in ("local[2]", "yarn", "k8s://https://nohost.invalid:6443"):
        require_master(master)


_RUN = """
import json
import dagster as dg
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import settings

@dg.op
def work(spark: SparkResource) -> None:
    session = spark.session
    session.range(10).selectExpr("sum(id)").collect()
    context = session.sparkContext
    jobs = len(context.statusTracker().getJobIdsForGroup(RUN_ID))
    print(json.dumps({"application": context.appName, "jobs": jobs}))

@dg.job(resource_defs={"spark": SparkResource(settings=settings())})
def computing():
    work()

RUN_ID = "7b0d3a3e-0000-4000-8000-000000000000"
assert computing.execute_in_process(run_id=RUN_ID).success
"""


def test_sparks_ui_names_the_run_of_an_application_and_of_its_jobs() -> None:
    environment = {
        **os.environ,
        "DATACO_SPARK_MASTER": "local[1]",
        "DATACO_SPARK_DRIVER_MEMORY": "512m",
        "DATACO_SPARK_DRIVER_IDLE_SECONDS": "0",
    }
    done = subprocess.run([sys.executable, "-c", _RUN], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["application"] == "dataco run 7b0d3a3e-0000-4000-8000-000000000000"
    assert told["jobs"] >= 1


@pytest.mark.parametrize(("rows", "few"), [(20_000, True), (20_001, False)])
def test_queries_of_few_rows_are_planned_without_generated_code(spark: SparkSession, rows: int, few: bool) -> None:
    names = ("spark.sql.codegen.wholeStage", "spark.sql.adaptive.enabled")
    before = [spark.conf.get(name) for name in names]
    with planned_for(spark, rows):
        assert [spark.conf.get(name) for name in names] == (["false", "false"] if few else before)
        assert ("*(1)" in _plan(spark)) is not few
    assert [spark.conf.get(name) for name in names] == before
    assert "true" in before


def _plan(spark: SparkSession) -> str:
    rows: Any = spark.range(9).groupBy("id").count()
    rows.collect()
    return str(rows._jdf.queryExecution().executedPlan())
