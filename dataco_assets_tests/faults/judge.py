"""Reads all data with plain clients and lists every difference from the truth.

Neither the reading nor the comparison (a pure function) uses the code under test.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, NamedTuple, cast

import happybase
from confluent_kafka import Consumer, KafkaException, TopicPartition
from tenacity import Retrying, retry_if_exception_type, stop_after_delay, wait_fixed

from dataco_assets_tests.faults.truth import Logged, Truth, own_hours, touched_hours
from dataco_assets_tests.platforms import Platform, read_topic

_SHOWN = 3
_BROKER_SECONDS = 60
_ID, _TIME, _USER = b"click_data:event_id", b"click_data:timestamp", b"click_data:user_id"


class StoredRow(NamedTuple):
    """A row of the clicks table: event id and time (epoch ms) of its click, and its key."""

    event_id: str
    time_ms: int
    key: bytes


class Tallied(NamedTuple):
    """What the offset ledger says became of the offsets [start, end) of a partition."""

    partition: int
    log: str
    start: int
    end: int
    stored: int
    repeated: int
    rejected: int
    suppressed: int
    lost: int
    empty: int


@dataclass(frozen=True)
class Found:
    """What the platform holds.

    Attributes:
        rows: Every row of the clicks table.
        rejected: Value of each rejected record, by record key.
        altered: Keys of rejected records that were written with more than one value.
        ledger: The offset ledger: next offset by partition.
        ends: Last stable offset by partition.
        dirty: Hours marked dirty, epoch ms.
        known_since: Hours with the time of their first stored click, epoch ms.
        tallies: What the offset ledger says became of the offsets that it has passed.
        rejected_values: How often each value was written to the rejected topic, copies included.
    """

    rows: Sequence[StoredRow]
    rejected: Mapping[bytes, bytes | None]
    altered: frozenset[bytes]
    ledger: Mapping[int, int]
    ends: Mapping[int, int]
    dirty: frozenset[int]
    known_since: frozenset[int]
    tallies: Sequence[Tallied] = ()
    rejected_values: Counter[bytes | None] = field(default_factory=Counter, compare=False)


def read_ledger(platform: Platform) -> dict[int, int]:
    """The offset ledger: next offset by partition."""
    prefix = f"{platform.settings.clicks_topic}/".encode()
    rows = _scan(platform, platform.settings.offsets_table, row_prefix=prefix)
    positions = {int(key[len(prefix) :]): cells[b"o:next"].split()[1] for key, cells in rows}
    return {partition: int(offset) for partition, offset in positions.items() if offset != b"-"}


def read_tallies(platform: Platform) -> list[Tallied]:
    """The tallies of the offset ledger: those that positions carry, and those that are closed."""
    topic, table = platform.settings.clicks_topic, platform.settings.offsets_table
    found: dict[tuple[int, str, int], Tallied] = {}
    for key, cells in _scan(platform, table, row_prefix=f"{topic}#tally/".encode()):
        _, hour, partition, rest = key.decode().split("/", 3)
        topic_id, log, start = rest.rsplit("/", 2)  # Kafka's ids of topics are Base64, and may hold a "/"
        end, _first, *counts = map(int, cells[b"o:tally"].split())
        assert hour[:2] == "20"
        place = (int(partition), f"{topic_id}/{int(log)}", int(start))
        found[place] = Tallied(*place, end, *counts)
    for key, cells in _scan(platform, table, row_prefix=f"{topic}/".encode()):
        topic_id, end, _epoch, *parts = cells[b"o:next"].decode().split()
        if parts:
            _hour, log, start, _first, *counts = parts
            place = (int(key.rpartition(b"/")[2]), f"{topic_id}/{log}", int(start))
            found[place] = Tallied(*place, int(end), *map(int, counts))  # also where one was closed in vain
    return sorted(found.values())


def read_ends(platform: Platform) -> dict[int, int]:
    """Last stable offset of each partition of the clicks topic; waits for a broker that answers late or not yet."""
    answered = Retrying(
        retry=retry_if_exception_type(KafkaException),
        wait=wait_fixed(0.5),
        stop=stop_after_delay(_BROKER_SECONDS),
        reraise=True,
    )
    return answered(_ends, platform)


def _ends(platform: Platform) -> dict[int, int]:
    topic = platform.settings.clicks_topic
    consumer = Consumer(
        {
            "bootstrap.servers": platform.settings.kafka_bootstrap_servers,
            "group.id": f"{topic}-judge",
            "isolation.level": "read_committed",
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        return {p: consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=10)[1] for p in partitions}
    finally:
        consumer.close()


def is_drained(platform: Platform) -> bool:
    """Whether the ledger stands at the last stable offset of every partition."""
    return read_ledger(platform) == {p: end for p, end in read_ends(platform).items() if end}


def has_dirty_hours(platform: Platform) -> bool:
    """Whether an hour has clicks that are not searchable yet."""
    return any(_count(cells, b"h:dirty") > _count(cells, b"h:done") for _, cells in _hour_rows(platform))


def read_log(platform: Platform) -> list[Logged]:
    """Everything committed that the clicks topic holds."""
    messages = read_topic(platform.settings.kafka_bootstrap_servers, platform.settings.clicks_topic)
    return [Logged(int(m.partition() or 0), int(m.offset() or 0), _bytes(m.value())) for m in messages]


def look(platform: Platform) -> Found:
    """Reads everything; the ledger first, so that it does not seem ahead when workers go on meanwhile."""
    ledger, tallies = read_ledger(platform), read_tallies(platform)
    rejected: dict[bytes, bytes | None] = {}
    altered: set[bytes] = set()
    values: Counter[bytes | None] = Counter()
    for record in read_topic(platform.settings.kafka_bootstrap_servers, platform.settings.rejected_topic):
        key, value = _bytes(record.key()) or b"", _bytes(record.value())
        if rejected.setdefault(key, value) != value:
            altered.add(key)
        values[value] += 1
    dirty, known_since = _hours(platform)
    return Found(
        rows=_rows(platform),
        rejected=rejected,
        altered=frozenset(altered),
        ledger=ledger,
        ends=read_ends(platform),
        dirty=frozenset(dirty),
        known_since=frozenset(known_since),
        tallies=tallies,
        rejected_values=values,
    )


def ran_ahead(topic: str, truth: Truth, found: Found, log: Iterable[Logged]) -> list[str]:
    """Messages before the ledger's offsets that are not durable; must be empty at any time, not only at the end.

    Args:
        topic: Name of the clicks topic.
        truth: What was produced.
        found: What the platform holds.
        log: What the topic holds.
    """
    stored = {row.event_id for row in found.rows}
    strange = {row.event_id for row in found.rows if truth.keys.get(row.event_id, row.key) != row.key}
    lost: list[str] = []
    unrejected: list[str] = []
    times: list[int] = []
    for entry in log:
        if entry.offset >= found.ledger.get(entry.partition, 0):
            continue
        if truth.is_broken(entry.value):
            key = _key(topic, entry)
            if key not in found.rejected or found.rejected[key] != entry.value:
                unrejected.append(f"{key.decode()}: {entry.value!r:.80}")
            continue
        event_id, time = truth.event_of(entry.value)
        times.append(time)
        if event_id not in stored:
            lost.append(event_id)
    return [
        *_listed("valid clicks the ledger has passed are not in HBase", lost),
        *_listed("clicks are in HBase under another row key", strange),
        *_listed("invalid messages the ledger has passed are not, unchanged, in the rejected topic", unrejected),
        *_listed("hours touched by clicks the ledger has passed are not dirty", touched_hours(times) - found.dirty),
        *_listed("hours with clicks lack the time of their first one", own_hours(times) - found.known_since),
    ]


def problems(topic: str, truth: Truth, found: Found, log: Sequence[Logged], *, at_least: int) -> list[str]:
    """The differences from the truth once everything has been drained.

    Args:
        topic: Name of the clicks topic.
        truth: What was produced.
        found: What the platform holds.
        log: What the topic holds.
        at_least: Minimum number of messages, without which a pass would mean nothing.
    """
    stored = {row.event_id for row in found.rows}
    moved = {row.event_id for row in found.rows if truth.times.get(row.event_id, row.time_ms) != row.time_ms}
    expected = {_key(topic, entry) for entry in log if truth.is_broken(entry.value)}
    return [
        *_volume(truth, log, at_least),
        *_listed("clicks are in HBase more than once", _repeated(row.event_id for row in found.rows)),
        *_listed("valid clicks are not in HBase", truth.times.keys() - stored),
        *_listed("clicks are in HBase that nobody produced", stored - truth.times.keys()),
        *_listed("clicks have another time in HBase", moved),
        *_listed("rejected records belong to no invalid message", found.rejected.keys() - expected),
        *_listed("rejected records were written with different bytes", found.altered),
        *_listed("partitions whose ledger is not the last stable offset", _unequal(found.ledger, found.ends)),
        *ran_ahead(topic, truth, found, log),
        *not_accounted_for(truth, found, log),
    ]


def not_accounted_for(truth: Truth, found: Found, log: Sequence[Logged]) -> list[str]:
    """What the tallies of the offset ledger do not say as it is, once everything has been drained.

    Args:
        truth: What was produced; none of its users was erased.
        found: What the platform holds.
        log: What the topic holds.
    """
    broken = sum(truth.is_broken(entry.value) for entry in log)
    repeated, rejected = sum(each.repeated for each in found.tallies), sum(each.rejected for each in found.tallies)
    told = (sum(each.stored for each in found.tallies) + repeated, rejected, sum(e.suppressed for e in found.tallies))
    wanted = (len(log) - broken, broken, 0)
    unlike = [] if told == wanted else [f"the tallies count {told} stored, rejected and suppressed, not {wanted}"]
    sums = [each for each in found.tallies if sum(each[4:]) != each.end - each.start]
    gaps = [
        f"{after} follows {before}"
        for before, after in pairwise(found.tallies)
        if (before.partition, before.log) == (after.partition, after.log) and before.end != after.start
    ]
    ends = {each.partition: each.end for each in found.tallies if each.end == found.ledger.get(each.partition)}
    return [
        *unlike,
        *_listed("tallies do not count all of their offsets", sums),
        *_listed("tallies do not follow each other", gaps),
        *_listed("partitions whose position has no tally before it", found.ledger.keys() - ends.keys()),
        *(() if _has_reused_offsets(found) else _unlike_the_log(truth, found, log)),
    ]


def _has_reused_offsets(found: Found) -> bool:
    """Whether a partition has two logs, so that an offset does not name a message."""
    logs = {(each.partition, each.log) for each in found.tallies}
    return len(logs) > len({partition for partition, _ in logs})


def _unlike_the_log(truth: Truth, found: Found, log: Iterable[Logged]) -> list[str]:
    """Tallies, each of whose numbers should be those of the log between its offsets."""
    invalid: dict[int, list[int]] = {}
    there: dict[int, list[int]] = {}
    for entry in log:
        there.setdefault(entry.partition, []).append(entry.offset)
        if truth.is_broken(entry.value):
            invalid.setdefault(entry.partition, []).append(entry.offset)

    def count(offsets: Mapping[int, list[int]], each: Tallied) -> int:
        return sum(each.start <= offset < each.end for offset in offsets.get(each.partition, ()))

    wrong = [
        each
        for each in found.tallies
        if not each.lost
        and (each.rejected, each.empty) != (count(invalid, each), each.end - each.start - count(there, each))
    ]
    return _listed("tallies count something else than the log has between their offsets", wrong)


def judge(platform: Platform, truth: Truth, *, at_least: int, log: Sequence[Logged] | None = None) -> None:
    """Reads everything back and compares.

    Args:
        platform: The platform to check.
        truth: What was produced.
        at_least: Minimum number of messages.
        log: What the topic held, if it no longer holds all that was drained.

    Raises:
        AssertionError: names everything that differs.
    """
    whole_log = read_log(platform) if log is None else log
    found_problems = problems(platform.settings.clicks_topic, truth, look(platform), whole_log, at_least=at_least)
    assert not found_problems, "\n".join(found_problems)


def judge_progress(platform: Platform, truth: Truth) -> None:
    """Checks that no offset is ahead of durable data; the topic need not be drained.

    Raises:
        AssertionError: names everything that is not durable.
    """
    found_problems = ran_ahead(platform.settings.clicks_topic, truth, look(platform), read_log(platform))
    assert not found_problems, "\n".join(found_problems)


def _scan(platform: Platform, table: str, **options: Any) -> Iterator[tuple[bytes, dict[bytes, bytes]]]:
    """All rows, over a plain connection."""
    settings = platform.settings
    connection = happybase.Connection(settings.hbase_thrift_host, settings.hbase_thrift_port, timeout=60_000)
    try:
        yield from cast("Iterator[tuple[bytes, dict[bytes, bytes]]]", connection.table(table).scan(**options))
    finally:
        connection.close()


def _rows(platform: Platform) -> list[StoredRow]:
    # With the user id, a row without an event id would be found, too.
    rows = _scan(platform, platform.settings.clicks_table, columns=[_ID, _TIME, _USER], batch_size=5_000)
    return [StoredRow(cells.get(_ID, key).decode(), int(cells.get(_TIME, b"-1")), key) for key, cells in rows]


def _hours(platform: Platform) -> tuple[set[int], set[int]]:
    """Hours marked dirty, and hours with the time of their first stored click; epoch ms."""
    dirty: set[int] = set()
    known_since: set[int] = set()
    for hour, cells in _hour_rows(platform):
        if _count(cells, b"h:dirty") > 0:
            dirty.add(hour)
        if b"h:first_stored_at" in cells:
            known_since.add(hour)
    return dirty, known_since


def _hour_rows(platform: Platform) -> Iterator[tuple[int, dict[bytes, bytes]]]:
    for key, cells in _scan(platform, platform.settings.hours_table):
        if key[:1].isdigit():  # the others are the ledger's own
            start = datetime.strptime(key.decode(), "%Y-%m-%d-%H:%M").replace(tzinfo=UTC)
            yield int(start.timestamp()) * 1000, cells


def _count(cells: Mapping[bytes, bytes], column: bytes) -> int:
    return int.from_bytes(cells.get(column, b""), "big")


def _volume(truth: Truth, log: Sequence[Logged], at_least: int) -> list[str]:
    found_problems: list[str] = []
    if len(log) != truth.messages:
        found_problems.append(f"Kafka itself holds {len(log):,} messages, though it acknowledged {truth.messages:,}")
    broken = sum(truth.broken.values())
    if truth.messages < at_least or not truth.times or not broken:
        found_problems.append(
            f"only {truth.messages:,} messages went through, {len(truth.times):,} distinct valid and {broken:,} "
            f"invalid ones: a pass would mean nothing (at least {at_least:,} are wanted, and some of each)"
        )
    return found_problems


def _listed(what: str, which: Iterable[object]) -> list[str]:
    listed = sorted(map(str, which))
    return [f"{len(listed):,} {what}: {', '.join(listed[:_SHOWN])}"] if listed else []


def _repeated(names: Iterable[str]) -> set[str]:
    seen: set[str] = set()
    return {name for name in names if name in seen or seen.add(name)}


def _unequal(ledger: Mapping[int, int], ends: Mapping[int, int]) -> list[str]:
    partitions = sorted(ledger.keys() | ends.keys())
    return [f"{p}: {ledger.get(p, 0)} of {ends.get(p)}" for p in partitions if ledger.get(p, 0) != ends.get(p)]


def _key(topic: str, entry: Logged) -> bytes:
    return f"{topic}/{entry.partition}/{entry.offset}".encode()


def _bytes(value: str | bytes | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
