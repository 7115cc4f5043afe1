"""A Spark cluster that cannot be reached is named before a session is started, which would try for a minute."""

import socket
import time
from contextlib import closing

import pytest

from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import Settings
from spark_resources.session import SparkMasterUnavailable, require_master


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
