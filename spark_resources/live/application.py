"""The streaming query: from Kafka's records to differences of each group's sums, one micro-batch after another.

    clicks topic ──► decode ──► by user ──► recent clicks of the user (state) ──► differences ──► sink
    erased users ──────────────►

Spark's checkpoint makes each micro-batch repeatable: offsets, erasures, watermark and the state before it are the same
when it is tried again, and so are the differences that the sink gets under the micro-batch's number. The sink must
apply each number once.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.streaming.query import StreamingQuery

from dataco_assets.aggregates.contributions import Group, Sums, added
from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clicks.hour import VISIT_GAP_MS
from spark_resources.live.decoding import DECODED, Schemas, decoder
from spark_resources.live.user_state import (
    UserState,
    advanced,
    decode_differences,
    decode_events,
    decode_state,
    encode,
    encode_differences,
    watermark_delay_ms,
)
from spark_resources.live.worker_repair import RepairsWorker
from spark_resources.session import runs_own_tasks

if TYPE_CHECKING:
    import pandas as pd
    from pyspark.sql.streaming.state import GroupState

Sink = Callable[[int, Mapping[Group, Sums]], None]
"""Receives a micro-batch's number and what to add to the sums of each group."""

_SETTINGS: Final[Mapping[str, str]] = {
    # On local disk, so that users need not fit into memory; the checkpoint gets what changed, not the whole state.
    "spark.sql.streaming.stateStore.providerClass": (
        "org.apache.spark.sql.execution.streaming.state.RocksDBStateStoreProvider"
    ),
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    # A micro-batch without clicks would only remove old users, which the next one does as well.
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    "spark.sql.streaming.minBatchesToRetain": "20",
    # Timestamps must not depend on the machine's zone.
    "spark.sql.session.timeZone": "UTC",
}
_FAR_FUTURE: Final = "TIMESTAMP '2200-01-01 00:00:00'"
"""The event time of an erasure, which is never too late and moves no watermark."""


@dataclass(frozen=True)
class LivePlan:
    """What a live run computes, and how. All that its results depend on stays the same for the whole run.

    Attributes:
        run_id: The run.
        checkpoint: Folder of the run's checkpoint, a URI.
        erased_users: Folder of files that name erased users, a URI; each line is `<user_hash> <erased at, epoch ms>`.
        topic: Topic of the clicks.
        kafka: Options of the Kafka consumers, by Java's names without the prefix `kafka.`.
        group_prefix: Prefix of the consumer groups.
        starts: First offset to read, by partition.
        first_hour: First hour to compute, epoch ms.
        hours: Number of hours that are kept exact, up to the newest one.
        earliest_ms: Start of the first partition, epoch ms; older clicks are rejected.
        partitions: Tasks by user. A checkpoint keeps the number that it began with.
        max_offsets: Most records of a micro-batch.
        interval_seconds: Least time between the starts of two micro-batches.
    """

    run_id: str
    checkpoint: str
    erased_users: str
    topic: str
    kafka: Mapping[str, str] = field(repr=False)
    group_prefix: str
    starts: Mapping[int, int]
    first_hour: int
    hours: int
    earliest_ms: int
    partitions: int
    max_offsets: int
    interval_seconds: float


def start(session: SparkSession, plan: LivePlan, schemas: Schemas, sink: Sink) -> StreamingQuery:
    """Starts the query, or goes on where the run's checkpoint left off.

    Args:
        session: A session; the query gets one of its own with the same context.
        plan: What to compute.
        schemas: Where the executors find writers' schemas.
        sink: Called in order of the micro-batches' numbers, for some of them again. What it raises ends the query.
    """
    context: Any = session.sparkContext
    if runs_own_tasks(str(context.master)):
        context.pythonExec = sys.executable  # the interpreter that has this package, which `python3` may not be
    own = session.newSession()
    for name, value in {**_SETTINGS, "spark.sql.shuffle.partitions": str(plan.partitions)}.items():
        own.conf.set(name, value)
    events = _clicks(own, plan, schemas).union(_erasures(own, plan))
    changes = events.groupBy("user").applyInPandasWithState(
        _of_user(plan.first_hour), "differences binary", "data binary", "update", "EventTimeTimeout"
    )

    def write(frame: DataFrame, batch_id: int) -> None:
        # Whatever the rows, they are asked for exactly once: computing them again would change the state again.
        found = [decode_differences(bytes(row[0])) for row in frame.collect()]
        sink(batch_id, added(found))

    writer = changes.writeStream.outputMode("update").foreachBatch(write).queryName(f"live {plan.run_id}")
    interval = f"{round(plan.interval_seconds * 1000)} milliseconds"
    return writer.option("checkpointLocation", plan.checkpoint).trigger(processingTime=interval).start()


