"""Documents of an aggregate's rows, and what has to change so that an index holds exactly these. Pure, in plain Python.

For hours of few rows: Spark plans and compiles for seconds what takes milliseconds here. For hours of many rows,
`spark_resources/publication.py` and `index_documents.py` do the same on the executors; a test compares the two.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from dataco_assets.aggregates.columns import (
    CLICK_COUNT,
    COMPUTED_AT,
    ENTERING_USERS,
    GENERATION,
    HOUR,
    PAGE,
    PAGES,
    TIME_SPENT_SECONDS,
    Aggregate,
    Column,
)
from dataco_assets.index.differences import SHOWN_ROWS, ChangedRow, HourDifference
from dataco_assets.index.layout import document_id, host_and_path, time_of, time_text

if TYPE_CHECKING:
    import pyarrow as pa

Document = Mapping[str, Any]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
_ORIGIN: Final = (GENERATION.name, COMPUTED_AT.name)
"""Fields that say how a document came about, not what it says of the clicks."""


@dataclass(frozen=True)
class Stored:
    """A document as a search finds it, and its version."""

    document: Document
    version: int


@dataclass(frozen=True)
class Changes:
    """What has to change.

    Attributes:
        write: Documents to write, by id.
        delete: Ids of documents to delete.
        differing: Of documents that readers see change, appear or vanish: what they were and what they become; None:
            there was or is none.
    """

    write: Mapping[str, Document]
    delete: Sequence[str]
    differing: Sequence[tuple[Document | None, Document | None]]


def documents(aggregate: Aggregate, rows: "Iterable[pa.Table]") -> dict[str, Document]:
    """The documents of rows, by id. A field that is null is left out."""
    columns = [column.name for column in aggregate.indexed]
    found: dict[str, Document] = {}
    for table in rows:
        for row in table.select(columns).to_pylist():
            group = (row[name] for name in aggregate.group)
            found[document_id(aggregate, _ms(row[HOUR.name]), *group)] = _document(aggregate, row)
    return found


def changes(
    aggregate: Aggregate, wanted: Mapping[str, Document], stored: Mapping[str, Stored], rewritten: Collection[int]
) -> Changes:
    """What has to change so that the index holds exactly the wanted documents.

    A stored document is left as it is if each field that comes from clicks is the same, and if a run of this generation
    or an older one wrote it: otherwise something else than the platform did.

    Args:
        aggregate: Whose documents they are.
        wanted: What the index is to hold, by id.
        stored: What it holds.
        rewritten: Hours (epoch ms) whose documents are all written.
    """
    all_of = {time_text(hour) for hour in rewritten}
    compared = [column for column in aggregate.indexed if column.name not in _ORIGIN]
    parts = ("host", "path") if PAGE in aggregate.dimensions else ()
    write: dict[str, Document] = {}
    differing: list[tuple[Document | None, Document | None]] = []
    for key, document in wanted.items():
        former = stored.get(key)
        is_same = former is not None and (
            all(_equal(column, document.get(column.name), former.document.get(column.name)) for column in compared)
            and all(document.get(name) == former.document.get(name) for name in parts)
        )
        if not is_same:
            differing.append((former.document if former else None, document))
        if former is None or not is_same or document[HOUR.name] in all_of or not _is_of_a_run(former, document):
            write[key] = document
    delete = [key for key in stored if key not in wanted]
    differing += [(stored[key].document, None) for key in delete]
    return Changes(write, delete, differing)


def hour_differences(changed: Changes, hours: Collection[int]) -> list[HourDifference]:
    """How hours (epoch ms) differ from the documents that readers have, of pages; those that do not are left out."""
    told = {time_text(hour) for hour in hours}
    by_hour: dict[str, list[_Row]] = {}
    for former, document in changed.differing:
        row = _Row.of(former, document)
        if row.hour in told:
            by_hour.setdefault(row.hour, []).append(row)
    return [
        HourDifference(
            hour=time_of(hour),
            groups=len(rows),
            clicks=sum(row.shown.clicks - row.shown.clicks_before for row in rows),
            users=sum(row.users for row in rows),
            rows=tuple(row.shown for row in sorted(rows, key=_Row.order)[:SHOWN_ROWS]),
        )
        for hour, rows in sorted(by_hour.items())
    ]


@dataclass(frozen=True)
class _Row:
    """A changed document, with the users that it has more than before."""

    hour: str
    users: int
    shown: ChangedRow

    @classmethod
    def of(cls, former: Document | None, document: Document | None) -> "_Row":
        before, now = former or {}, document or {}

        def of(part: Document, measure: Column) -> Any:
            value = part.get(measure.name)
            return value if isinstance(value, int | float) else 0  # a document can have been changed by anybody

        page, country = ({**before, **now}[name] for name in PAGES.group)
        shown = ChangedRow(
            page=page,
            country=country,
            clicks_before=of(before, CLICK_COUNT),
            clicks=of(now, CLICK_COUNT),
            seconds_before=of(before, TIME_SPENT_SECONDS),
            seconds=of(now, TIME_SPENT_SECONDS),
        )
        users = of(now, ENTERING_USERS) - of(before, ENTERING_USERS)
        return cls({**before, **now}[HOUR.name], users, shown)

    def order(self) -> tuple[float, float, str, str]:
        """Those whose clicks change most come first, then those whose time does."""
        shown = self.shown
        return (
            -abs(shown.clicks - shown.clicks_before),
            -abs(shown.seconds - shown.seconds_before),
            shown.page,
            shown.country,
        )


def _document(aggregate: Aggregate, row: Mapping[str, Any]) -> Document:
    made: dict[str, Any] = {name: time_text(_ms(row[name])) for name in (HOUR.name, COMPUTED_AT.name)}
    if PAGE in aggregate.dimensions:
        made["host"], made["path"] = host_and_path(row[PAGE.name])
    for column in aggregate.histograms:
        if column.in_index:
            buckets = row[column.name] if row[column.counts] else None
            made[column.name] = buckets and {bucket: count for bucket, count in buckets.items() if count}
    return {name: value for name, value in {**row, **made}.items() if value is not None}


def _ms(time: datetime) -> int:
    return (time - _EPOCH) // _MS


def _equal(column: Column, wanted: Any, stored: Any) -> bool:
    """Whether a stored value is the wanted one; one of another type is not, whatever Elasticsearch makes of it."""
    if column.type == "histogram" and isinstance(wanted, Mapping) and isinstance(stored, Mapping):
        return wanted == {bucket: count for bucket, count in stored.items() if count is not None}
    if column.type == "double" and isinstance(stored, int | float) and not isinstance(stored, bool):
        return wanted == stored
    return type(wanted) is type(stored) and wanted == stored


def _is_of_a_run(stored: Stored, document: Document) -> bool:
    """Whether the version is that of the run whose generation the stored document names, and this run is not older."""
    generation, computed_at = (stored.document.get(name) for name in _ORIGIN)
    return (
        generation == stored.version
        and generation <= document[GENERATION.name]
        and isinstance(computed_at, str)
        and computed_at <= document[COMPUTED_AT.name]
    )
