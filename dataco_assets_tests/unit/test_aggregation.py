"""Tests that the Spark aggregation equals the plain-Python oracle for every shape of visit."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from datasketches import HLL_8, hll_sketch  # pyright: ignore[reportAttributeAccessIssue]  # compiled, without stubs
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import LongType, StringType, StructField, StructType

from dataco_assets.aggregates.columns import AGGREGATES, AUDIENCE, PAGES, SKETCH_LG_K, Aggregate
from dataco_assets.aggregates.users import UserSketches
from dataco_assets.clicks.bots import BotRule
from dataco_assets.clicks.hour import scan_span
from dataco_assets.clicks.time_spent import BUCKETS
from dataco_assets.verification.sketches import content, sketched
from dataco_assets_tests import hour_vectors, oracle
from dataco_assets_tests.hour_vectors import read_vectors
from dataco_assets_tests.oracle import OracleClick
from spark_resources.aggregation import aggregate as aggregate_measured
from spark_resources.aggregation import measured

MINUTE = 60_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
COMPUTED_AT = 1_767_225_600_123
RULE = oracle.Bots(("a", "it's \\ a bot"), 3)
"""As the examples are few clicks: a rule that many of them meet, with an agent that SQL has to escape."""
BOTS = BotRule(frozenset(RULE.agents), RULE.clicks_per_minute)


def at(text: str) -> int:
    """Epoch ms of an ISO time in UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


NOON = at("2026-03-15T12:00")
SCHEMA = StructType(
    [
        StructField("row_key", StringType()),
        StructField("user_id", StringType()),
        StructField("timestamp", LongType()),
        StructField("page", StringType()),
        *(StructField(name, StringType()) for name in oracle.AUDIENCE),
    ]
)


def aggregate(
    clicks: DataFrame,
    hours: Sequence[int],
    generations: Mapping[int, int],
    computed_at_ms: int,
    to: Aggregate = PAGES,
    bots: BotRule = BOTS,
) -> DataFrame:
    """An aggregate of clicks as they are read."""
    return aggregate_measured(to, measured(clicks, hours, (to,), bots=bots), hours, generations, computed_at_ms)


def click(
    user: str, timestamp: int, page: str = "https://a.example/", country: str | None = "FR", event: str = "0"
) -> OracleClick:
    return OracleClick(f"00-{timestamp:013d}-{event}{user}", user, timestamp, page, country)


def run_spark(
    spark: SparkSession,
    clicks: Iterable[OracleClick],
    hours: Sequence[int],
    generations: Mapping[int, int] | None = None,
    to: Aggregate = PAGES,
    bots: BotRule = BOTS,
) -> list[dict[str, Any]]:
    rows = [astuple(c) for c in {c.row_key: c for c in clicks}.values()]
    frame = spark.createDataFrame(rows, SCHEMA)
    result = aggregate(frame, hours, generations or dict.fromkeys(hours, 1), COMPUTED_AT, to, bots)
    rows = [row.asDict() for row in result.selectExpr("unix_millis(hour) AS hour_ms", "*").collect()]
    for row in rows:
        # Every group of these tests is so small that its sketch lists its users.
        assert hll_sketch.deserialize(bytes(row["users_sketch"])).get_estimate() == pytest.approx(row["unique_users"])
    return rows


def by_key(rows: Iterable[Mapping[str, Any]], by: Sequence[str] = oracle.PAGES) -> dict[oracle.Key, oracle.OracleRow]:
    """Spark's rows in the oracle's shape."""
    found: dict[oracle.Key, oracle.OracleRow] = {}
    for row in rows:
        key = (row["hour_ms"], *(row[name] for name in by))
        assert key not in found, f"two rows for {key}"
        found[key] = oracle.OracleRow(
            row["click_count"],
            row["unique_users"],
            row["entering_users"],
            row["time_spent_seconds_sum"],
            row["time_spent_samples"],
            row["average_time_spent_seconds"],
            row["entries"],
            row["exits"],
            row["bounces"],
            {bucket: clicks for bucket, clicks in row["time_spent_buckets"].asDict().items() if clicks},
            row["bot_clicks"],
        )
    return found


# --- by hand: the rule itself, with numbers that can be checked -------------------------------------------------------


def test_the_vectors(spark: SparkSession) -> None:
    """Spark sees the clicks that a scan of the hour returns; all examples run in one job, since they do not overlap."""
    vectors = read_vectors().values()
    seen = [c for vector in vectors for c in vector.clicks if c.timestamp in range(*scan_span(NOON, NOON))]
    rows = run_spark(spark, seen, [NOON], {NOON: 7}, bots=hour_vectors.BOTS)
    assert by_key(rows) == {key: row for vector in vectors for key, row in vector.rows.items()}
    assert {row["generation"] for row in rows} == {7}