def _clicks(session: SparkSession, plan: LivePlan, schemas: Schemas) -> DataFrame:
    # Placed by partition, as Spark wants it: an offset in the checkpoint goes before these.
    starts = ", ".join(f'"{partition}": {offset}' for partition, offset in sorted(plan.starts.items()))
    reader = session.readStream.format("kafka").options(
        **{f"kafka.{name}": value for name, value in plan.kafka.items()},
        **{
            "kafka.isolation.level": "read_committed",
            "subscribe": plan.topic,
            "groupIdPrefix": plan.group_prefix,
            "startingOffsets": f'{{"{plan.topic}": {{{starts}}}}}',
            "maxOffsetsPerTrigger": str(plan.max_offsets),
            "failOnDataLoss": "true",
            "includeHeaders": "true",
        },
    )
    records = reader.load().selectExpr(
        "value",
        f"element_at(filter(headers, each -> each.key = '{SCHEMA_HEADER}'), -1).value AS header",
        "unix_millis(timestamp) AS arrived",
        "partition",
        "offset",
    )
    decode = decoder(
        schemas,
        run_id=plan.run_id,
        earliest_ms=plan.earliest_ms,
        first_needed_ms=plan.first_hour - VISIT_GAP_MS,
    )
    # Some producer's clock may be years ahead, and with it Kafka's time of the record: that must not move the watermark
    # beyond the present. Both times are the same when the micro-batch is repeated.
    happened = f"least(timestamp_millis(time), current_timestamp() + INTERVAL {MAX_AHEAD_MS} MILLISECONDS)"
    clicks = records.mapInArrow(decode, DECODED).selectExpr("user", f"{happened} AS happened", "event")
    return clicks.withWatermark("happened", f"{watermark_delay_ms(plan.hours)} milliseconds")


def _erasures(session: SparkSession, plan: LivePlan) -> DataFrame:
    lines = session.readStream.format("text").load(plan.erased_users)
    return lines.selectExpr(
        "CAST(split_part(value, ' ', 1) AS binary) AS user",
        f"{_FAR_FUTURE} AS happened",
        "CAST(split_part(value, ' ', 2) AS binary) AS event",
    )


def _of_user(
    first_hour: int,
) -> "Callable[[Any, Iterable[pd.DataFrame], GroupState], Iterator[pd.DataFrame]]":
    """The function that Spark calls for each user of whom clicks came, and for each who is not needed any more."""
    repairs = RepairsWorker()

    def of_user(_user: Any, events: "Iterable[pd.DataFrame]", state: "GroupState") -> "Iterator[pd.DataFrame]":
        import pandas as pd

        _ = repairs  # comes along with this function, which is its purpose
        if state.hasTimedOut:
            state.remove()
            return
        watermark_ms = state.getCurrentWatermarkMs()
        before = decode_state(state.get[0]) if state.exists else UserState()
        # By place, for `RepairsWorker` reads columns without their names: user, happened, event.
        arrivals, erasures = decode_events(event for frame in events for event in frame.iloc[:, -1])
        after, change = advanced(before, arrivals, erasures, watermark_ms=watermark_ms, first_hour=first_hour)
        if after.needed_until > watermark_ms:
            state.update((encode(after),))
            state.setTimeoutTimestamp(after.needed_until)
        elif state.exists:
            state.remove()
        if change:
            yield pd.DataFrame({"differences": [encode_differences(change)]})

    return of_user
