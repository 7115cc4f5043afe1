"""Writes aggregates to Elasticsearch with its Spark connector.

Everything else about the index is in `dataco_assets/index/`: which index a month is written to, removing documents of
older generations, refreshing and verifying.

A document's id is computed from the hour and the group, and its version is the generation, `external_gte`: writing the
same document again changes nothing, and a generation older than the published one is refused. Only documents that
differ from those in the index are written (`index_documents.py`).
"""

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from dataco_assets.aggregates.columns import Aggregate, Column
from dataco_assets.certificates import truststore
from dataco_assets.elasticsearch_errors import (
    ElasticsearchUnavailable,
    VersionConflict,
    failure,
    handshake_failure,
    shortened,
    unavailable,
)
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.index.differences import Held, Restated, Written
from dataco_assets.index.layout import PAGE_PARTS, hours_by_month, properties
from spark_resources.index_documents import (
    DOCUMENT_ID,
    FORMER,
    WRITE,
    added,
    changes,
    hour_differences,
    stored_documents,
)
from spark_resources.jvm_errors import reported
from spark_resources.session import runs_own_tasks

_ID_DIGITS = 32
_TIME_FORMAT = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"
_TRUSTSTORE = "es.net.ssl.truststore.location"
_HANDSHAKE_SECONDS = 5
_CONNECTOR = {
    "es.nodes.wan.only": "true",  # use the configured address only: nodes in containers or behind a proxy report others
    "es.index.auto.create": "false",
    "es.mapping.id": DOCUMENT_ID,
    "es.mapping.exclude": DOCUMENT_ID,
    "es.mapping.version": "generation",
    "es.mapping.version.type": "external_gte",
    "es.batch.size.entries": "5000",
    "es.batch.size.bytes": "4mb",
    "es.batch.write.refresh": "false",  # done once at the end, before verification
    # Documents refused because the node is busy (429) are sent again: in all about 40 s of patience.
    "es.batch.write.retry.count": "8",
    "es.batch.write.retry.wait": "5s",
    "es.http.timeout": "20s",
    "es.http.retries": "1",
}


class ExecutorsElsewhere(DatacoError):
    """The authority's file cannot be handed to executors on other machines."""


class PublicationFailed(DatacoError):
    """Spark could not write the documents, for a reason other than Elasticsearch: a lost executor, memory, a disk."""

    kind = ErrorKind.PASSING


def documents(aggregate: Aggregate, rows: DataFrame) -> DataFrame:
    """The documents of an aggregate's rows: fields with times as ISO 8601 text, and `_document_id`, the `_id`.

    Ids, hosts and paths are those that `dataco_assets.index.layout` gives.
    """
    # SQL text throughout: with some fifty columns, a call to the JVM for each part would take longer than a small hour.
    group = ", ".join(aggregate.group)  # those that are null, which `concat_ws` leaves out, are no part of the id
    identity = f"concat_ws({_quoted(aggregate.separator)}, CAST(unix_millis(hour) AS string), {group})"
    made = {
        "host": f"regexp_extract(page, {_quoted(PAGE_PARTS)}, 1)",
        "path": f"regexp_extract(page, {_quoted(PAGE_PARTS)}, 2)",
        # As `dataco_assets.index.layout.time_text`; the session's time zone is UTC.
        **{name: f"date_format({name}, {_quoted(_TIME_FORMAT)})" for name in ("hour", "computed_at")},
        **{each.name: _filled_buckets(each) for each in aggregate.histograms if each.in_index},
    }
    fields = [f"{made.get(name, name)} AS {name}" for name in properties(aggregate)]
    return rows.selectExpr(f"substring(sha2({identity}, 256), 1, {_ID_DIGITS}) AS {DOCUMENT_ID}", *fields)


