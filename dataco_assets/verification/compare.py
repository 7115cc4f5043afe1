"""Compares recomputed hours with the aggregates' tables, the indices and the hour ledger, field by field."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dataco_assets.aggregates.columns import PAGE, Aggregate
from dataco_assets.aggregates.reading import HourAggregates
from dataco_assets.index.layout import document_id
from dataco_assets.ledgers.hours import HourState
from dataco_assets.verification.recompute import Figures, Group
from dataco_assets.verification.sketches import content

DIFFERENCES_KEPT = 20
"""Differences of one hour that are kept word for word; all are counted."""
_TIMES = frozenset({"hour", "computed_at"})
_TOLERANCE = 1e-9  # relative, for doubles


class Place(StrEnum):
    """Where something differs from the clicks."""

    TABLE = "table"
    INDEX = "index"
    LEDGER = "ledger"


class Outcome(StrEnum):
    """Result of verifying an hour.

    Of DIRTY, CHANGING and CLOSED hours another attempt can come to a result. Of EXPIRED and OUTSIDE ones (before the
    first partition) none ever will.
    """

    EQUAL = "equal"
    DIFFERENT = "different"
    DIRTY = "dirty"
    CHANGING = "changing"
    EXPIRED = "expired"
    OUTSIDE = "outside"
    CLOSED = "closed"


@dataclass(frozen=True)
class Difference:
    """One value that differs from what the clicks add up to. The group is event text: escape before showing.

    Attributes:
        hour: Start, epoch ms.
        aggregate: Name of the aggregate; empty when it is about none.
        place: Where it differs.
        group: Value of each dimension; empty when it is about the whole hour.
        field: Name of the field, or what is wrong.
        expected: The value computed from the clicks.
        found: The value stored.
    """

    hour: int
    aggregate: str
    place: Place
    group: Mapping[str, str | None]
    field: str
    expected: object
    found: object


@dataclass
class HourVerdict:
    """Result of verifying one hour.

    Attributes:
        hour: Start, epoch ms.
        outcome: Whether it could be verified, and the result.
        clicks: Its clicks in HBase.
        groups: Its groups of page and country.
        lacking: Columns and aggregates that it was computed without, by an earlier version.
        differences: The first differences.
        differing: Number of all differences.
    """

    hour: int
    outcome: Outcome = Outcome.EQUAL
    clicks: int = 0
    groups: int = 0
    lacking: set[str] = field(default_factory=set)
    differences: list[Difference] = field(default_factory=list)
    differing: int = 0

    def add(self, difference: Difference) -> None:
        """Adds a difference."""
        self.differing += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(difference)


def compare_table(
    verdict: HourVerdict, aggregate: Aggregate, expected: Mapping[Group, Figures], stored: HourAggregates | None
) -> frozenset[str]:
    """Adds to the verdict what differs in an aggregate's table.

    Args:
        verdict: The hour's verdict.
        aggregate: Whose table it is.
        expected: What the clicks amount to.
        stored: What the table holds of the hour; None if it was never computed.

    Returns:
        Columns that an earlier version computed the hour without.
    """
    comparison = _Comparison(verdict, aggregate, Place.TABLE)
    if stored is None:
        if expected:
            comparison.add_of_hour("hour", f"{len(expected):,} groups", "never computed")
        return frozenset()
    lacking = frozenset(name for name in aggregate.later if 0 < stored.table.num_rows == stored.table[name].null_count)
    verdict.lacking |= lacking
    comparison.expected = _grouped_without(expected, aggregate, lacking)
    own = {"generation": stored.generation, **dict.fromkeys(lacking)}
    for row in stored.table.to_pylist():
        row["hour"] = round(row["hour"].timestamp() * 1000)
        for column in aggregate.columns:
            if column.type == "sketch" and row[column.name] is not None:
                row[column.name] = content(row[column.name])
            if column.type == "histogram" and row[column.name] is not None:
                row[column.name] = _filled(row[column.name])
        comparison.compare_group(tuple(row[name] for name in aggregate.group), row, own)
    comparison.add_missing()
    return lacking


def compare_index(
    verdict: HourVerdict,
    aggregate: Aggregate,
    expected: Mapping[Group, Figures],
    hits: Iterable[Mapping[str, Any]],
    stored: HourAggregates | None,
    lacking: frozenset[str] = frozenset(),
) -> None:
    """Adds to the verdict what differs in the hour's documents.

    A document has no bucket without clicks, and no sketch.

    Args:
        verdict: The hour's verdict.
        aggregate: Whose documents they are.
        expected: What the clicks amount to.
        hits: All documents of the hour, with `_id`, `_version` and `_source`.
        stored: What the table holds of the hour, which the documents were made from.
        lacking: What the table lacks (`compare_table`): the documents must lack it as well.
    """
    comparison = _Comparison(verdict, aggregate, Place.INDEX)
    comparison.expected = _grouped_without(expected, aggregate, lacking)
    without: dict[str, Any] = dict.fromkeys([*lacking, *(c.name for c in aggregate.columns if not c.in_index)])
    without |= {column.name: {} for column in aggregate.histograms if column.name in lacking}
    for hit in hits:
        document = _with_times(hit["_source"])
        document |= {column.name: document.get(column.name) or {} for column in aggregate.histograms}
        group = tuple(None if (value := document.get(name)) is None else str(value) for name in aggregate.group)
        own: dict[str, Any] = {**without, "_id": document_id(aggregate, verdict.hour, *group)}
        if PAGE in aggregate.dimensions:
            own["host"], own["path"] = host_and_path(str(document.get(PAGE.name)))
        if stored is not None:
            own |= {"_version": document.get("generation")}
        found = {**document, "_id": hit["_id"], "_version": hit["_version"]}
        comparison.compare_group(group, found, own)
        if stored is not None:
            comparison.compare_origin(group, document, stored)
    comparison.add_missing()


class _Comparison:
    """The comparison of one place of an aggregate with what the clicks of an hour amount to.

    Attributes:
        expected: What they amount to.
    """

    def __init__(self, verdict: HourVerdict, aggregate: Aggregate, place: Place) -> None:
        self._verdict = verdict
        self._aggregate = aggregate
        self._place = place
        self._seen: set[Group] = set()
        self.expected: Mapping[Group, Figures] = {}

    def add_of_hour(self, name: str, expected: object, found: object) -> None:
        """Adds a difference that is about the whole hour, not about one group."""
        self._verdict.add(of_hour(self._verdict.hour, self._place, name, expected, found, self._aggregate.name))

    def compare_group(self, group: Group, found: Mapping[str, Any], own: Mapping[str, Any]) -> None:
        """Compares all fields of a row or document.

        Args:
            group: What it says it is of.
            found: Its fields.
            own: What fields must be that do not come from the clicks.
        """
        figures = self.expected.get(group)
        if figures is None:
            there = f"{found.get('click_count')} clicks, generation {found.get('generation')}"
            self._add(group, "group", "absent", there)
            return
        if group in self._seen:
            self._add(group, "group", "once", "again")
            return
        self._seen.add(group)
        hour = self._verdict.hour
        for name, wanted in {"hour": hour, **figures.fields, **own}.items():
            if not _same(wanted, found.get(name)):
                self._add(group, name, wanted, found.get(name))

    def compare_origin(self, group: Group, document: Mapping[str, Any], stored: HourAggregates) -> None:
        """Compares by which run a document was written: an older one is fine, if it did not change since."""
        if (computed_at := document.get("computed_at", 0)) > stored.computed_at_ms:
            self._add(group, "computed_at", stored.computed_at_ms, computed_at)
        generation = document.get("generation")
        if not (isinstance(generation, int) and generation <= stored.generation):
            self._add(group, "generation", stored.generation, generation)

    def add_missing(self) -> None:
        """Adds the groups that were not there."""
        for group, figures in self.expected.items():
            if group not in self._seen:
                self._add(group, "group", f"{figures.clicks} clicks", "absent")

    def _add(self, group: Group, name: str, expected: object, found: object) -> None:
        values = dict(zip(self._aggregate.group, group, strict=True))
        aggregate = self._aggregate.name
        self._verdict.add(Difference(self._verdict.hour, aggregate, self._place, values, name, expected, found))


def _grouped_without(
    groups: Mapping[Group, Figures], aggregate: Aggregate, lacking: frozenset[str]
) -> Mapping[Group, Figures]:
    """The groups as they are without the dimensions that an hour was computed without."""
    if lacking.isdisjoint(aggregate.group):
        return groups
    merged: dict[Group, Figures] = {}
    for group, figures in groups.items():
        kept = tuple(None if n in lacking else value for n, value in zip(aggregate.group, group, strict=True))
        merged[kept] = merged[kept] + figures if kept in merged else figures
    return merged


def _with_times(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document with its times as epoch ms; a value that is not a time is left as it is, and so differs."""
    return {name: _epoch_ms(value) if name in _TIMES else value for name, value in document.items()}


