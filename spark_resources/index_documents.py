"""An index's documents of hours as a DataFrame, and what has to change so that they equal the aggregates.

Belongs here: reading documents on the executors, and comparing them. Does not belong here: writing them
(`publication.py`), and which runs may do so.

Documents are read as JSON, and every field is compared by the schema of the documents to be written. So a new column
needs no change here, whatever its type: numbers, text, arrays, structures and binary values (as Base64 text).
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F  # noqa: N812  # the name every Spark reader expects
from pyspark.sql.types import StringType, StructType

from dataco_assets.aggregates.columns import COMPUTED_AT, GENERATION
from dataco_assets.index.layout import time_text

DOCUMENT_ID = "_document_id"
WRITE = "_write"
"""Column of `changes`: whether the document is to be written; otherwise it is to be deleted."""
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


def changes(documents: DataFrame, stored: DataFrame, rewritten: Collection[int]) -> DataFrame:
    """The documents to write or to delete, so that the index holds exactly the given ones.

    A stored document is left as it is if each field that comes from clicks is the same, and if a run of this generation
    or an older one wrote it: otherwise something else than the platform did.

    Args:
        documents: What the index is to hold: `_document_id` and the fields.
        stored: What it holds (`stored_documents`).
        rewritten: Hours (epoch ms) whose documents are all written.

    Returns:
        The columns of `documents`, and `_write`. Of a document to delete, only `_document_id` is set.
    """
    fields = StructType([field for field in documents.schema if field.name != DOCUMENT_ID])
    metadata = StructType().add("_version", StringType())
    parsed = stored.select(_STORED_ID, F.from_json(_STORED, fields.add("_metadata", metadata)).alias(_STORED))
    both = documents.join(parsed, documents[DOCUMENT_ID] == parsed[_STORED_ID], "full_outer")
    names = [name for name in documents.columns if name != DOCUMENT_ID]
    same = [f"{name} <=> {_STORED}.{name}" for name in names if name not in _ORIGIN]
    if rewritten:
        hours = ", ".join(f"'{time_text(hour)}'" for hour in sorted(rewritten))
        same.append(f"hour NOT IN ({hours})")
    unchanged = " AND ".join([*same, *_WRITTEN_BY_A_RUN])
    return both.where(f"NOT coalesce({unchanged}, false)").selectExpr(
        f"coalesce({DOCUMENT_ID}, {_STORED_ID}) AS {DOCUMENT_ID}", *names, f"{DOCUMENT_ID} IS NOT NULL AS {WRITE}"
    )