def _quoted(text: str) -> str:
    """The text as a SQL literal."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def _filled_buckets(histogram: Column) -> str:
    """A histogram without its empty buckets, which documents do not have; null if all are empty or it is unknown."""
    name = histogram.name
    filled = ", ".join(f"'{bucket}', nullif({name}.{bucket}, 0L)" for bucket in histogram.buckets)
    return f"CASE WHEN {name} IS NOT NULL AND {histogram.counts} > 0 THEN named_struct({filled}) END"


@dataclass(frozen=True)
class Server:
    """Elasticsearch, and how to get in.

    Attributes:
        url: `http(s)://host:port`.
        username: User name; empty: no authentication.
        password: That user's password.
        ca_file: PEM file of the authorities to trust; empty: those that the JVM knows.
    """

    url: str
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""


def publish(
    aggregate: Aggregate,
    rows: DataFrame,
    hours: Iterable[int],
    indices: Mapping[str, str],
    *,
    server: Server,
    held: Held | None = None,
    restated: Restated | None = None,
) -> Written:
    """Writes an aggregate's rows of hours, each into the index of its month; documents that are there already are left.

    If it fails, some documents may have been written; publishing again, or a newer generation, completes them.

    Args:
        aggregate: Whose rows they are.
        rows: All its columns; best what was stored
            (`spark_resources.aggregates_table.stored_aggregates`), for a second month goes through them again.
        hours: The hours (epoch ms) to write; rows of others are left out.
        indices: The index of each month (`YYYY.MM`), as `dataco_assets.index.setup.write_indices` gives them.
        server: Where to write them.
        held: What the index has of them, and must be visible to searches; None: nothing, so that all is written.
        restated: Whose differences are to be reported; None: no hour's.

    Raises:
        ExecutorsElsewhere: executors run on other machines, and nothing names their truststore.
        VersionConflict: the index holds a newer version of a document.
        ElasticsearchError: it does not answer, or refuses.
        PublicationFailed: Spark failed for another reason.
    """
    months = hours_by_month(hours, indices)
    session = rows.sparkSession
    compared: list[_Difference] = []
    written = 0
    with _trust(session, server.ca_file) as trust:
        connection = _connection(server) | trust
        for month, members in months.items():
            of_month = f"unix_millis(hour) IN ({', '.join(f'{hour}L' for hour in members)})"
            wanted = documents(aggregate, rows.where(of_month))
            there = [hour for hour in members if held and hour in held.hours]
            told = [hour for hour in members if restated and hour in restated.hours]
            try:
                if held and there:
                    stored = stored_documents(session, indices[month], there, connection)
                    changed = changes(wanted, stored, held.rewritten, with_former=bool(told))
                    compared.append(_Difference.of(changed))
                    changed = compared[-1].rows
                    count, wanted = compared[-1].to_write, changed.where(WRITE).drop(WRITE, FORMER)
                    differing = count + compared[-1].to_delete
                else:
                    changed = added(wanted) if told else wanted
                    differing = count = wanted.count()
                if restated and told and differing:
                    restated.note(hour_differences(changed, told))
                if count:
                    writer = wanted.write.format("org.elasticsearch.spark.sql").mode("append")
                    writer.options(**_CONNECTOR, **connection).save(indices[month])
                written += count
            except (Py4JJavaError, PySparkException) as error:
                for difference in compared:
                    difference.rows.unpersist()
                found = explain(server.url, error)
                if isinstance(found, ElasticsearchUnavailable):
                    found = _handshake_problem(session, server) or found
                raise found from error
    return Written(written, _stale(compared))


@dataclass(frozen=True)
class _Difference:
    """What differs between the documents of a month and its aggregates.

    Attributes:
        rows: As `changes` gives them, kept for further queries.
        to_write: How many of them are to be written.
        to_delete: How many are to be deleted.
    """

    rows: DataFrame
    to_write: int
    to_delete: int

    @classmethod
    def of(cls, rows: DataFrame) -> Self:
        """Counts the rows, which computes them."""
        kept = rows.persist()
        counts = {row[WRITE]: row["count"] for row in kept.groupBy(WRITE).count().collect()}
        return cls(kept, counts.get(True, 0), counts.get(False, 0))


def _stale(compared: Sequence[_Difference]) -> Iterator[str]:
    """Ids of the documents to delete, a task's at a time."""
    for difference in compared:
        if difference.to_delete:
            for row in difference.rows.where(f"NOT {WRITE}").select(DOCUMENT_ID).toLocalIterator():
                yield row[DOCUMENT_ID]
        difference.rows.unpersist()


