"""The alias and the monthly indices behind it, as they exist on the server.

Belongs here: looking them up, and selecting those of given hours. Does not belong here: creating them (`setup.py`),
replacing them (`rebuild.py`), and documents.

Only indices named as the alias's own (`layout.parse_name`) are considered, not everything that a wildcard matches.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from dataco_assets.aggregates.columns import PAGES, Aggregate
from dataco_assets.clients.elasticsearch import SearchClient
from dataco_assets.elasticsearch_errors import IndexClosed, IndexMissing
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.index.layout import (
    IndexName,
    alias_of,
    alias_variable,
    differences,
    is_live_index,
    mappings,
    months_between,
    months_of,
    parse_name,
    properties,
)

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

_SHOWN_DIFFERENCES = 8


class IndexMismatch(DatacoError):
    """A template, the alias or an index differs from what this version expects; the message names the differences."""


class IndexReplaced(IndexMissing):
    """A rebuild replaced an index while it was in use; a retry finds the new one."""

    kind = ErrorKind.PASSING


@dataclass(frozen=True)
class IndexState:
    """One of the alias's own indices.

    Attributes:
        name: Its name.
        has_alias: Whether readers of the alias see it.
        aliases: All aliases it has.
        mapping: Its mapping.
        settings: Its settings, as text, without the leading `index.`.
        aggregate: Whose index it is.
        filter: Which of its documents readers of the alias see; None: all.
    """

    name: IndexName
    has_alias: bool
    aliases: frozenset[str]
    mapping: dict[str, Any]
    settings: dict[str, Any]
    aggregate: Aggregate
    filter: Mapping[str, Any] | None = None

    @property
    def write_blocked(self) -> bool:
        """Whether writes are blocked, as during a rebuild."""
        return _is_true(self.settings.get("blocks", {}).get("write"))

    @property
    def closed(self) -> bool:
        """Whether an operator closed it; a closed index can be neither searched nor written."""
        return _is_true(self.settings.get("verified_before_close"))

    def mapping_differences(self) -> list[str]:
        """Differences between its mapping and this version's, one line each."""
        return differences(mappings(self.aggregate), self.mapping, "mappings")

    def unreadable_fields(self) -> list[str]:
        """Fields that this version's searches need and that the index lacks or has with another type."""
        present = _types(self.mapping.get("properties", {})).items()
        return [
            name for name, rule in properties(self.aggregate).items() if not _types({name: rule}).items() <= present
        ]


def _types(properties: Mapping[str, Any]) -> dict[str, str]:
    """The type of each field, and of each field of an object, by its path."""
    found: dict[str, str] = {}
    for name, rule in properties.items():
        found[name] = rule.get("type", "object")
        found |= {f"{name}.{inner}": kind for inner, kind in _types(rule.get("properties", {})).items()}
    return found


