"""The streaming query: from Kafka's records to differences of each group's sums, one micro-batch after another.

    clicks topic ──► decode ──► by user ──► recent clicks of the user (state) ──► differences ──► sink
    erased users ──────────────►

What runs for each click and each user is Java (spark_resources/java): Python's way there and back would cost a
millisecond for each user of a micro-batch.

Spark's checkpoint makes each micro-batch repeatable: offsets, erasures, watermark and the state before it are the same
when it is tried again, and so are the differences that the sink gets under the micro-batch's number. The sink must
apply each number once.
"""

from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any, Final

import msgspec
from py4j.java_gateway import JavaPackage
from py4j.protocol import Py4JJavaError
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import percentile_approx
from pyspark.sql.streaming.query import StreamingQuery

from dataco_assets.aggregates.live_sums import Group, Sums, added
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.event import MAX_AHEAD_MS
from dataco_assets.clicks.framing import SCHEMA_HEADER
from dataco_assets.clicks.hour import VISIT_GAP_MS
from dataco_assets.errors import DatacoError, ErrorKind
from spark_resources.jvm_errors import reported
from spark_resources.live.exactness import watermark_delay_ms
from spark_resources.live.jars import LiveJarsError

Sink = Callable[[int, Callable[[], Mapping[Group, Sums]]], None]
"""Receives a micro-batch's number, and what computes what to add to the sums of each group: it is called once.

It may raise `MicroBatchFailed`.
"""

ARRIVALS: Final = "arrivals"
"""Name of the metric in the progress of the query that says when a micro-batch's records had arrived in Kafka."""
FIRST_ARRIVED: Final = "first_ms"
"""Its field: all but a twentieth of the records arrived since then, epoch ms; null without records."""
_FIRST_SHARE: Final = 0.05

_SETTINGS: Final[Mapping[str, str]] = {
    # On local disk, so that users need not fit into memory; the checkpoint gets what changed, not the whole state.
    "spark.sql.streaming.stateStore.providerClass": "dataco.live.UserStateProvider",
    "spark.sql.streaming.stateStore.rocksdb.changelogCheckpointing.enabled": "true",
    # A micro-batch without clicks would only remove old users, which the next one does as well.
    "spark.sql.streaming.noDataMicroBatches.enabled": "false",
    "spark.sql.streaming.minBatchesToRetain": "20",
    # Timestamps must not depend on the machine's zone.
    "spark.sql.session.timeZone": "UTC",
}
_SHOWN: Final = 1_000
_FAR_FUTURE: Final = "TIMESTAMP '2200-01-01 00:00:00'"
"""The event time of an erasure, which is never too late and moves no watermark."""


class MicroBatchFailed(DatacoError):
    """Spark failed to compute a micro-batch; trying again goes on from the checkpoint."""

    kind = ErrorKind.PASSING


@dataclass(frozen=True)
class SchemaPlace:
    """Where the executors find the schemas of clicks in Avro.

    Attributes:
        registry_url: Address of the schema registry; empty: none.
        username: User name for it; empty: none.
        password: That user's.
        token: Bearer token, in place of a user; empty: none.
        ca_file: PEM file of the authority that signed its certificate; empty: those that Java knows.
        folder: Folder of `.avsc` files; empty: only the contract's own.
        retry_seconds: How long a registry that does not answer is asked again.
    """

    registry_url: str = ""
    username: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: str = ""
    folder: str = ""
    retry_seconds: float = 0.0


