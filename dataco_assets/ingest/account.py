"""The account of the clicks: adds up what became of every offset that ingest has passed. Pure.

The messages produced in a range of offsets must be those stored, repeated, rejected, suppressed or lost, and the ranges
of a log must follow each other. What is found is either a problem, which names the range that does not add up, or a
note, which says why a part is not known. What a log and a tally are is said in `dataco_assets/ledgers/tallies.py`; the
ledger and the rejected topic are read in `accounting`.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, pairwise

from dataco_assets.clicks.hour import HOUR_MS, hour_key
from dataco_assets.ledgers.offsets import Progress
from dataco_assets.ledgers.tallies import Counts, TalliedRange
from dataco_assets.quantities import quantity

_Log = tuple[int, str, int]
_CLOCKS_MS = HOUR_MS
"""By so much the clock of HBase, which dates a range, may be ahead of the clock that dates its rejected records."""


@dataclass(frozen=True)
class Finding:
    """What was found of offsets [start, end) of a partition.

    Attributes:
        partition: The partition.
        start: The first offset.
        end: The one behind the last.
        what: What was found.
        hour: When they were ingested, epoch ms; None when that is not known.
    """

    partition: int
    start: int
    end: int
    what: str
    hour: int | None = None

    def __str__(self) -> str:
        when = "" if self.hour is None else f", ingested in hour {hour_key(self.hour)}"
        return f"Partition {self.partition}, offsets [{self.start}, {self.end}){when}: {self.what}"


@dataclass(frozen=True)
class LogAccount:
    """The account of one log of a partition: offsets that were numbered in one go.

    Attributes:
        partition: The partition.
        topic_id: Id of the topic.
        start: The first offset of its ranges.
        end: The one behind the last.
        offsets: Offsets of its ranges.
        counts: What became of them.
    """

    partition: int
    topic_id: str
    start: int
    end: int
    offsets: int
    counts: Counts

    @property
    def produced(self) -> int:
        """Messages among the offsets."""
        return self.offsets - self.counts.empty


@dataclass(frozen=True)
class Account:
    """The account of a topic.

    Attributes:
        ranges: The ranges it is made of: by partition, then in the order in which they were ingested.
        problems: Ranges that do not add up.
        notes: What is not known, and why.
        rejected: What came of the comparison with the rejected topic; None: it was not compared.
        recounts: The ranges that were counted again, in Kafka and HBase; None: none was to be.
    """

    ranges: tuple[TalliedRange, ...] = ()
    problems: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    rejected: "RejectedComparison | None" = None
    recounts: "tuple[Recount, ...] | None" = None

    @property
    def adds_up(self) -> bool:
        """Whether no problem was found."""
        return not self.problems

    @property
    def logs(self) -> list[LogAccount]:
        """The sums of each log."""
        return [_summed(ranges) for ranges in _by_log(self.ranges).values()]

    @property
    def counts(self) -> Counts:
        """The sums of everything."""
        return sum((each.tally.counts for each in self.ranges), Counts())

    @property
    def produced(self) -> int:
        """Messages among all offsets."""
        return sum(each.produced for each in self.ranges)


@dataclass(frozen=True)
class FoundRejected:
    """What the rejected topic holds.

    Attributes:
        records: By partition of the clicks topic: offsets there, with the time when the click was rejected, epoch ms.
        complete_since_ms: Records of clicks that were rejected since then are all still there.
    """

    records: Mapping[int, Mapping[int, int]]
    complete_since_ms: int


@dataclass(frozen=True)
class Recount:
    """What was counted of a range without the ledger.

    Attributes:
        range: The range.
        messages: Its messages in Kafka.
        without_row: Offsets of clicks that are neither rejected nor an erased user's, and have no row in HBase.
    """

    range: TalliedRange
    messages: int
    without_row: tuple[int, ...] = ()


@dataclass(frozen=True)
class RejectedComparison:
    """What came of the comparison with the rejected topic.

    Attributes:
        found: Rejected records of the ranges that were compared.
        counted: How many these ranges count.
        ranges: How many ranges were compared.
        left_out: How many were not: retention may have removed records of them, or their offsets were given out twice.
    """

    found: int = 0
    counted: int = 0
    ranges: int = 0
    left_out: int = 0


def add_up(progress: Progress, *, kept_since_ms: int | None, is_up_to_now: bool = True) -> Account:
    """Adds up tallies.

    Args:
        progress: Positions and tallies.
        kept_since_ms: Tallies that were closed after that time have not expired, epoch ms; None: what precedes the
            first of them was not asked for.
        is_up_to_now: Whether the tallies reach up to the positions.
    """
    found: list[tuple[bool, Finding]] = []
    logs = _by_log(_ordered(progress))
    for ranges in logs.values():
        if kept_since_ms is not None:
            found += _beginning(ranges[0], kept_since_ms)
        for before, after in pairwise(ranges):
            found += _succession(before, after)
        found += ((True, problem) for each in ranges for problem in _problems(each))
    untallied = _untallied(progress, logs, is_whole=kept_since_ms is not None) if is_up_to_now else ()
    notes = [*untallied, *_replaced(logs)]
    return Account(
        tuple(each for ranges in logs.values() for each in ranges),
        tuple(finding for is_problem, finding in found if is_problem),
        (*(finding for is_problem, finding in found if not is_problem), *notes),
    )


def compared_with_rejected(account: Account, topic: FoundRejected) -> Account:
    """The account after each of its ranges was compared with what the rejected topic holds of it."""
    problems = list(account.problems)
    result = RejectedComparison()
    offsets = {partition: sorted(records) for partition, records in topic.records.items()}
    mixed = _mixed_up(account.ranges)
    for each in account.ranges:
        if each.tally.hour < topic.complete_since_ms or each in mixed:
            result = replace(result, left_out=result.left_out + 1)
            continue
        candidates = offsets.get(each.partition, [])
        there = candidates[bisect_left(candidates, each.start) : bisect_left(candidates, each.end)]
        records, since_ms = topic.records.get(each.partition, {}), each.tally.hour - _CLOCKS_MS
        found, counted = sum(records[offset] >= since_ms for offset in there), each.tally.counts.rejected
        if found != counted:
            what = f"{quantity(counted, 'message')} counted as rejected, but the rejected topic has {found:,} of them."
            problems.append(_finding(each, what))
        result = RejectedComparison(result.found + found, result.counted + counted, result.ranges + 1, result.left_out)
    return replace(account, problems=tuple(problems), rejected=result)


def compared_with_recounts(account: Account, recounts: Sequence[Recount]) -> Account:
    """The account after ranges were counted again, in Kafka and HBase."""
    problems = list(account.problems)
    for each in recounts:
        if each.messages != (counted := each.range.produced - each.range.tally.counts.lost):
            what = f"{quantity(counted, 'message')} counted, but the topic has {each.messages:,} of them."
            problems.append(_finding(each.range, what))
        if each.without_row:
            told = quantity(len(each.without_row), "click has", "clicks have")
            what = f"{told} no row in HBase, the first at offset {each.without_row[0]}."
            problems.append(_finding(each.range, what))
    return replace(account, problems=tuple(problems), recounts=tuple(recounts))


def _mixed_up(ranges: Iterable[TalliedRange]) -> set[TalliedRange]:
    """Ranges of a log after which another gives out the same offsets, and those soon after the other began.

    A rejected record does not name the log that its click came from, only when it was rejected.
    """
    logs: defaultdict[int, list[list[TalliedRange]]] = defaultdict(list)
    for (partition, *_), found in _by_log(ranges).items():
        logs[partition].append(found)
    distance_ms = HOUR_MS + _CLOCKS_MS  # a range takes an hour
    mixed: set[TalliedRange] = set()
    for before, after in chain.from_iterable(map(pairwise, logs.values())):
        mixed.update(before)
        mixed.update(each for each in after if each.tally.hour - distance_ms <= before[-1].tally.hour)
    return mixed


def _ordered(progress: Progress) -> list[TalliedRange]:
    """The ranges by partition, then in the order in which they were ingested."""

    def place(each: TalliedRange) -> tuple[int, bool, int, int, int]:
        position = progress.positions.get(each.partition)
        is_present = position is not None and position.topic_id == each.topic_id
        return each.partition, is_present, each.tally.hour, each.tally.log, each.start

    return sorted(progress.ranges, key=place)


def _by_log(ranges: Iterable[TalliedRange]) -> dict[_Log, list[TalliedRange]]:
    logs: defaultdict[_Log, list[TalliedRange]] = defaultdict(list)
    for each in ranges:
        logs[each.log].append(each)
    return dict(logs)


def _summed(ranges: Sequence[TalliedRange]) -> LogAccount:
    first, last = ranges[0], ranges[-1]
    counts = sum((each.tally.counts for each in ranges), Counts())
    offsets = sum(each.offsets for each in ranges)
    return LogAccount(first.partition, first.topic_id, first.start, last.end, offsets, counts)


def _problems(each: TalliedRange) -> Iterator[Finding]:
    """Whether a range adds up by itself."""
    counts = each.tally.counts
    if any(getattr(counts, field.name) < 0 for field in fields(counts)):
        yield _finding(each, "a count is negative, so somebody else has written the ledger.")
    elif counts.offsets != each.offsets:
        produced, accounted = each.produced, counts.accounted
        difference = quantity(abs(produced - accounted), "message")
        told = f"{difference} not accounted for" if accounted < produced else f"{difference} too many accounted for"
        yield _finding(each, f"{told}: {produced:,} were produced, {accounted:,} are counted ({_listed(counts)}).")


def _listed(counts: Counts) -> str:
    return ", ".join(f"{number:,} {fate}" for fate, number in counts.by_fate.items())


def _beginning(first: TalliedRange, kept_since_ms: int) -> Iterator[tuple[bool, Finding]]:
    """What precedes the first range of a log, and whether that is a problem."""
    if first.start == 0:
        return
    place = (first.partition, 0, first.start)
    if first.tally.is_first:
        yield False, Finding(*place, "no tallies: ingest began behind them, or a version passed them that kept none.")
    elif first.tally.hour > kept_since_ms:
        yield True, Finding(*place, f"their tallies are gone, though those closed in {_hour(first)} are kept.")
    else:
        yield False, Finding(*place, "their tallies have expired.")


def _succession(before: TalliedRange, after: TalliedRange) -> Iterator[tuple[bool, Finding]]:
    """What is between two ranges, and whether that is a problem."""
    if after.start > before.end and after.tally.is_first:
        what = "no tallies: a version passed them that kept none."
        yield False, Finding(after.partition, before.end, after.start, what)
    elif after.start > before.end:
        what = f"no tally covers them, though tallies are kept before and after them ({_hour(before)}, {_hour(after)})."
        yield True, Finding(after.partition, before.end, after.start, what)
    elif after.start < before.end:
        what = f"counted twice, in {_hour(before)} and in {_hour(after)}."
        yield True, Finding(after.partition, after.start, min(before.end, after.end), what)


def _untallied(progress: Progress, logs: Mapping[_Log, Sequence[TalliedRange]], *, is_whole: bool) -> Iterator[Finding]:
    """What lies between the last tally and a position that was moved by a version that keeps none."""
    for partition in sorted(progress.untallied):
        position = progress.positions[partition]
        ends = [r[-1].end for (p, topic_id, _), r in logs.items() if (p, topic_id) == (partition, position.topic_id)]
        start = ends[-1] if ends else 0
        if position.next_offset > start and (ends or is_whole):
            what = "no tallies: a version passed them that keeps none."
            yield Finding(partition, start, position.next_offset, what)


def _replaced(logs: Mapping[_Log, Sequence[TalliedRange]]) -> Iterator[Finding]:
    """Logs that ended because the topic was created anew or cut back, which a person accepted."""
    for (before, first), (after, _) in pairwise(logs.items()):
        if before[0] == after[0]:
            last = first[-1]
            if before[1] != after[1]:
                what = "the topic was created anew; what it held behind them was lost, uncounted, as was accepted."
            else:
                what = "the log was cut back behind them, and began to give out offsets again, as was accepted."
            yield Finding(last.partition, first[0].start, last.end, what, last.tally.hour)


def _finding(each: TalliedRange, what: str) -> Finding:
    return Finding(each.partition, each.start, each.end, what, each.tally.hour)


def _hour(each: TalliedRange) -> str:
    return f"hour {hour_key(each.tally.hour)}"