class Index:
    """The alias on one server. The indices behind it are read once and cached until `look_again`.

    Every method raises what `SearchClient` raises, and `IndexMismatch` when the alias's name is an index, when
    an index that is not the platform's is behind it, or when a month has two.

    Args:
        client: The client.
        alias: The alias that readers search.
        aggregate: What is behind it.
    """

    def __init__(self, client: SearchClient, alias: str, aggregate: Aggregate = PAGES) -> None:
        self.client = client
        self.alias = alias
        self.aggregate = aggregate
        self._states: list[IndexState] | None = None
        self._live: dict[str, Mapping[str, Any]] = {}

    @classmethod
    def of(cls, client: SearchClient, settings: "Settings", aggregate: Aggregate) -> Self:
        """The alias that the settings name for an aggregate."""
        return cls(client, alias_of(settings, aggregate), aggregate)

    def states(self) -> list[IndexState]:
        """The alias's own indices, whether behind it or not, by month and rebuild."""
        if self._states is None:
            self._states = self._read()
        return self._states

    def live(self) -> Mapping[str, Mapping[str, Any]]:
        """Filters of the indices of live runs behind the alias, by name; empty: the batch alone serves readers."""
        self.states()
        return self._live

    def look_again(self) -> "Index":
        """Drops the cached state; call it after a change or a possible change on the server."""
        self._states = None
        return self

    def behind_alias(self) -> list[IndexState]:
        """The indices that readers see."""
        return [state for state in self.states() if state.has_alias]

    def closed(self) -> list[IndexState]:
        """Those behind the alias that an operator closed."""
        return [state for state in self.behind_alias() if state.closed]

    def of_month(self, month: str) -> IndexState | None:
        """The one index of a month behind the alias.

        Raises:
            IndexMismatch: there are two.
        """
        found = [state for state in self.behind_alias() if state.name.month == month]
        if len(found) > 1:
            names = ", ".join(str(state.name) for state in found)
            raise IndexMismatch(
                f"Alias {self.alias} has more than one index for {month} ({names}), so readers count clicks twice. "
                "Remove the one that `dataco` did not make from the alias."
            )
        return found[0] if found else None

    def by_month(self, hours: Iterable[int]) -> dict[str, str]:
        """Names of the indices to write the hours to, by month (`YYYY.MM`); months without an index are left out.

        Raises:
            IndexClosed: one of them is closed.
        """
        found = (self.of_month(month) for month in months_of(hours))
        return {state.name.month: str(state.name) for state in self._open(filter(None, found))}

    def holding(self, hours: Iterable[int]) -> list[str]:
        """Names of the indices that hold the hours.

        Raises:
            IndexClosed: one of them is closed.
        """
        return list(self.by_month(hours).values())

    def covering(self, since_ms: int, until_ms: int) -> list[str]:
        """Names of the indices to search for hours that start in [since_ms, until_ms).

        Raises:
            IndexMissing: nothing is behind the alias.
            IndexClosed: an index of these months is closed.
            IndexMismatch: an index of these months has the layout of another version.
        """
        first, last = months_between(since_ms, until_ms)
        within = [state for state in self._present() if first <= state.name.month <= last]
        return [str(state.name) for state in self._readable(self._open(within))]

    def searchable(self) -> list[str]:
        """Names of all open indices behind the alias.

        Raises:
            IndexMissing: nothing is behind the alias.
            IndexClosed: all that are behind it are closed.
            IndexMismatch: an index has the layout of another version.
        """
        present = self._present()
        usable = [state for state in present if not state.closed] or list(self._open(present))
        return [str(state.name) for state in self._readable(usable)]

    @contextmanager
    def in_use(self, hours: Iterable[int]) -> Iterator[None]:
        """Distinguishes an index that a rebuild replaced in the meantime from one that is missing.

        Raises:
            IndexReplaced: the hours are in other indices now.
        """
        before = self.by_month(hours)
        try:
            yield
        except IndexMissing as error:
            after = self.look_again().by_month(hours)
            if after == before:
                raise
            raise IndexReplaced(
                f"A rebuild replaced {', '.join(sorted({*before.values()} - {*after.values()})) or 'an index'} "
                "meanwhile. The hours are published again."
            ) from error

    def _present(self) -> list[IndexState]:
        present = self.behind_alias()
        if not present:
            raise IndexMissing(f"Elasticsearch at {self.client.address} has no index behind alias {self.alias}.")
        return present

    def _open(self, states: Iterable[IndexState]) -> Iterator[IndexState]:
        for state in states:
            if state.closed:
                raise IndexClosed(closed_text(state))
            yield state

    def _readable(self, states: Iterable[IndexState]) -> Iterator[IndexState]:
        for state in states:
            if fields := state.unreadable_fields():
                raise IndexMismatch(
                    f"Index {state.name} behind alias {self.alias} has the layout of another version (fields that "
                    f"differ: {', '.join(fields)}). `dataco index rebuild` replaces it without a gap for readers."
                )
            yield state

    def _read(self) -> list[IndexState]:
        # The pattern also matches other indices; `parse_name` filters them out.
        pattern = f"{self.alias},{self.alias}-*"
        found = self.client.indices.get(
            index=pattern, ignore_unavailable=True, allow_no_indices=True, expand_wildcards=["open", "closed"]
        ).body
        if self.alias in found:
            raise IndexMismatch(
                f"{self.alias} is an index, where an alias is expected. Something wrote to it before `dataco setup`; "
                f"delete it, or choose another {alias_variable(self.aggregate)}."
            )
        self._live = {
            name: state["aliases"][self.alias].get("filter", {})
            for name, state in found.items()
            if is_live_index(self.alias, name) and self.alias in state.get("aliases", {})
        }
        own = [self._state(name, state) for name, state in found.items() if not is_live_index(self.alias, name)]
        return sorted(filter(None, own), key=lambda state: (state.name.month, state.name.rebuild))

    def _state(self, index: str, state: dict[str, Any]) -> IndexState | None:
        name = parse_name(self.alias, index)
        aliases = frozenset(state.get("aliases", {}))
        if name is None and self.alias in aliases:
            raise IndexMismatch(
                f"Index {index} is behind alias {self.alias} but is not one of the platform's, so readers would count "
                "it in. Remove it from the alias."
            )
        if name is None:
            return None
        return IndexState(
            name,
            self.alias in aliases,
            aliases,
            state.get("mappings", {}),
            state["settings"].get("index", {}),
            self.aggregate,
            state.get("aliases", {}).get(self.alias, {}).get("filter"),
        )


def batch_filter(live: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """The alias's filter on the months' indices: they show what the indices of live runs do not. None: everything.

    Args:
        live: The alias's filters on those (`Index.live`).
    """
    if not live:
        return None
    return {"bool": {"must_not": [_hours_of(shown) for shown in live.values()]}}


def shows(index: str, alias: str, documents: Mapping[str, Any] | None) -> dict[str, Any]:
    """The action by which an alias shows an index: the documents that a query finds, or all (None)."""
    chosen = {} if documents is None else {"filter": dict(documents)}
    return {"add": {"index": index, "alias": alias, **chosen}}


def _hours_of(shown: Mapping[str, Any]) -> Any:
    """The part of a live index's filter that says which hours it shows (`handover.LiveHours.filter`)."""
    return shown["bool"]["filter"][-1] if shown else {"match_all": {}}


def closed_text(state: IndexState) -> str:
    """The message about a closed index: what it blocks, and how to open it."""
    return (
        f"Index {state.name}, of the hours of {state.name.month}, is closed, so it can be neither searched nor "
        f"written. `POST /{state.name}/_open` opens it again."
    )


def listed(lines: list[str]) -> str:
    """The first differences joined into one line, with the number of those left out."""
    more = len(lines) - _SHOWN_DIFFERENCES
    return "; ".join(lines[:_SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"
