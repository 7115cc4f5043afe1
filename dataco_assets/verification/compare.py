"""Compares recomputed hours with the aggregates' table, the index and the hour ledger, field by field."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from dataco_assets.aggregates.columns import COLUMNS, LATER_COLUMNS
from dataco_assets.aggregates.reading import HourAggregates
from dataco_assets.index.layout import document_id
from dataco_assets.ledgers.hours import HourState
from dataco_assets.verification.recompute import Figures, Group
from dataco_assets.verification.sketches import content

DIFFERENCES_KEPT = 20
"""Differences of one hour that are kept word for word; all are counted."""
_TIMES = frozenset({"hour", "computed_at"})
_HISTOGRAMS = tuple(column.name for column in COLUMNS if column.type == "histogram")
_SKETCHES = tuple(column.name for column in COLUMNS if column.type == "sketch")
_NOT_IN_INDEX: dict[str, None] = dict.fromkeys(column.name for column in COLUMNS if not column.in_index)
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
    """One value that differs from what the clicks add up to. Page and country are event text: escape before showing.

    Attributes:
        hour: Start, epoch ms.
        place: Where it differs.
        page: Page of the group; empty when it is about the whole hour.
        country: Country of the group.
        field: Name of the field, or what is wrong.
        expected: The value computed from the clicks.
        found: The value stored.
    """

    hour: int
    place: Place
    page: str
    country: str
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
        lacking: Measures that it was computed without, by an earlier version.
        differences: The first differences.
        differing: Number of all differences.
    """

    hour: int
    outcome: Outcome = Outcome.EQUAL
    clicks: int = 0
    groups: int = 0
    lacking: frozenset[str] = frozenset()
    differences: list[Difference] = field(default_factory=list)
    differing: int = 0

    def add(self, difference: Difference) -> None:
        """Adds a difference."""
        self.differing += 1
        if len(self.differences) < DIFFERENCES_KEPT:
            self.differences.append(difference)


def compare_table(verdict: HourVerdict, expected: Mapping[Group, Figures], stored: HourAggregates | None) -> None:
    """Adds to the verdict what differs in the aggregates' table.

    Args:
        verdict: The hour's verdict.
        expected: What the clicks amount to.
        stored: What the table holds of the hour; None if it was never computed.
    """
    if stored is None:
        if expected:
            verdict.add(of_hour(verdict.hour, Place.TABLE, "hour", f"{len(expected):,} groups", "never computed"))
        return
    verdict.lacking = frozenset(
        name for name in LATER_COLUMNS if 0 < stored.table.num_rows == stored.table[name].null_count
    )
    seen: set[Group] = set()
    own = {"generation": stored.generation, **dict.fromkeys(verdict.lacking)}
    for row in stored.table.to_pylist():
        group = (row["page"], row["country"])
        row["hour"] = round(row["hour"].timestamp() * 1000)
        row |= {name: content(row[name]) for name in _SKETCHES if row[name] is not None}
        row |= {name: _filled(row[name]) for name in _HISTOGRAMS if row[name] is not None}
        _compare_group(verdict, Place.TABLE, group, seen, expected, row, own)
    _missing(verdict, Place.TABLE, expected, seen)


def compare_index(
    verdict: HourVerdict,
    expected: Mapping[Group, Figures],
    hits: Iterable[Mapping[str, Any]],
    stored: HourAggregates | None,
) -> None:
    """Adds to the verdict what differs in the hour's documents.

    A document has no bucket without clicks, and no sketch.

    Args:
        verdict: The hour's verdict, after `compare_table`: what the table lacks, the documents must lack as well.
        expected: What the clicks amount to.
        hits: All documents of the hour, with `_id`, `_version` and `_source`.
        stored: What the table holds of the hour, which the documents were made from.
    """
    seen: set[Group] = set()
    for hit in hits:
        document = _with_times(hit["_source"])
        document |= {name: document.get(name) or {} for name in _HISTOGRAMS}
        group = (str(document.get("page")), str(document.get("country")))
        host, path = host_and_path(group[0])
        own: dict[str, Any] = {"host": host, "path": path, "_id": document_id(verdict.hour, *group)}
        own |= dict.fromkeys(verdict.lacking) | _NOT_IN_INDEX
        own |= {name: {} for name in _HISTOGRAMS if name in verdict.lacking}
        if stored is not None:
            own |= {"_version": document.get("generation")}
        found = {**document, "_id": hit["_id"], "_version": hit["_version"]}
        _compare_group(verdict, Place.INDEX, group, seen, expected, found, own)
        if stored is not None and (computed_at := document.get("computed_at", 0)) > stored.computed_at_ms:
            # Older is fine: the document did not change since.
            wanted = stored.computed_at_ms
            verdict.add(Difference(verdict.hour, Place.INDEX, *group, "computed_at", wanted, computed_at))
        generation = document.get("generation")
        if stored is not None and not (isinstance(generation, int) and generation <= stored.generation):
            verdict.add(Difference(verdict.hour, Place.INDEX, *group, "generation", stored.generation, generation))
    _missing(verdict, Place.INDEX, expected, seen)


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
    verdict: HourVerdict, state: HourState, expected: Mapping[Group, Figures], stored: HourAggregates | None
) -> None:
    """Adds to the verdict what differs in the hour ledger."""
    hour = verdict.hour
    if not state.dirty and expected:
        verdict.add(of_hour(hour, Place.LEDGER, "dirty", "at least 1: the hour has clicks", 0))
    if stored is not None and stored.generation != state.done:
        verdict.add(of_hour(hour, Place.TABLE, "generation", state.done, stored.generation))
    if stored is None and state.done and not verdict.differing:
        verdict.add(of_hour(hour, Place.TABLE, "hour", "aggregates of an hour that is done", "never computed"))


def _compare_group(
    verdict: HourVerdict,
    place: Place,
    group: Group,
    seen: set[Group],
    expected: Mapping[Group, Figures],
    found: Mapping[str, Any],
    own: Mapping[str, Any],
) -> None:
    def add(name: str, wanted: object, there: object) -> None:
        verdict.add(Difference(verdict.hour, place, *group, name, wanted, there))

    figures = expected.get(group)
    if figures is None:
        add("group", "absent", f"{found.get('click_count')} clicks, generation {found.get('generation')}")
        return
    if group in seen:
        add("group", "once", "again")
        return
    seen.add(group)
    for name, wanted in {"hour": verdict.hour, **figures.fields, **own}.items():
        if not _same(wanted, found.get(name)):
            add(name, wanted, found.get(name))


def _filled(buckets: Mapping[str, Any]) -> dict[str, Any]:
    """A histogram's buckets without those that hold 0; one that is null stays, since none may be."""
    return {bucket: held for bucket, held in buckets.items() if held != 0}


def _missing(verdict: HourVerdict, place: Place, expected: Mapping[Group, Figures], seen: set[Group]) -> None:
    for group, figures in expected.items():
        if group not in seen:
            verdict.add(Difference(verdict.hour, place, *group, "group", f"{figures.clicks} clicks", "absent"))


def _same(wanted: object, found: object) -> bool:
    if isinstance(wanted, float) and isinstance(found, int | float):
        return math.isclose(wanted, found, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return wanted == found


def of_hour(hour: int, place: Place, name: str, expected: object, found: object) -> Difference:
    """A difference that is about the whole hour, not about one group."""
    return Difference(hour, place, "", "", name, expected, found)
