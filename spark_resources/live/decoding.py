"""Kafka's records as clicks of users, on the executors, by the same parser as the drain's.

A record that is no click is left out: storing it in the rejected topic is the drain's work.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import pyarrow as pa

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.clicks.event import Click
from dataco_assets.clicks.record import ClickParser, WriterSchemas
from dataco_assets.clicks.row import row_key
from dataco_assets.clicks.suppressed import user_hash
from spark_resources.live.user_state import Arrival, encode
from spark_resources.live.worker_repair import RepairsWorker

Schemas = Callable[[], WriterSchemas]
"""Opens the source of writers' schemas. It goes to the executors, so it can be pickled."""

DECODED: Final = "user binary, time long, event binary"
"""Hash of the user id; when the click happened, epoch ms; an `Arrival`."""
_FIELDS = pa.schema([("user", pa.binary()), ("time", pa.int64()), ("event", pa.binary())])
_PARSER_SECONDS = 60
_HASH_DIGITS = 32


def decoder(
    schemas: Schemas, *, run_id: str, earliest_ms: int, first_needed_ms: int
) -> Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    """The function that decodes Arrow batches of records (value, header, arrived, partition, offset).

    Args:
        schemas: The source of writers' schemas.
        run_id: The live run; a worker process serves several.
        earliest_ms: Start of the first partition, epoch ms; older clicks are rejected.
        first_needed_ms: Clicks before it (epoch ms) do not matter to any hour of the run.
    """
    repairs = RepairsWorker()

    def decoded(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        _ = repairs  # comes along with this function, which is its purpose
        parser = _parser(schemas, run_id)
        for batch in batches:
            users: list[bytes] = []
            times: list[int] = []
            events: list[bytes] = []
            for value, header, arrived, partition, offset in zip(
                *(column.to_pylist() for column in batch.columns), strict=True
            ):
                click = parser.parse(value, header, record_time_ms=arrived, earliest_ms=earliest_ms)
                if isinstance(click, Click) and click.timestamp >= first_needed_ms:
                    users.append(user_hash(click.user_id))
                    times.append(click.timestamp)
                    events.append(encode(_arrival(click, arrived, partition, offset)))
            yield pa.RecordBatch.from_arrays(
                [pa.array(users, pa.binary()), pa.array(times, pa.int64()), pa.array(events, pa.binary())],
                schema=_FIELDS,
            )

    return decoded


def _arrival(click: Click, arrived: int, partition: int, offset: int) -> Arrival:
    key = bytes.fromhex(row_key(click.user_id, click.timestamp, click.event_id)[-_HASH_DIGITS:].decode())
    return Arrival(
        partition, offset, click.timestamp, key, arrived, tuple(getattr(click, name) for name in PAGES.group)
    )


def _parser(schemas: Schemas, run_id: str) -> ClickParser:
    """The process's parser. It is renewed each minute, since it remembers which schemas there are not."""
    term = (run_id, int(time.monotonic() // _PARSER_SECONDS))
    if term not in _parsers:
        _parsers.clear()
        _parsers[term] = ClickParser(schemas())
    return _parsers[term]


_parsers: dict[tuple[str, int], ClickParser] = {}
"""The parser of a run and minute: Spark's workers serve one micro-batch after another."""
