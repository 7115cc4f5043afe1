"""A real PostgreSQL server for tests, with an empty database and a password that a URL could trip over."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from local_stack.ports import LOOPBACK, choose

USER = "dagster"
DATABASE = "dagster"
PASSWORD = "it has: a%40 @and /"  # noqa: S105  # of a throw-away server; every character that a URL could trip over
_BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
_SERVER_USER = "postgres"  # Debian's package creates it; the server refuses to run as root

needs_postgres = pytest.mark.skipif(
    not _BINARIES, reason="no PostgreSQL server here (Debian: apt-get install postgresql; .ci/run does)"
)


@dataclass(frozen=True)
class Postgres:
    """A server's files and port."""

    folder: Path
    port: int

    @property
    def address(self) -> str:
        """Address of the database, without user and password."""
        return f"postgresql://{LOOPBACK}:{self.port}/{DATABASE}"

    def start(self) -> None:
        """Starts the server, and waits until it answers."""
        options = f"-c listen_addresses={LOOPBACK} -c port={self.port} -c unix_socket_directories={self.folder}"
        _control(self, "-o", f"{options} -c fsync=off", "--log", self.folder / "log", "start")

    def stop(self) -> None:
        """Stops the server as a crash would."""
        _control(self, "--mode", "immediate", "stop")

    def query(self, statement: str, database: str = DATABASE) -> str:
        """What a statement answers, by the server's own client."""
        connection = f"host={LOOPBACK} port={self.port} user={USER} passfile=/dev/null dbname={database}"
        done = subprocess.run(
            [_BINARIES[-1].parent / "psql", connection, "--tuples-only", "--no-align", "--command", statement],
            env={**os.environ, "PGPASSWORD": PASSWORD},
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """A server with an empty database, its files below the system's temporary folder, where its user may go."""
    folder = Path(tempfile.mkdtemp(prefix="dataco-postgres-"))
    try:
        (password := folder / "password").write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (folder, password):
                shutil.chown(path, _SERVER_USER, _SERVER_USER)
        server = Postgres(folder, choose(["postgres"])["postgres"])
        trust = ("--auth=scram-sha-256", f"--pwfile={password}", f"--username={USER}")
        _run("initdb", "--pgdata", folder / "data", *trust, "--no-sync")
        server.start()
        try:
            server.query(f"CREATE DATABASE {DATABASE}", database="postgres")
            yield server
        finally:
            if (folder / "data" / "postmaster.pid").exists():
                server.stop()
    finally:
        shutil.rmtree(folder)


def _control(server: Postgres, *command: object) -> None:
    _run("pg_ctl", "--pgdata", server.folder / "data", "--wait", *command)


def _run(program: str, *arguments: object) -> None:
    words = [str(word) for word in (_BINARIES[-1].parent / program, *arguments)]
    if os.geteuid() == 0:
        words = ["setpriv", f"--reuid={_SERVER_USER}", f"--regid={_SERVER_USER}", "--clear-groups", *words]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