@dataclass(frozen=True)
class LivePlan:
    """What a live run computes, and how. All that its results depend on stays the same for the whole run.

    Attributes:
        run_id: The run.
        checkpoint: Folder of the run's checkpoint, a URI.
        erased_users: Folder of files that name erased users, a URI; each line is `<user_hash> <erased at, epoch ms>`.
        topic: Topic of the clicks.
        bots: Which clicks are of bots.
        schemas: Where writers' schemas are.
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
    bots: BotRule
    schemas: SchemaPlace
    kafka: Mapping[str, str] = field(repr=False)
    group_prefix: str
    starts: Mapping[int, int]
    first_hour: int
    hours: int
    earliest_ms: int
    partitions: int
    max_offsets: int
    interval_seconds: float


def start(session: SparkSession, plan: LivePlan, sink: Sink) -> StreamingQuery:
    """Starts the query, or goes on where the run's checkpoint left off.

    Args:
        session: A session; the query gets one of its own with the same context.
        plan: What to compute.
        sink: Called in order of the micro-batches' numbers, for some of them again. What it raises ends the query.
    """
    own = session.newSession()
    for name, value in {**_SETTINGS, "spark.sql.shuffle.partitions": str(plan.partitions)}.items():
        own.conf.set(name, value)
    events = _clicks(own, plan).union(_erasures(own, plan))
    differences = live_java(own).Pipeline.differences(_java(events), plan.first_hour, _bots(own, plan))
    changes = DataFrame(differences, own)

    def write(frame: DataFrame, batch_id: int) -> None:
        # Whatever the rows, they are asked for exactly once: computing them again would change the state again.
        sink(batch_id, lambda: _differences(frame))

    writer = changes.writeStream.outputMode("update").foreachBatch(write).queryName(f"live {plan.run_id}")
    interval = f"{round(plan.interval_seconds * 1000)} milliseconds"
    return writer.option("checkpointLocation", plan.checkpoint).trigger(processingTime=interval).start()


def _clicks(session: SparkSession, plan: LivePlan) -> DataFrame:
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
    records = (
        reader.load()
        .selectExpr(
            "value",
            f"element_at(filter(headers, each -> each.key = '{SCHEMA_HEADER}'), -1).value AS header",
            "unix_millis(timestamp) AS arrived",
            "partition",
            "offset",
        )
        .observe(ARRIVALS, percentile_approx("arrived", _FIRST_SHARE).alias(FIRST_ARRIVED))
    )
    place = live_java(session).SchemaPlace(*astuple(plan.schemas))
    first_needed_ms = plan.first_hour - VISIT_GAP_MS
    decoded = live_java(session).Pipeline.decoded(
        _java(records), place, plan.earliest_ms, first_needed_ms, _bots(session, plan)
    )
    # Some producer's clock may be years ahead, and with it Kafka's time of the record: that must not move the watermark
    # beyond the present. Both times are the same when the micro-batch is repeated.
    happened = f"least(timestamp_millis(time), current_timestamp() + INTERVAL {MAX_AHEAD_MS} MILLISECONDS)"
    clicks = DataFrame(decoded, session).selectExpr("user", f"{happened} AS happened", "event")
    return clicks.withWatermark("happened", f"{watermark_delay_ms(plan.hours)} milliseconds")


def _erasures(session: SparkSession, plan: LivePlan) -> DataFrame:
    lines = session.readStream.format("text").load(plan.erased_users)
    return lines.selectExpr(
        "CAST(split_part(value, ' ', 1) AS binary) AS user",
        f"{_FAR_FUTURE} AS happened",
        "CAST(split_part(value, ' ', 2) AS binary) AS event",
    )


def _bots(session: SparkSession, plan: LivePlan) -> Any:
    return live_java(session).BotRule.of("\n".join(sorted(plan.bots.agents)), plan.bots.clicks_per_minute)


def live_java(session: SparkSession) -> Any:
    """The package of live's Java code.

    Raises:
        LiveJarsError: this process started Spark without the jars of live.
    """
    jvm: Any = session._jvm
    package = jvm.dataco.live
    if isinstance(package.Pipeline, JavaPackage):  # py4j takes for a package what is no class that it finds
        raise LiveJarsError(
            "Spark was started in this process without the jars of live, and cannot load them later. Run live in a "
            "process of its own (`dataco live`), or start the first session with them "
            "(`dataco_assets.live.spark.session_for`)."
        )
    return package


def _java(frame: DataFrame) -> Any:
    return frame._jdf


def _differences(frame: DataFrame) -> dict[Group, Sums]:
    try:
        rows = frame.collect()
    except Py4JJavaError as error:
        said = " ".join(reported(error).split())
        raise MicroBatchFailed(f"Spark failed to compute a micro-batch: {said[:_SHOWN]}") from error
    return added(_sums(row[0]) for row in rows)


def _sums(differences: bytes) -> dict[Group, Sums]:
    return {(hour, page, country): numbers for hour, page, country, numbers in _decode(differences)}


_decode = msgspec.json.Decoder(list[tuple[int, str, str, list[int]]]).decode
