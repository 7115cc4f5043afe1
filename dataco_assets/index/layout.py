"""How an index is laid out: names, mapping, templates, documents, their ids and hours. Pure, no server is involved.

Each aggregate has an alias, which readers search. Behind it is one index per month (UTC), `<alias>-YYYY.MM`. A rebuild
replaces a month's index by `<alias>-YYYY.MM-r2`, the next one by `-r3`, and so on; so the index to write to is looked
up behind the alias (`indices.Index`), never computed.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from dataco_assets.aggregates.columns import PAGE, PAGES, Aggregate, Column, ColumnType
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.untrusted import printable

if TYPE_CHECKING:
    from dataco_assets.settings import Settings


TEMPLATE_PRIORITY = 500
TOMBSTONES_KEPT = "1h"
"""How long a deleted document's version is remembered, so that a run of an older generation cannot bring it back."""

MOST_HOURS: Final = 40_000
"""More hours than an index holds, four years: the most that Elasticsearch counts exactly."""

MAX_TERM_BYTES = 32_766
"""Lucene's limit of one keyword; see `_FIELDS_OF_PAGE` for why no page reaches it."""

_TYPES: Final[Mapping[ColumnType, str]] = {
    # A date of Elasticsearch's default format: ISO 8601 text or epoch ms is accepted, and answers have the text.
    "timestamp": "date",
    "string": "keyword",
    "long": "long",
    "double": "double",
}


def _rule(column: Column) -> dict[str, Any]:
    if column.type == "histogram":
        # Buckets are added up, never searched by. One without clicks is left out of a document: most are.
        return {"properties": {bucket: {"type": "long", "index": False} for bucket in column.buckets}}
    return {"type": _TYPES[column.type]}


_FIELDS_OF_PAGE: Final[Mapping[str, Mapping[str, Any]]] = {
    # Keywords without `ignore_above`, so that every page can be found and none is missing from a total. A page has at
    # most 8,193 characters (a URL and the `/` of its empty path), of which at least 8 are ASCII (`http://…/`): at most
    # 32,748 bytes, below the limit.
    # `page.words` finds pages by the words (runs of letters) in them; without positions and norms it stays small.
    "page": {
        "type": "keyword",
        "fields": {"words": {"type": "text", "analyzer": "simple", "index_options": "docs", "norms": False}},
    },
    "host": {"type": "keyword"},
    "path": {"type": "keyword"},
}


def properties(aggregate: Aggregate) -> Mapping[str, Mapping[str, Any]]:
    """Fields of a document and their types: the aggregate's columns, and the parts of a page. No other is accepted."""
    of_page = _FIELDS_OF_PAGE if PAGE in aggregate.dimensions else {}
    return {column.name: _rule(column) for column in aggregate.indexed} | dict(of_page)


PAGE_PARTS = r"^https?://(\[[^\]]*\]|[^/:]*)(?::[0-9]+)?(/[^?]*)"
"""Host (group 1, without port) and path (group 2, without query) of a page; the same in Python's and Java's syntax."""

_MONTHS = range(1, 13)


@dataclass(frozen=True)
class IndexName:
    """A name of one of the alias's indices, taken apart.

    Attributes:
        month: `YYYY.MM`.
        rebuild: 1 for the first index of the month, then one more with each rebuild.
    """

    alias: str
    month: str
    rebuild: int = 1

    def __str__(self) -> str:
        suffix = f"-r{self.rebuild}" if self.rebuild > 1 else ""
        return f"{self.alias}-{self.month}{suffix}"

    @property
    def successor(self) -> "IndexName":
        """The index that the next rebuild makes."""
        return IndexName(self.alias, self.month, self.rebuild + 1)


def parse_name(alias: str, index: str) -> IndexName | None:
    """The index's name taken apart; None when it is not one of the alias's own."""
    found = re.fullmatch(rf"{re.escape(alias)}-(\d{{4}}\.(?:0[1-9]|1[0-2]))(?:-r([1-9]\d{{0,5}}))?", index)
    return IndexName(alias, found[1], int(found[2] or 1)) if found else None


def live_index_name(alias: str, run_id: str) -> str:
    """Name of the index in which a live run keeps the running hours (`live.py`)."""
    return f"{live_state_index(alias)}-{run_id}"


def live_state_index(alias: str) -> str:
    """Name of the index with the state of live (`handover.py`)."""
    return f"{alias}-live"


def is_live_index(alias: str, index: str) -> bool:
    """Whether an index is a live run's."""
    return index.startswith(live_index_name(alias, ""))


def month_of(hour_ms: int) -> str:
    """Month an hour belongs to, `YYYY.MM`, UTC."""
    return datetime.fromtimestamp(hour_ms / 1000, UTC).strftime("%Y.%m")


def months_between(since_ms: int, until_ms: int) -> tuple[str, str]:
    """First and last month of the hours that start in [since_ms, until_ms)."""
    return month_of(since_ms), month_of(max(since_ms, until_ms - 1))


def months_of(hours: Iterable[int]) -> list[str]:
    """Months of the hours, each once, oldest first."""
    return sorted({month_of(hour) for hour in hours})


def hours_by_month(hours: Iterable[int], indices: Mapping[str, str]) -> dict[str, list[int]]:
    """The hours (epoch ms) of each month, oldest first.

    Args:
        hours: The hours.
        indices: The index of each month.

    Raises:
        IndexMissing: a month has no index.
    """
    months: dict[str, list[int]] = {}
    for hour in sorted(set(hours)):
        months.setdefault(month_of(hour), []).append(hour)
    if missing := sorted(months.keys() - indices.keys()):
        raise IndexMissing(f"There is no index for {', '.join(missing)}. `dataco setup` creates what is missing.")
    return months


