"""Tests that commands which need Elasticsearch end within seconds when nothing listens at its address."""

import socket
import time
from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from dataco_assets.cli import index, setup, top, verify
from dataco_assets.settings import settings


@pytest.fixture
def nowhere(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Sets Elasticsearch's address to one at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}" if request.param == "refused port" else "http://nohost.invalid:9200"
    monkeypatch.setenv("DATACO_ELASTICSEARCH_URL", url)
    settings.cache_clear()
    yield url
    settings.cache_clear()


@pytest.mark.parametrize(
    ("nowhere", "arguments"),
    [
        ("refused port", ["top"]),
        ("refused port", ["index", "rebuild"]),
        ("refused port", ["verify"]),
        ("refused port", ["setup"]),
        ("unknown host", ["setup"]),
    ],
    indirect=["nowhere"],
)
def test_that_nothing_is_there_is_reported_soon(nowhere: str, arguments: list[str]) -> None:
    app = typer.Typer()
    app.command()(top.top)
    app.command()(verify.verify)
    app.command()(setup.setup)
    app.add_typer(index.app, name="index")
    CliRunner().invoke(app, [*arguments, "--help"])  # imports

    started = time.monotonic()
    result = CliRunner().invoke(app, arguments)

    assert time.monotonic() - started < 10, "3 s on an idle machine; a client that retries takes 30 s"
    assert result.exit_code != 0
    told = result.stderr + str(result.exception)
    assert nowhere in told
    assert "DATACO_ELASTICSEARCH_URL" in told
