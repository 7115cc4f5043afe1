"""Runs the unit tests and the style checks of the Java code in `kafka_connect`, as `mvn verify` does."""

import pytest

from dataco_assets_tests.java_harness import verify


@pytest.mark.timeout(900)  # a first build downloads Maven's plugins
def test_the_java_code_passes_its_unit_tests_and_style_checks() -> None:
    verify()
