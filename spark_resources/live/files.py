"""Small files beside a checkpoint, on any file system that Spark reaches, such as `file://` and `hdfs://`."""

from typing import Any

from py4j.protocol import Py4JJavaError
from pyspark.sql import SparkSession

from dataco_assets.errors import DatacoError, ErrorKind
from spark_resources.jvm_errors import reported


class CheckpointUnavailable(DatacoError):
    """The folder of the checkpoints cannot be read or written."""

    kind = ErrorKind.PASSING


def read_text(session: SparkSession, uri: str) -> str | None:
    """The content of a file; None when there is none.

    Raises:
        CheckpointUnavailable
    """
    try:
        files, path = _located(session, uri)
        if not files.exists(path):
            return None
        stream = files.open(path)
        try:
            return str(_jvm(session).org.apache.commons.io.IOUtils.toString(stream, "UTF-8"))
        finally:
            stream.close()
    except Py4JJavaError as error:
        raise _unavailable(uri, error) from error


def write_text(session: SparkSession, uri: str, text: str) -> None:
    """Writes a file as a whole: it is there complete, or not at all. An earlier one is replaced.

    Raises:
        CheckpointUnavailable
    """
    folder, _, name = uri.rpartition("/")
    try:
        files, path = _located(session, uri)
        _, unfinished = _located(session, f"{folder}/.{name}.unfinished")  # which a streaming source does not read
        stream = files.create(unfinished, True)
        stream.write(bytearray(text.encode()))
        stream.close()
        if files.exists(path):
            files.delete(path, False)
        if not files.rename(unfinished, path):
            raise CheckpointUnavailable(f"{uri} cannot be written: the file system refused to rename it.")
    except Py4JJavaError as error:
        raise _unavailable(uri, error) from error


def make_folder(session: SparkSession, uri: str) -> None:
    """Creates a folder and those above it, where they are missing.

    Raises:
        CheckpointUnavailable
    """
    try:
        files, path = _located(session, uri)
        files.mkdirs(path)
    except Py4JJavaError as error:
        raise _unavailable(uri, error) from error


def remove(session: SparkSession, uri: str) -> None:
    """Removes a file, if it is there.

    Raises:
        CheckpointUnavailable
    """
    try:
        files, path = _located(session, uri)
        files.delete(path, False)
    except Py4JJavaError as error:
        raise _unavailable(uri, error) from error


def remove_others(session: SparkSession, folder: str, kept: str) -> None:
    """Removes all folders in a folder but one.

    Raises:
        CheckpointUnavailable
    """
    try:
        files, path = _located(session, folder)
        for status in files.listStatus(path):
            if status.isDirectory() and status.getPath().getName() != kept:
                files.delete(status.getPath(), True)
    except Py4JJavaError as error:
        raise _unavailable(folder, error) from error


def _located(session: SparkSession, uri: str) -> tuple[Any, Any]:
    context: Any = session.sparkContext
    path = _jvm(session).org.apache.hadoop.fs.Path(uri)
    return path.getFileSystem(context._jsc.hadoopConfiguration()), path


def _jvm(session: SparkSession) -> Any:
    return session._jvm


def _unavailable(uri: str, error: Exception) -> CheckpointUnavailable:
    return CheckpointUnavailable(
        f"{uri} (DATACO_LIVE_CHECKPOINT_URI) cannot be used: {reported(error).splitlines()[0][:300]}"
    )