def _epoch_ms(value: object) -> object:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return value
    if moment is None:
        return value
    return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def host_and_path(page: str) -> tuple[str, str]:
    """Host without port, and path without query, of a canonical page."""
    authority, _, tail = page.partition("://")[2].partition("/")
    host = authority.partition("]")[0] + "]" if authority.startswith("[") else authority.partition(":")[0]
    return host, "/" + tail.partition("?")[0]


def compare_ledger(
    verdict: HourVerdict,
    aggregate: Aggregate,
    state: HourState,
    expected: Mapping[Group, Figures],
    stored: HourAggregates | None,
) -> None:
    """Adds to the verdict what differs between the hour ledger and an aggregate's table."""
    hour = verdict.hour
    if not state.dirty and expected:
        verdict.add(of_hour(hour, Place.LEDGER, "dirty", "at least 1: the hour has clicks", 0))
    if stored is not None and stored.generation != state.done:
        verdict.add(of_hour(hour, Place.TABLE, "generation", state.done, stored.generation, aggregate.name))
    if stored is None and state.done and not verdict.differing:
        verdict.add(
            of_hour(hour, Place.TABLE, "hour", "aggregates of an hour that is done", "never computed", aggregate.name)
        )


def _filled(buckets: Mapping[str, Any]) -> dict[str, Any]:
    """A histogram's buckets without those that hold 0; one that is null stays, since none may be."""
    return {bucket: held for bucket, held in buckets.items() if held != 0}


def _same(wanted: object, found: object) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(wanted, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return wanted == found


def of_hour(hour: int, place: Place, name: str, expected: object, found: object, aggregate: str = "") -> Difference:
    """A difference that is about the whole hour, not about one group."""
    return Difference(hour, aggregate, place, {}, name, expected, found)