@pytest.mark.parametrize(
    "also_read",
    [[], [NOON + HOUR, NOON + 3 * HOUR], [NOON + step * HOUR for step in (-1, 1, 3)]],
    ids=["the asked hours only", "what lies behind them", "every click"],
)
def test_a_user_enters_each_hour_once_whatever_else_was_read(spark: SparkSession, also_read: list[int]) -> None:
    """Ann clicks in the first and the last millisecond of every hour, bob in the requested hours only."""
    asked = [NOON, NOON + 2 * HOUR]
    clicks = [click("bob", hour + MINUTE, "https://a.example/1") for hour in asked]
    for step in range(-1, 4):
        start = NOON + step * HOUR
        clicks += [click("ann", start, "https://a.example/1"), click("ann", start + HOUR - 1, "https://a.example/2")]
    read = [c for c in clicks if c.timestamp // HOUR * HOUR in (*asked, *also_read)]

    found = {(row["hour_ms"], row["page"][-1]): row["entering_users"] for row in run_spark(spark, read, asked)}

    assert found == {(hour, page): users for hour in asked for page, users in (("1", 2), ("2", 0))}


@pytest.mark.parametrize("to", AGGREGATES, ids=lambda each: each.name)
def test_columns_are_those_of_the_contract_in_order(spark: SparkSession, to: Aggregate) -> None:
    frame = aggregate(spark.createDataFrame([], SCHEMA), [NOON], {NOON: 1}, COMPUTED_AT, to)
    names = {"long": "bigint", "double": "double", "string": "string", "timestamp": "timestamp", "sketch": "binary"}
    buckets = ",".join(f"{bucket}:bigint" for bucket in BUCKETS)
    names["histogram"] = f"struct<{buckets}>"
    assert frame.dtypes == [(column.name, names[column.type]) for column in to.columns]
    assert frame.collect() == []


def test_hour_and_computed_at_are_utc_instants(spark: SparkSession) -> None:
    frame = spark.createDataFrame([astuple(click("ann", NOON + 1))], SCHEMA)
    row = aggregate(frame, [NOON], {NOON: 1}, COMPUTED_AT).selectExpr("unix_millis(hour)", "unix_millis(computed_at)")
    assert tuple(row.collect()[0]) == (NOON, COMPUTED_AT)


def test_each_hour_has_its_own_generation(spark: SparkSession) -> None:
    hours = [NOON, NOON + HOUR, NOON + 5 * HOUR]
    generations = {hour: 10 + n for n, hour in enumerate(hours)}
    rows = run_spark(spark, [click("ann", hour + 1) for hour in hours], hours, generations)
    assert {row["hour_ms"]: row["generation"] for row in rows} == generations


@pytest.mark.parametrize(
    ("hours", "generations"),
    [([], {}), ([NOON + 1], {NOON + 1: 1}), ([NOON], {NOON + HOUR: 1})],
    ids=["none", "not an hour", "no generation"],
)
def test_a_wrong_question_is_refused(spark: SparkSession, hours: list[int], generations: dict[int, int]) -> None:
    with pytest.raises(ValueError, match=r"hour"):
        aggregate(spark.createDataFrame([], SCHEMA), hours, generations, COMPUTED_AT)


def test_the_plan_shuffles_twice_and_runs_no_python(spark: SparkSession) -> None:
    clicks = (
        spark.range(10)
        .selectExpr(
            "cast(id as string) row_key",
            "cast(id as string) user_id",
            f"{NOON} + id timestamp",
            "'p' page",
            "'FR' country",
        )
        .selectExpr("*", *_WITHOUT_AGENT)
    )
    hours = [NOON + n * HOUR for n in range(720)]
    frame = aggregate(clicks, hours, dict.fromkeys(hours, 1), COMPUTED_AT)
    jvm_frame: Any = frame._jdf  # the only way to the physical plan
    plan: str = jvm_frame.queryExecution().executedPlan().toString()
    assert plan.count("Exchange hashpartitioning") == 2, plan
    assert plan.count("Sort [") == 1, plan
    assert "Python" not in plan
    assert "Join" not in plan


_WITHOUT_AGENT = ("CAST(NULL AS string) browser", "CAST(NULL AS string) device")

SKETCHED_USERS = (1, 7, 8, 300, 20_000)
"""Numbers of users whose sketches are of every form: a list, a set, and registers."""


def sketched_users(count: int) -> range:
    """Numbers of the users of the page that so many visit."""
    before = sum(SKETCHED_USERS[: SKETCHED_USERS.index(count)])
    return range(before, before + count)


@pytest.fixture(scope="module")
def sketches(spark: SparkSession) -> dict[int, bytes]:
    """The sketch that Spark makes of so many users, each of whom clicked twice."""
    pages = " ".join(f"WHEN id < {sketched_users(count).stop} THEN '{count}'" for count in SKETCHED_USERS)
    clicks = spark.range(sum(SKETCHED_USERS)).selectExpr(
        "explode(array(concat('a', id), concat('b', id))) AS row_key",
        "concat('ü', id) AS user_id",
        f"{NOON}L AS timestamp",
        f"CASE {pages} END AS page",
        "'FR' AS country",
        *_WITHOUT_AGENT,
    )
    rows = aggregate(clicks, [NOON], {NOON: 1}, COMPUTED_AT).select("page", "unique_users", "users_sketch").collect()
    assert {row["page"]: row["unique_users"] for row in rows} == {str(count): count for count in SKETCHED_USERS}
    return {row["unique_users"]: bytes(row["users_sketch"]) for row in rows}


@pytest.mark.parametrize("count", SKETCHED_USERS)
def test_python_and_spark_make_the_same_sketch_of_the_same_users(sketches: dict[int, bytes], count: int) -> None:
    assert content(sketches[count]) == sketched(f"ü{number}" for number in sketched_users(count))
    assert content(sketches[count]) != sketched(f"u{number}" for number in sketched_users(count))


@pytest.mark.parametrize("count", SKETCHED_USERS)
def test_merging_sketches_of_the_same_users_counts_them_once(sketches: dict[int, bytes], count: int) -> None:
    """Whether the other one is the same sketch again, or was made elsewhere by Apache's library from the user ids."""
    elsewhere = hll_sketch(SKETCH_LG_K, HLL_8)
    for number in reversed(sketched_users(count)):
        elsewhere.update(f"ü{number}")
    for other in (sketches[count], elsewhere.serialize_compact()):
        assert UserSketches([sketches[count], other]).estimate().number == pytest.approx(count, rel=0.05)


# --- against the oracle ----------------------------------------------------------------------------------------------

ANCHORS = [NOON, at("2026-01-31T23:00"), at("2025-12-31T22:00"), at("2024-02-28T23:00")]
GAPS = st.one_of(
    st.sampled_from([0, 0, 1, 30 * MINUTE - 1, 30 * MINUTE, 30 * MINUTE + 1, HOUR, 2 * HOUR]),
    st.integers(0, 40 * MINUTE),
)
PAGE_TEXTS = st.sampled_from(["https://a.example/", "https://a.example/b?x=1", "http://é.example/ü"])
COUNTRIES = st.sampled_from(["FR", "DE", "ZZ", None])
CONSERVED = ("click_count", "entering_users", "time_spent_samples", "entries", "exits", "bounces", "bot_clicks")
TEXTS = st.sampled_from(["a", "b|c", "it's \\ a bot", "", None])


@dataclass(frozen=True)
class Example:
    """All clicks of a few users, and the requested hours."""

    clicks: tuple[OracleClick, ...]
    hours: tuple[int, ...]


@st.composite
def examples(draw: st.DrawFn) -> Example:
    anchor = draw(st.sampled_from(ANCHORS))
    clicks: list[OracleClick] = []
    for user in range(draw(st.integers(1, 4))):
        time = anchor + draw(st.one_of(st.sampled_from([-1, 0, HOUR - 1, HOUR]), st.integers(-HOUR, 3 * HOUR)))
        for _ in range(draw(st.integers(1, 6))):
            event = f"{draw(st.integers(0, 2**32)):08x}"
            made = click(f"user-{user}", time, draw(PAGE_TEXTS), draw(COUNTRIES), event)
            clicks.append(replace(made, **{name: draw(TEXTS) for name in oracle.AUDIENCE[1:]}))
            time += draw(GAPS)
    if draw(st.booleans()):
        clicks.append(draw(st.sampled_from(clicks)))  # sent twice: one row in HBase
    steps = draw(st.sets(st.integers(-1, 5), min_size=1, max_size=5))
    shuffled = draw(st.permutations(clicks))
    return Example(tuple(shuffled), tuple(anchor + step * HOUR for step in sorted(steps)))


def gather(count: int) -> list[Example]:
    """Collects examples from hypothesis, so that one Spark job can compute all of them."""
    kept: list[Example] = []

    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )
    @given(examples())
    def keep(example: Example) -> None:
        kept.append(example)

    keep()
    return kept


