"""The driver's class archive: classes that its JVM would otherwise load from 300 jars, ready to be mapped into memory.

Java calls this application class-data sharing (JEP 350, Java 13 and later). It is optional: a JVM that finds an archive
made for other jars, or by another Java, starts without it. Only a driver that runs its own tasks (a `local` master)
benefits, because only that one has the connectors on its class path.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs

from dataco_assets.aggregates.columns import AGGREGATES, scanned
from dataco_assets.clicks.bots import BotRule
from dataco_assets.errors import DatacoError
from spark_resources.session import create_session, spark_conf, spark_home, spark_jars

_FILE, _MADE_FOR = "classes.jsa", "made-for.txt"
_MAKING, _MAKING_SECONDS = ".making-", 300
_SHOWN_OUTPUT = 600
_ANNOUNCED = re.compile(r"^(NOTE: )?Picked up J\w+_OPTIONS: .*$", re.MULTILINE)  # options from the environment
_TRAINING_RATE = 60  # clicks of a bot per minute: the window that counts them is part of the training
_TRAINING_CLICKS = 1_000


class ClassArchiveFailed(DatacoError):
    """The archive could not be made; everything works without it, but runs start more slowly."""


def class_archive(jars: Sequence[Path]) -> Path | None:
    """The archive for this Java, this Spark and these jars; None if this user can read none.

    Args:
        jars: The connector jars, as the session gets them.
    """
    file = _folder(jars) / _FILE
    return file if os.access(file, os.R_OK) else None


def make_class_archive(jars: Sequence[Path]) -> bool:
    """Makes the archive unless it exists, in a separate process: about 15 s of CPU, and 150 MB of disk.

    Archives for other versions are removed.

    Args:
        jars: The connector jars, as the session gets them.

    Returns:
        Whether it was made.

    Raises:
        ClassArchiveFailed: it cannot be made here.
    """
    if class_archive(jars):
        return False
    target = _folder(jars)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=_MAKING) as scratch:
            made = Path(scratch) / "archive"
            made.mkdir()
            _run_training(made / _FILE, jars)
            (made / _MADE_FOR).write_text(_made_for(jars))
            _put(made, target)
    except OSError as error:
        raise ClassArchiveFailed(f"No class archive for Spark's driver in {target.parent}: {error}.") from error
    _remove_superseded(target, _made_for(jars))
    return True


def _put(made: Path, target: Path) -> None:
    try:
        made.rename(target)
    except OSError:
        if (target / _FILE).is_file():  # another process was faster and made the same archive
            return
        shutil.rmtree(target)  # left by a cleaner that deletes old files but not their folders
        made.rename(target)


def _folder(jars: Sequence[Path]) -> Path:
    """The archive's folder, named after what the JVM checks: its own version, and each jar's path, size and time."""
    release = _java().parent.parent / "release"
    identity = [str(_java()), release.read_text() if os.access(release, os.R_OK) else ""]
    for jar in [*jars, *spark_jars()]:
        state = jar.stat()
        identity.append(f"{jar} {state.st_size} {int(state.st_mtime)}")
    digest = hashlib.sha256("\n".join(identity).encode()).hexdigest()[:16]
    return Path(platformdirs.user_cache_dir("dataco")) / "class-archives" / digest


def _java() -> Path:
    """The Java that pyspark starts."""
    home = os.environ.get("JAVA_HOME")
    found = f"{home}/bin/java" if home else shutil.which("java")
    return Path(found or "java").resolve()


def _made_for(jars: Sequence[Path]) -> str:
    """The folders of Java, Spark and the connectors, one per line."""
    return "\n".join(map(str, [_java(), spark_home(), *sorted({jar.parent for jar in jars})]))


def _remove_superseded(ours: Path, made_for: str) -> None:
    """Removes archives that were made for an earlier state of these folders or for deleted ones, or never finished."""
    for other in ours.parent.iterdir():
        with suppress(FileNotFoundError):  # another process is removing it, too
            if other.name.startswith(_MAKING):
                superseded = other.stat().st_mtime < time.time() - 2 * _MAKING_SECONDS
            else:
                places = (other / _MADE_FOR).read_text()
                superseded = places == made_for or not all(Path(place).exists() for place in places.splitlines())
            if other != ours and superseded:
                shutil.rmtree(other, ignore_errors=True)


def _run_training(archive: Path, jars: Sequence[Path]) -> None:
    command = [sys.executable, "-m", __name__, str(archive), *map(str, jars)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_MAKING_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        raise ClassArchiveFailed(
            f"Spark's driver did not write its class archive within {_MAKING_SECONDS} s. Run `dataco setup` again when "
            "the machine is less busy."
        ) from None
    if done.returncode or not archive.is_file():
        by_java, _, by_python = done.stderr.partition("Traceback ")
        said = (_ANNOUNCED.sub("", by_java).strip() or by_python.strip())[-_SHOWN_OUTPUT:]
        hint = " It takes Java 13 or later." if "Unrecognized VM option" in said else ""
        raise ClassArchiveFailed(
            f"Spark's driver did not write its class archive (exit code {done.returncode}).{hint} It said: {said!r}."
        )


def _train(archive: Path, jars: Sequence[Path]) -> None:
    """Runs the code of a refresh on clicks from a file; the JVM writes the archive when it ends."""
    from dataco_assets.aggregates.table import TablePlace
    from dataco_assets.clicks.hour import HOUR_MS
    from spark_resources.aggregates_table import stored_aggregates, write_hours
    from spark_resources.aggregation import aggregate, held, measured
    from spark_resources.clicks_table import counted
    from spark_resources.publication import documents

    conf = spark_conf(master="local[1]", jars=jars, hbase_zookeeper_quorum="")
    # Java logs every class that it leaves out, which is thousands of lines.
    conf["spark.driver.extraJavaOptions"] += (
        f' "-XX:ArchiveClassesAtExit={archive}" -Xlog:disable -Xlog:all=error:stderr'
    )
    spark = create_session(conf, "class archive")
    with tempfile.TemporaryDirectory(dir=archive.parent) as scratch:
        clicks = (Path(scratch) / "clicks").as_uri()
        spark.range(_TRAINING_CLICKS).selectExpr(*_click_columns(HOUR_MS)).write.parquet(clicks)
        hours, generations = [HOUR_MS], {HOUR_MS: 1}
        read, rows = counted(spark.read.parquet(clicks))
        with held(measured(read, hours, bots=BotRule.of((), _TRAINING_RATE))) as each_click:
            for to in AGGREGATES:
                place = TablePlace((Path(scratch) / "aggregates").as_uri(), aggregate=to)
                made = aggregate(to, each_click, hours, generations, 1)
                write_hours(made, hours, generations, place, "training", {HOUR_MS: 1})
                documents(to, stored_aggregates(spark, place, hours)).write.format("noop").mode("append").save()
        if rows() != _TRAINING_CLICKS:
            raise ClassArchiveFailed(f"{rows()} of {_TRAINING_CLICKS} clicks were read in training.")
    context: Any = spark.sparkContext
    driver: subprocess.Popen[bytes] = context._gateway.proc
    spark.stop()
    if driver.stdin is not None:
        driver.stdin.close()  # which ends it
    if status := driver.wait():
        raise ClassArchiveFailed(f"Spark's driver ended with {status} while it wrote its class archive.")


def _click_columns(hour_ms: int) -> Iterator[str]:
    """Clicks as `spark_resources.clicks_table.read_clicks` gives them, as SQL over `id`."""
    yield "cast(id AS string) AS row_key"
    yield "cast(id % 7 AS string) AS user_id"
    yield f"{hour_ms}L + id AS timestamp"
    for column in scanned(AGGREGATES):
        yield f"if(id % 3 = 0, NULL, concat('{column.name} ', id % 13)) AS {column.name}"


if __name__ == "__main__":
    _train(Path(sys.argv[1]), [Path(jar) for jar in sys.argv[2:]])
