"""Commands that need Elasticsearch end within seconds when its port refuses: a person waits for them."""

import socket
import time
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from dataco_assets.cli import index, setup, top, verify
from dataco_assets.settings import settings


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a port at which nothing listens, as the setting of Elasticsearch's."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}"
    monkeypatch.setenv("DATACO_ELASTICSEARCH_URL", url)
    settings.cache_clear()
    yield url
    settings.cache_clear()


@pytest.mark.parametrize("arguments", [["top"], ["index", "rebuild"], ["verify"], ["setup"]])
def test_a_refused_port_is_reported_within_three_seconds(refused: str, arguments: list[str]) -> None:
    app = typer.Typer()
    app.command()(top.top)
    app.command()(verify.verify)
    app.command()(setup.setup)
    app.add_typer(index.app, name="index")
    CliRunner().invoke(app, [*arguments, "--help"])  # imports

    started = time.monotonic()
    result = CliRunner().invoke(app, arguments)

    assert time.monotonic() - started < 3
    assert result.exit_code != 0
    assert refused in result.stderr + str(result.exception)
