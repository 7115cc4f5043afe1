"""The Java codec, compiled once for the tests of both codecs."""

import pytest

from dataco_assets_tests.java_harness import SINK, compiled


@pytest.fixture(scope="session")
def class_path(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Java codec and its harnesses, with the jars they need."""
    return compiled(SINK, tmp_path_factory.mktemp("java"))
