"""Publishes aggregates with the platform's code, and with `elasticsearch.helpers.parallel_bulk`."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

from elasticsearch import Elasticsearch
from elasticsearch.helpers import parallel_bulk

from benchmarks.workers.spark import session
from dataco_assets.aggregates.columns import PAGES
from dataco_assets.aggregates.reading import table_state
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.clients.elasticsearch import connect
from dataco_assets.clients.elasticsearch import refresh as make_visible
from dataco_assets.index.indices import Index
from dataco_assets.index.layout import month_of, time_of
from dataco_assets.index.setup import ensure_index, ensure_month_indices
from dataco_assets.settings import settings
from spark_resources.aggregates_table import stored_aggregates
from spark_resources.publication import Server, documents
from spark_resources.publication import publish as publish_hours

_FEW_HOURS = 2
_PEER_CHUNK = 5_000
_PEER_THREADS = 4


def publish(documents_wanted: int, repetitions: int) -> dict[str, Any]:
    """Publishes the stored hours, newest last, up to so many documents; each way into indices of its own.

    The peer is handed its documents ready-made in memory; the platform reads the table and makes them.
    """
    config = settings()
    client, place = connect(config), TablePlace.of(config)
    hours, groups = _hours_with(place, documents_wanted)
    spark = session()
    ready = [row.asDict() for row in documents(PAGES, stored_aggregates(spark, place, hours)).collect()]
    indices_of = {}
    for way in ("platform", "peer"):
        own = config.model_copy(update={"index_alias": f"{config.index_alias}-{way}"})
        deque(ensure_index(Index.of(client, own, PAGES), own), maxlen=0)
        index = Index(client, own.index_alias)
        ensure_month_indices(index, own, hours)
        indices_of[way] = index.by_month(hours)
    url = config.elasticsearch_url
    few, server = hours[:_FEW_HOURS], Server(url)
    publish_hours(PAGES, stored_aggregates(spark, place, few), few, indices_of["platform"], server=server)
    seconds: dict[str, list[float]] = {"platform": [], "peer": []}
    for _ in range(repetitions):
        started = time.monotonic()
        publish_hours(PAGES, stored_aggregates(spark, place, hours), hours, indices_of["platform"], server=server)
        make_visible(client, list(indices_of["platform"].values()))
        seconds["platform"].append(time.monotonic() - started)
        started = time.monotonic()
        _bulk(url, ready, indices_of["peer"])
        make_visible(client, list(indices_of["peer"].values()))
        seconds["peer"].append(time.monotonic() - started)
    spark.stop()
    # The first of each fills an empty index; the others replace every document.
    return {"documents": groups, "hours": len(hours), "seconds": {way: times[0] for way, times in seconds.items()}}


def _hours_with(place: TablePlace, wanted: int) -> tuple[list[int], int]:
    hours: list[int] = []
    groups = 0
    for hour, stored in table_state(place).hours.items():
        if stored.rows and groups < wanted:
            hours.append(hour)
            groups += stored.rows
    return hours, groups


def _bulk(url: str, ready: Sequence[dict[str, Any]], indices: dict[str, str]) -> None:
    client = Elasticsearch(url, request_timeout=60)
    for succeeded, item in parallel_bulk(
        client, _operations(ready, indices), thread_count=_PEER_THREADS, chunk_size=_PEER_CHUNK
    ):
        if not succeeded:
            raise ValueError(f"Elasticsearch refused a document: {item}")
    client.close()


def _operations(ready: Sequence[dict[str, Any]], indices: dict[str, str]) -> Iterator[dict[str, Any]]:
    for document in ready:
        source = dict(document)
        yield {
            "_op_type": "index",
            "_index": indices[month_of(time_of(source["hour"]))],
            "_id": source.pop("_document_id"),
            "version": source["generation"],
            "version_type": "external_gte",
            "_source": source,
        }
