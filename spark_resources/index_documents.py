"""An index's documents of hours as a DataFrame, and what has to change so that they equal the aggregates.

Belongs here: reading documents on the executors, and comparing them. Does not belong here: writing them
(`publication.py`), and which runs may do so.

Documents are read as JSON, and every field is compared by the schema of the documents to be written. So a new column
needs no change here, whatever its type: numbers, text, arrays, structures and binary values (as Base64 text).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from typing import Any

from pyspark.sql import DataFrame, Row, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects
from pyspark.sql.types import StringType, StructType

from dataco_assets.aggregates.columns import (
    CLICK_COUNT,
    COMPUTED_AT,
    ENTERING_USERS,
    GENERATION,
    HOUR,
    PAGES,
    TIME_SPENT_SECONDS,
)
from dataco_assets.index.differences import SHOWN_ROWS, ChangedRow, HourDifference
from dataco_assets.index.layout import time_of, time_text

DOCUMENT_ID = "_document_id"
WRITE = "_write"
"""Column of `changes`: whether the document is to be written; otherwise it is to be deleted."""
FORMER = "_former"
"""Column of `changes`: what the index holds of the document, as far as `hour_differences` needs it."""
_DIFFERS = "differs"
_MEASURES = {"clicks": CLICK_COUNT.name, "users": ENTERING_USERS.name, "seconds": TIME_SPENT_SECONDS.name}
_KEYS = (HOUR.name, *PAGES.group)
_COMPARED = (*_KEYS, *_MEASURES.values())
_STORED_ID, _STORED = "_stored_id", "_stored"
_ORIGIN = (GENERATION.name, COMPUTED_AT.name)
"""Columns that say how a row came about: of a document, by which run it was written last."""
_WRITTEN_BY_A_RUN = (
    f"{_STORED}.generation = CAST({_STORED}._metadata._version AS long)",
    f"{_STORED}.generation <= generation",
    f"{_STORED}.computed_at <= computed_at",
)
"""The version is that of the run whose generation the document names, and this run is not an older one."""
_READING = {
    "es.read.metadata": "true",
    "es.read.metadata.version": "true",
    "es.scroll.size": "5000",
    # A large index is read by several tasks.
    "es.input.max.docs.per.partition": "100000",
}


def stored_documents(
    session: SparkSession, index: str, hours: Sequence[int], connection: Mapping[str, str]
) -> DataFrame:
    """The documents that a search finds of the hours (epoch ms): id and JSON text, with metadata.

    Args:
        session: The session.
        index: Name of the index.
        hours: Starts of the hours, epoch ms.
        connection: The connector's options of the server.
    """
    query = {"query": {"terms": {"hour": list(hours)}}}
    jvm: Any = session._jvm
    options: Any = jvm.java.util.HashMap()
    for name, value in {**_READING, **connection, "es.resource": index, "es.query": json.dumps(query)}.items():
        options.put(name, value)
    # The connector's DataFrame would need to know each field's type, and gives no versions.
    rows = jvm.org.elasticsearch.spark.rdd.api.java.JavaEsSpark.esJsonRDD(session.sparkContext._jsc, options)
    encoders = jvm.org.apache.spark.sql.Encoders
    pairs = encoders.tuple(encoders.STRING(), encoders.STRING())
    inner: Any = session._jsparkSession
    made = DataFrame(inner.createDataset(rows.rdd(), pairs).toDF(), session)
    return made.toDF(_STORED_ID, _STORED)


def changes(
    documents: DataFrame, stored: DataFrame, rewritten: Collection[int], *, with_former: bool = False
) -> DataFrame:
    """The documents to write or to delete, so that the index holds exactly the given ones.

    A stored document is left as it is if each field that comes from clicks is the same, and if a run of this generation
    or an older one wrote it: otherwise something else than the platform did.

    Args:
        documents: What the index is to hold: `_document_id` and the fields.
        stored: What it holds (`stored_documents`).
        rewritten: Hours (epoch ms) whose documents are all written.
        with_former: Whether `hour_differences` needs the result, too.

    Returns:
        The columns of `documents`, and `_write`. Of a document to delete, only `_document_id` is set. With `_former`,
        if asked for.
    """
    fields = StructType([field for field in documents.schema if field.name != DOCUMENT_ID])
    metadata = StructType().add("_version", StringType())
    parsed = stored.select(_STORED_ID, F.from_json(_STORED, fields.add("_metadata", metadata)).alias(_STORED))
    both = documents.join(parsed, documents[DOCUMENT_ID] == parsed[_STORED_ID], "full_outer")
    names = [name for name in documents.columns if name != DOCUMENT_ID]
    same = [f"{name} <=> {_STORED}.{name}" for name in names if name not in _ORIGIN]
    differs = f"NOT coalesce({' AND '.join(same)}, false)"
    former = [_former(f"{_STORED}.{{}}", differs)] if with_former else []
    if rewritten:
        hours = ", ".join(f"'{time_text(hour)}'" for hour in sorted(rewritten))
        same.append(f"hour NOT IN ({hours})")
    unchanged = " AND ".join([*same, *_WRITTEN_BY_A_RUN])
    return both.where(f"NOT coalesce({unchanged}, false)").selectExpr(
        f"coalesce({DOCUMENT_ID}, {_STORED_ID}) AS {DOCUMENT_ID}",
        *names,
        f"{DOCUMENT_ID} IS NOT NULL AS {WRITE}",
        *former,
    )


def added(documents: DataFrame) -> DataFrame:
    """What `changes` would give if the index held no document."""
    types = {field.name: field.dataType.simpleString() for field in documents.schema}
    nothing = {name: f"CAST(NULL AS {types[name]})" for name in _COMPARED}
    struct = ", ".join(f"'{name}', {value}" for name, value in nothing.items())
    return documents.selectExpr("*", f"true AS {WRITE}", f"named_struct({struct}, '{_DIFFERS}', true) AS {FORMER}")


def hour_differences(changed: DataFrame, hours: Collection[int]) -> list[HourDifference]:
    """How hours differ from the documents that readers have; those that do not are left out.

    Args:
        changed: What is written or deleted (`changes` with `_former`, or `added`), of pages.
        hours: The hours, epoch ms.
    """
    both = [f"coalesce({name}, {FORMER}.{name}) AS {name}" for name in _KEYS]
    numbers = [
        expression
        for name, measure in _MEASURES.items()
        for expression in (
            f"coalesce({FORMER}.{measure}, 0) AS {name}_before",
            f"coalesce({measure}, 0) AS {name}",
        )
    ]
    texts = ", ".join(f"'{time_text(hour)}'" for hour in sorted(hours))
    order = "abs(clicks - clicks_before) DESC, abs(seconds - seconds_before) DESC, page, country"
    rows = (
        changed.where(f"{FORMER}.{_DIFFERS}")
        .selectExpr(*both, *numbers)
        .where(f"hour IN ({texts})")
        .selectExpr(
            "*",
            "count(*) OVER (PARTITION BY hour) AS groups",
            "sum(clicks - clicks_before) OVER (PARTITION BY hour) AS more_clicks",
            "sum(users - users_before) OVER (PARTITION BY hour) AS more_users",
            f"row_number() OVER (PARTITION BY hour ORDER BY {order}) AS place",
        )
        .where(f"place <= {SHOWN_ROWS}")
        .orderBy("hour", "place")
        .collect()
    )
    by_hour: dict[str, list[Row]] = {}
    for row in rows:
        by_hour.setdefault(row["hour"], []).append(row)
    return [
        HourDifference(
            hour=time_of(hour),
            groups=shown[0]["groups"],
            clicks=shown[0]["more_clicks"],
            users=shown[0]["more_users"],
            rows=tuple(ChangedRow(*(row[field.name] for field in fields(ChangedRow))) for row in shown),
        )
        for hour, shown in by_hour.items()
    ]


def _former(name: str, differs: str) -> str:
    struct = ", ".join(f"'{each}', {name.format(each)}" for each in _COMPARED)
    return f"named_struct({struct}, '{_DIFFERS}', {differs}) AS {FORMER}"