def marked(example: Example, number: int) -> list[OracleClick]:
    """The example's clicks with user ids and pages of their own, so that examples do not overlap."""
    mark = f"{number:04d}"
    return [
        replace(
            c,
            row_key=f"{c.row_key}-{mark}",
            user_id=f"{mark}-{c.user_id}",
            page=f"{c.page}#{mark}",
            city=c.city and f"{c.city}#{mark}",
        )
        for c in example.clicks
    ]


def moved(example: Example, by_ms: int) -> Example:
    """The example at another time."""
    clicks = tuple(replace(c, row_key=f"{c.row_key}+{by_ms}", timestamp=c.timestamp + by_ms) for c in example.clicks)
    return Example(clicks, tuple(hour + by_ms for hour in example.hours))


def readable(example: Example) -> list[OracleClick]:
    """The clicks that a scan for the example's hours returns: those hours and the half hours around each."""
    reads = [range(hour - 30 * MINUTE, hour + HOUR + 30 * MINUTE) for hour in example.hours]
    return [c for c in example.clicks if any(c.timestamp in read for read in reads)]


def test_spark_agrees_with_the_oracle(spark: SparkSession) -> None:
    """Hundreds of examples, each in a separate week and with its own hours, computed by one Spark job.

    Spark sees only what a scan of the requested hours returns; the oracle sees everything.
    """
    seen: list[OracleClick] = []
    everything: list[OracleClick] = []
    hours: list[int] = []
    for number, example in enumerate(gather(400)):
        own = moved(example, number * 7 * DAY - example.hours[0] // DAY * DAY)
        seen += marked(Example(tuple(readable(own)), own.hours), number)
        everything += marked(own, number)
        hours += own.hours
    assert len(seen) < len(everything)
    for to, by in ((PAGES, oracle.PAGES), (AUDIENCE, oracle.AUDIENCE)):
        expected = oracle.aggregate(everything, hours, by, RULE)
        assert len(expected) > 500
        assert by_key(run_spark(spark, seen, hours, to=to), by) == expected


def test_spark_agrees_with_the_oracle_when_it_sees_every_click(spark: SparkSession) -> None:
    """All examples at once, for adjacent and non-adjacent hours: clicks outside the hours make no difference."""
    everything = [c for n, e in enumerate(gather(400)) for c in marked(e, n)]
    hours = [anchor + step * HOUR for anchor in ANCHORS for step in (-1, 0, 1, 3)]
    expected = oracle.aggregate(everything, hours, bots=RULE)
    assert len(expected) > 500
    assert any(row.average_time_spent_seconds is None for row in expected.values())
    assert any(row.unique_users < row.click_count for row in expected.values())
    assert any(0 < row.entering_users < row.unique_users for row in expected.values())
    assert any(0 < row.bot_clicks < row.click_count for row in expected.values())
    assert any(0 < row.bounces < min(row.entries, row.exits) for row in expected.values())
    found = by_key(run_spark(spark, everything, hours))
    assert found == expected
    assert users_entering(found) == users_seen(everything, hours)
    audience = by_key(run_spark(spark, everything, hours, to=AUDIENCE), oracle.AUDIENCE)
    assert audience == oracle.aggregate(everything, hours, oracle.AUDIENCE, RULE)
    assert totals_by_hour(audience) == totals_by_hour(found), "grouped otherwise, the same clicks"
    assert users_seen(everything, hours) == users_entering(audience)


def totals_by_hour(rows: Mapping[oracle.Key, oracle.OracleRow]) -> dict[int, Counter[str]]:
    """The sums of each hour, in whole milliseconds, of everything that does not depend on the grouping."""
    found: dict[int, Counter[str]] = {}
    for key, row in rows.items():
        of_hour = found.setdefault(key[0], Counter())
        of_hour.update({name: getattr(row, name) for name in CONSERVED})
        of_hour["ms"] += round(row.time_spent_seconds_sum * 1000)
        of_hour.update(row.time_spent_buckets)
    return found


def users_entering(rows: Mapping[oracle.Key, oracle.OracleRow]) -> Counter[int]:
    """Entering users, added up over each hour."""
    entering: Counter[int] = Counter()
    for (hour, *_), row in rows.items():
        entering[hour] += row.entering_users
    return entering


def users_seen(clicks: Iterable[OracleClick], hours: Iterable[int]) -> dict[int, int]:
    """Distinct users of each of the hours that has any."""
    wanted = set(hours)
    users: dict[int, set[str]] = {}
    for each in clicks:
        hour = each.timestamp // HOUR * HOUR
        if hour in wanted:
            users.setdefault(hour, set()).add(each.user_id)
    return {hour: len(of_hour) for hour, of_hour in users.items()}