@contextmanager
def _trust(session: SparkSession, ca_file: str) -> Iterator[dict[str, str]]:
    """The connector's options for the authorities to trust, in force for as long as the context lasts."""
    if not ca_file or session.sparkContext.getConf().contains(f"spark.{_TRUSTSTORE}"):
        yield {}
        return
    if not runs_own_tasks(str(session.sparkContext.master)):
        raise ExecutorsElsewhere(
            f"Executors of {session.sparkContext.master} run on other machines, where DATACO_ELASTICSEARCH_CA_FILE="
            f"{shortened(ca_file)} may not exist. Put a Java truststore with that certificate on each of them and name "
            f'it in DATACO_SPARK_CONF: {{"spark.{_TRUSTSTORE}": "file:///…", "spark.es.net.ssl.truststore.pass": "…"}}.'
        )
    with truststore(ca_file) as store:
        yield {_TRUSTSTORE: store.path.as_uri(), "es.net.ssl.truststore.pass": store.password}


def _handshake_problem(session: SparkSession, server: Server) -> DatacoError | None:
    """What is wrong with the server's certificate; the connector says only that no node is left."""
    url, ca_file = server.url, server.ca_file
    parts = urlsplit(url)
    if parts.scheme != "https":
        return None
    if not ca_file:
        return _handshake_problem_of_java(session.sparkContext._jvm, url)
    host, port = parts.hostname or "", parts.port or 443
    try:
        with socket.create_connection((host, port), timeout=_HANDSHAKE_SECONDS) as connection:
            ssl.create_default_context(cafile=ca_file).wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLError as error:
        return handshake_failure(url, str(error))
    except OSError:
        pass
    return None


def _handshake_problem_of_java(jvm: Any, url: str) -> DatacoError | None:
    """The same by the authorities that Java knows, which may be others than Python's."""
    try:
        connection = jvm.java.net.URL(url).openConnection()
        connection.setConnectTimeout(_HANDSHAKE_SECONDS * 1000)
        connection.setReadTimeout(_HANDSHAKE_SECONDS * 1000)
        connection.connect()
        connection.disconnect()
    except Py4JJavaError as error:
        if error.java_exception.getClass().getName().startswith("javax.net.ssl."):
            return handshake_failure(url, str(error.java_exception.getMessage()))
    return None


def _connection(server: Server) -> dict[str, str]:
    parts = urlsplit(server.url)
    secure = parts.scheme == "https"
    options = {
        "es.nodes": f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "",
        "es.port": str(parts.port or (443 if secure else 80)),
        "es.net.ssl": str(secure).lower(),
    }
    if server.username:
        options |= {"es.net.http.auth.user": server.username, "es.net.http.auth.pass": server.password}
    return options


_DOCUMENT = "{"  # begins a line that quotes a document or its bulk action: event text, which is never interpreted
_REMOTE = re.compile(r"\bEsHadoopRemoteException: (?:\{type=)?(\w+)(?:: |, reason=)(.*)")
_STATUS = re.compile(r"\bfailed; server\[\S*\] returned \[(\d{3})\|(.*)")
_NO_ANSWER = re.compile(r"\b(?:EsHadoopNoNodesLeftException|EsHadoopTransportException|java\.net\.\w+Exception): (.*)")
_NO_INDEX = re.compile(r"\bTarget index \[\S+\] does not exist and auto-creation is disabled")


def explain(url: str, error: Exception) -> DatacoError:
    """What Spark's failure to write means: one of `dataco_assets.elasticsearch_errors`, else `PublicationFailed`.

    Args:
        url: Elasticsearch's URL.
        error: What Spark raised.
    """
    lines = [line for line in reported(error).splitlines() if not line.lstrip().startswith(_DOCUMENT)]
    text = "\n".join(lines)
    remote = [failure(url, 0, {"type": kind, "reason": reason}) for kind, reason in _REMOTE.findall(text)]
    if remote:  # a conflict can be resolved only if there is no other error
        return min(remote, key=lambda each: isinstance(each, VersionConflict))
    if status := _STATUS.search(text):
        return failure(url, int(status[1]), {"type": status[2].strip(":]")})
    if _NO_INDEX.search(text):
        return failure(url, 0, {"type": "index_not_found_exception", "reason": _NO_INDEX.findall(text)[0]})
    if no_answer := _NO_ANSWER.search(text):
        return unavailable(url, no_answer[1])
    return PublicationFailed(f"Spark could not write the hours to Elasticsearch at {url}: {shortened(text)}")
