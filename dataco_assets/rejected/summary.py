"""Rejected clicks by reason, each with an example. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass

from dataco_assets.rejected.contents import Contents, Entry


@dataclass(frozen=True)
class OfReason:
    """The rejected clicks with one reason.

    Attributes:
        reason: The reason.
        clicks: How many.
        replayed: How many of them were sent back.
        passing: How many of the others the rules as they are now would let through.
        newest: The one rejected last.
    """

    reason: str
    clicks: int
    replayed: int
    passing: int
    newest: Entry


@dataclass(frozen=True)
class RejectedSummary:
    """Rejected clicks by reason.

    Attributes:
        reasons: The most frequent first.
        erased: Clicks that are not among them, since their users were erased.
        skipped: Older records that were not read.
    """

    reasons: tuple[OfReason, ...]
    erased: int = 0
    skipped: int = 0


def summary(contents: Contents) -> RejectedSummary:
    """The contents of the rejected topic by reason."""
    found: dict[str, list[Entry]] = {}
    for entry in contents.entries:
        found.setdefault(entry.record.reason, []).append(entry)
    reasons = sorted((_of(reason, entries) for reason, entries in found.items()), key=lambda r: (-r.clicks, r.reason))
    return RejectedSummary(tuple(reasons), len(contents.erased), contents.skipped)


def _of(reason: str, entries: list[Entry]) -> OfReason:
    return OfReason(
        reason,
        len(entries),
        _count(entry.replays > 0 for entry in entries),
        _count(not entry.replays and entry.verdict is None for entry in entries),
        entries[-1],
    )


def _count(each: Iterable[bool]) -> int:
    return sum(each)