def document_id(aggregate: Aggregate, hour_ms: int, *group: str | None) -> str:
    """Id of a group's document: the same whenever and wherever it is written.

    Args:
        aggregate: Whose document it is.
        hour_ms: The hour, epoch ms.
        group: The values of the dimensions. A dimension that the hour was computed without is None: the id is the one
            that the document had when there was no such dimension.
    """
    parts = [str(hour_ms), *(value for value in group if value is not None)]
    return hashlib.sha256(aggregate.separator.join(parts).encode()).hexdigest()[:32]


def host_and_path(page: str) -> tuple[str, str]:
    """Host without port, and path without query, of a page."""
    found = re.match(PAGE_PARTS, page)
    return (found[1], found[2]) if found else ("", "")


def time_text(time_ms: int) -> str:
    """A time as documents have it, ISO 8601 in UTC: `2026-01-31T12:00:00.000Z`."""
    text = datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{time_ms % 1000:03d}Z"


def time_of(value: str | int) -> int:
    """Epoch ms of a time in a document, as text (layout 2) or as epoch ms (layout 1)."""
    if isinstance(value, int):
        return value
    parsed = datetime.fromisoformat(value)
    return round((parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000)


def upgraded(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document of any layout in this version's; one of this version's comes back as it was."""
    renamed = {("page" if name == "url" else name): value for name, value in document.items()}
    times = {name: time_text(time_of(renamed[name])) for name in ("hour", "computed_at") if name in renamed}
    return renamed | times


def alias_of(settings: "Settings", aggregate: Aggregate) -> str:
    """The alias that readers of an aggregate search."""
    if aggregate.name == PAGES.name:
        return settings.index_alias
    return settings.audience_alias or f"{settings.index_alias}-audience"


def alias_variable(aggregate: Aggregate) -> str:
    """The variable that sets that alias."""
    return "DATACO_INDEX_ALIAS" if aggregate.name == PAGES.name else "DATACO_AUDIENCE_ALIAS"


def mappings(aggregate: Aggregate) -> dict[str, Any]:
    """The mapping of every index of an aggregate; a field not listed makes a document be refused."""
    return {
        "dynamic": "strict",
        "_meta": {"layout": aggregate.layout},
        "properties": {name: dict(rule) for name, rule in properties(aggregate).items()},
    }


def index_settings(settings: "Settings") -> dict[str, str]:
    """Settings of every new index, written as Elasticsearch returns them."""
    return {
        "number_of_shards": str(settings.index_shards),
        "number_of_replicas": str(settings.index_replicas),
        "gc_deletes": TOMBSTONES_KEPT,
    }


def template_bodies(settings: "Settings", aggregate: Aggregate = PAGES) -> dict[str, dict[str, Any]]:
    """The composable index templates by name: one for the first index of a month, one for those a rebuild makes.

    Two, because an index that a rebuild is filling must not be behind the alias yet. Their patterns match no name that
    merely begins alike (`<alias>-other`). Both forbid creation by a write: one to a month that was not created, or to
    an index that a rebuild has replaced, must fail.
    """
    alias = alias_of(settings, aggregate)
    first = [f"{alias}-{century}*.{month:02d}" for century in ("19", "20", "21") for month in _MONTHS]
    return {
        alias: _template(settings, aggregate, first, TEMPLATE_PRIORITY, {alias: {}}),
        # A priority of its own: Elasticsearch refuses two templates of the same that some odd name would match.
        f"{alias}-rebuilt": _template(
            settings, aggregate, [f"{pattern}-r*" for pattern in first], TEMPLATE_PRIORITY + 1, {}
        ),
    }


def matches(patterns: Iterable[str], index: str) -> bool:
    """Whether a template with the patterns applies to an index; as in Elasticsearch, `*` is the only wildcard."""
    return any(re.fullmatch(".*".join(map(re.escape, pattern.split("*"))), index) for pattern in patterns)


def _template(
    settings: "Settings", aggregate: Aggregate, patterns: list[str], priority: int, aliases: dict[str, Any]
) -> dict[str, Any]:
    return {
        "index_patterns": patterns,
        "priority": priority,
        "version": aggregate.layout,
        "allow_auto_create": False,
        "_meta": {
            "description": "Kept by `dataco setup`; `dataco index rebuild` replaces it.",
            "layout": aggregate.layout,
        },
        "template": {
            "settings": {"index": index_settings(settings)},
            "mappings": mappings(aggregate),
            **({"aliases": aliases} if aliases else {}),
        },
    }


def hour_range(since_ms: int | None, until_ms: int | None) -> dict[str, Any]:
    """The query for documents of the hours that start in [since, until), epoch ms; None: without that limit."""
    limits = {name: limit for name, limit in (("gte", since_ms), ("lt", until_ms)) if limit is not None}
    return {"range": {"hour": {**limits, "format": "epoch_millis"}}} if limits else {"match_all": {}}


def differences(expected: Any, found: Any, at: str = "") -> list[str]:
    """How what was found differs from what was expected, one line each; empty when it does not."""
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        lines: list[str] = []
        for key in sorted({*expected, *found}, key=str):
            lines += differences(expected.get(key), found.get(key), f"{at}.{key}" if at else str(key))
        return lines
    if expected == found:
        return []
    return [f"{at} should be {_shown(expected)} but is {_shown(found)}"]


def _shown(value: Any) -> str:
    return printable("absent" if value is None else repr(value), 120)
