"""Writing aggregates to Elasticsearch with its Spark connector.

Belongs here: the documents, their ids and versions, and what a failure means. Does not belong here: which index a month
is written to, removing documents of older generations, refreshing and verifying (`dataco_assets/index/`).

A document's id is made of hour, page and country, and its version is the generation, `external_gte`: writing the same
again changes nothing, and a generation older than what is published is refused.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects

from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.index.layout import PAGE_PARTS, PROPERTIES, month_of

_ID = "_document_id"
_ID_DIGITS = 32
_CONNECTOR = {
    "es.nodes.wan.only": "true",  # talk to the named address only: nodes behind a proxy or in containers have others
    "es.index.auto.create": "false",
    "es.mapping.id": _ID,
    "es.mapping.exclude": _ID,
    "es.mapping.version": "generation",
    "es.mapping.version.type": "external_gte",
    "es.batch.size.entries": "5000",
    "es.batch.size.bytes": "4mb",
    "es.batch.write.refresh": "false",  # once at the end, by who verifies
    # Documents refused because the node is busy (429) are sent again: in all about 40 s of patience.
    "es.batch.write.retry.count": "8",
    "es.batch.write.retry.wait": "5s",
    "es.http.timeout": "20s",
    "es.http.retries": "1",
}


class PublicationFailed(DatacoError):
    """Elasticsearch did not take all documents; the hour must be published again."""


class NewerGenerationPublished(PublicationFailed):
    """The index holds a newer generation of the hour: this one is out of date."""


class ElasticsearchUnreachable(PublicationFailed):
    """Elasticsearch does not answer; trying again later may help."""

    kind = ErrorKind.PASSING


class DocumentsRefused(PublicationFailed):
    """Elasticsearch refuses the documents as they are: mapping or permission; trying again does not help."""


class ElasticsearchFull(PublicationFailed):
    """Elasticsearch blocks writing, as it does when a disk is full."""

    kind = ErrorKind.PASSING


def documents(aggregates: DataFrame) -> DataFrame:
    """The documents of aggregates: the index's fields with times as epoch ms, and `_document_id`, the `_id`.

    Ids, hosts and paths are those that `dataco_assets.index.layout` gives.
    """
    hour_ms = F.unix_millis("hour")
    identity = F.concat_ws("|", hour_ms.cast("string"), "page", "country")
    return (
        aggregates.withColumn(_ID, F.substring(F.sha2(identity, 256), 1, _ID_DIGITS))
        .withColumn("host", F.regexp_extract("page", PAGE_PARTS, 1))
        .withColumn("path", F.regexp_extract("page", PAGE_PARTS, 2))
        .withColumn("hour", hour_ms)
        .withColumn("computed_at", F.unix_millis("computed_at"))
        .withColumnRenamed("page", "url")
        .select(_ID, *PROPERTIES)
    )


def publish(
    aggregates: DataFrame,
    hours: Iterable[int],
    indices: Mapping[str, str],
    *,
    url: str,
    username: str = "",
    password: str = "",
) -> None:
    """Writes the aggregates of the hours, each into the index of its month.

    When it fails, some documents may have been written: publish again, or a newer generation.

    Args:
        aggregates: Columns as in `dataco_assets.aggregates.columns`; best what was stored
            (`spark_resources.aggregates_files.stored_aggregates`), for a second month goes through them again.
        hours: The hours (epoch ms) to write; rows of others are left out.
        indices: The index of each month (`YYYY.MM`), as `dataco_assets.index.setup.write_indices` gives them.
        url: Elasticsearch, `http(s)://host:port`.
        username: User name; empty: no authentication.
        password: That user's password.

    Raises:
        NewerGenerationPublished: a document of a newer generation is in the index.
        ElasticsearchUnreachable: it does not answer.
        ElasticsearchFull: writing is blocked.
        DocumentsRefused: an index is missing, its mapping does not fit, or the user may not write.
        PublicationFailed: any other refusal.
    """
    connection = _connection(url, username, password)
    months: dict[str, list[int]] = {}
    for hour in sorted(set(hours)):
        months.setdefault(month_of(hour), []).append(hour)
    missing = sorted(months.keys() - indices.keys())
    if missing:
        raise DocumentsRefused(f"There is no index for {', '.join(missing)}. `dataco setup` says what is amiss.")
    ready = documents(aggregates)
    for month, members in months.items():
        of_month = ready.where(f"hour IN ({', '.join(f'{hour}L' for hour in members)})")
        writer = of_month.write.format("org.elasticsearch.spark.sql").mode("append")
        try:
            writer.options(**_CONNECTOR, **connection).save(indices[month])
        except (Py4JJavaError, PySparkException) as error:
            raise _explained(indices[month], url, error) from error


def _connection(url: str, username: str, password: str) -> dict[str, str]:
    parts = urlsplit(url)
    secure = parts.scheme == "https"
    options = {
        "es.nodes": f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or "",
        "es.port": str(parts.port or (443 if secure else 80)),
        "es.net.ssl": str(secure).lower(),
    }
    if username:
        options |= {"es.net.http.auth.user": username, "es.net.http.auth.pass": password}
    return options


_MEANINGS: tuple[tuple[str, type[PublicationFailed], str], ...] = (
    (
        r"version_conflict_engine_exception",
        NewerGenerationPublished,
        "a newer generation of an hour is published already. Nothing is lost: this run was out of date.",
    ),
    (
        r"cluster_block_exception|flood.stage|disk usage exceeded|No space left",
        ElasticsearchFull,
        "Elasticsearch blocks writing, which it does when a disk is nearly full. Free space and run again.",
    ),
    (
        r"strict_dynamic_mapping_exception|mapper_parsing_exception|document_parsing_exception|illegal_argument_exception",
        DocumentsRefused,
        "the index's mapping does not take the documents. `dataco index rebuild` makes it anew from the template.",
    ),
    (
        r"security_exception|unauthorized|Unauthorized|Forbidden|\b40[13]\b",
        DocumentsRefused,
        "the user may not write there. See DATACO_ELASTICSEARCH_USERNAME and DATACO_ELASTICSEARCH_PASSWORD.",
    ),
    (
        r"index_not_found_exception|auto.creation|autocreation|index .* missing",
        DocumentsRefused,
        "the index is missing. `dataco setup` creates the template and the indices.",
    ),
    (
        r"NoNodesLeftException|Cannot detect ES version|Connection refused|timed out|Connection error|es_rejected",
        ElasticsearchUnreachable,
        "Elasticsearch does not answer, or is too busy to. Is it up, and DATACO_ELASTICSEARCH_URL its address?",
    ),
)


def _explained(index: str, url: str, error: Exception) -> PublicationFailed:
    said = _said(error)
    for pattern, kind, meaning in _MEANINGS:
        if re.search(pattern, said):
            return kind(f"The hours could not be published to {index} at {url}: {meaning}")
    reason = ascii(said[:300])
    return PublicationFailed(f"The hours could not be published to {index} at {url}: {reason}. They stay to be done.")


def _said(error: Exception) -> str:
    """What the JVM said, with the reasons behind it; not the trace, which is full of other words."""
    if not isinstance(error, Py4JJavaError):
        return str(error)
    messages: list[str] = []
    cause: Any = error.java_exception
    while cause is not None and len(messages) < 10:
        text = str(cause.toString())
        # A failed task's report carries its whole stack; the lines that are not frames say what was wrong.
        messages += [line for line in text.splitlines() if not line.lstrip().startswith("at ")]
        cause = cause.getCause()
    return "\n".join(messages)
