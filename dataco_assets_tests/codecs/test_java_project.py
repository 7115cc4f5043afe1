"""Runs the unit tests and the style checks of the Java projects, as `mvn verify` does."""

from pathlib import Path

import pytest

from dataco_assets_tests.java_harness import LIVE, SINK, verify


@pytest.mark.timeout(900)  # a first build downloads Maven's plugins
@pytest.mark.parametrize("project", [SINK, LIVE], ids=lambda project: project.name)
def test_the_java_code_passes_its_unit_tests_and_style_checks(project: Path) -> None:
    verify(project)
