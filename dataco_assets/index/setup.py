"""Creating the index: template, monthly indices, alias; and saying how what exists differs from what the code expects.

Belongs here: which indices there are, and making those that are missing. Does not belong here: changing one that exists
(`rebuild.py`), and documents.

Only indices are touched whose name is the alias's own (`template.parse_name`), never by a wildcard.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from time import time
from typing import Any

from dataco_assets.clients.elasticsearch import SearchClient
from dataco_assets.elasticsearch_errors import AlreadyThere, IndexBlocked, IndexMissing
from dataco_assets.errors import DatacoError
from dataco_assets.index.layout import (
    LAYOUT_VERSION,
    IndexName,
    differences,
    mappings,
    months_of,
    parse_name,
    template_bodies,
)
from dataco_assets.settings import Settings

_SHOWN_DIFFERENCES = 8


class IndexMismatch(DatacoError):
    """Template, alias or an index differs from what the code expects; the message names the difference."""


@dataclass(frozen=True)
class IndexState:
    """One of the alias's own indices.

    Attributes:
        name: Its name.
        has_alias: Whether readers of the alias see it.
        aliases: All aliases it has.
        mapping: Its mapping.
        write_blocked: Whether it was closed for writing.
    """

    name: IndexName
    has_alias: bool
    aliases: frozenset[str]
    mapping: dict[str, Any]
    write_blocked: bool


def ensure_index(client: SearchClient, settings: Settings, *, now_ms: int | None = None) -> list[tuple[str, bool]]:
    """Creates the template and the running month's index, with it the alias, where they are missing.

    Returns:
        What there is, one line each, and whether it was created just now.

    Raises:
        IndexMismatch: something exists and differs; nothing was changed.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    now_ms = int(time() * 1000) if now_ms is None else now_ms
    alias = settings.index_alias
    states(client, alias)  # raises what is in the way, before anything is created
    created = _ensure_templates(client, settings)
    found = [(f"index templates {' and '.join(template_bodies(settings))}, layout {LAYOUT_VERSION}", created)]
    new = ensure_month_indices(client, settings, [now_ms])
    behind = _behind_alias(states(client, alias))
    for state in behind:
        _check_mapping(alias, state)
    found.append((f"alias {alias}, {_counted(len(behind))} behind it", len(new) == len(behind)))
    found += [(f"index {name}", True) for name in new]
    return found


def ensure_month_indices(client: SearchClient, settings: Settings, hours: Iterable[int]) -> list[str]:
    """Creates the indices of the months that the hours are in, where they are missing; call it before every write.

    Args:
        client: The client.
        settings: Alias, shards, replicas.
        hours: Epoch ms.

    Returns:
        Names of the indices created.

    Raises:
        IndexMismatch: the template, or an index of these months, is not what the code expects.
        IndexBlocked: an index of these months is closed for writing.
    """
    alias = settings.index_alias
    months = months_of(hours)
    _check_templates(client, settings)
    present = states(client, alias)
    missing = [month for month in months if not _of_month(present, alias, month)]
    for month in missing:
        _create(client, IndexName(alias, month))
    if missing:
        present = states(client, alias)
    for month in months:
        (state,) = _of_month(present, alias, month)
        _check_mapping(alias, state)
        if state.write_blocked:
            raise IndexBlocked(
                f"Index {state.name} is closed for writing (index.blocks.write), as `dataco index rebuild` does for "
                "moments. If none is running any more, `dataco index rebuild --restart` cleans up."
            )
    return [str(IndexName(alias, month)) for month in missing]


def write_index(client: SearchClient, alias: str, month: str) -> str:
    """Name of the index that the month's documents are written to.

    Args:
        client: The client.
        alias: The alias.
        month: `YYYY.MM`.

    Raises:
        IndexMissing: the month has no index; `ensure_month_indices` makes it.
        IndexMismatch: it has two.
    """
    return str(_one_of_month(client, states(client, alias), alias, month).name)


def write_indices(client: SearchClient, alias: str, hours: Iterable[int]) -> dict[str, str]:
    """Names of the indices behind the alias that hold the hours, by month; months without an index are left out."""
    present = states(client, alias)
    found = ((month, _of_month(present, alias, month)) for month in months_of(hours))
    return {month: str(matching[0].name) for month, matching in found if matching}


def states(client: SearchClient, alias: str) -> list[IndexState]:
    """The alias's own indices, whether behind it or not, by month and rebuild.

    Raises:
        IndexMismatch: the alias's name is an index, or an index of somebody else is behind it.
    """
    # The pattern finds more than our own; `parse_name` is what decides.
    indices = client.indices.get(index=f"{alias},{alias}-*", ignore_unavailable=True, allow_no_indices=True).body
    if alias in indices:
        raise IndexMismatch(
            f"{alias} is an index, where an alias is expected. Something wrote to it before `dataco setup`; delete "
            "it, or choose another DATACO_INDEX_ALIAS."
        )
    found: list[IndexState] = []
    for index, state in indices.items():
        name = parse_name(alias, index)
        aliases = frozenset(state.get("aliases", {}))
        if name is not None:
            found.append(
                IndexState(
                    name, alias in aliases, aliases, state.get("mappings", {}), _write_blocked(state["settings"])
                )
            )
        elif alias in aliases:
            raise IndexMismatch(
                f"Index {index} is behind alias {alias} but is none of ours, so readers would count it in. Remove it "
                "from the alias."
            )
    return sorted(found, key=lambda state: (state.name.month, state.name.rebuild))


def put_templates(client: SearchClient, settings: Settings) -> None:
    """Creates or replaces the templates."""
    for name, body in template_bodies(settings).items():
        client.indices.put_index_template(name=name, **body)


def mapping_differences(state: IndexState) -> list[str]:
    """How an index's mapping differs from the code's."""
    return differences(mappings(), state.mapping, "mappings")


def _ensure_templates(client: SearchClient, settings: Settings) -> bool:
    try:
        _check_templates(client, settings)
    except IndexMissing:
        put_templates(client, settings)
        _check_templates(client, settings)
        return True
    return False


def _check_templates(client: SearchClient, settings: Settings) -> None:
    for name, expected in template_bodies(settings).items():
        (found,) = client.indices.get_index_template(name=name)["index_templates"]
        stored = found["index_template"]
        # What a later Elasticsearch adds of its own is none of our business; components are: they change the mapping.
        lines = differences(
            {**expected, "composed_of": []}, {key: stored.get(key) for key in (*expected, "composed_of")}
        )
        if lines:
            raise IndexMismatch(
                f"Index template {name} differs from what this version and its settings expect: {_joined(lines)}. "
                "`dataco index rebuild` replaces it and all indices without a gap for readers."
            )


def _check_mapping(alias: str, state: IndexState) -> None:
    lines = mapping_differences(state)
    if lines:
        raise IndexMismatch(
            f"Index {state.name} behind alias {alias} differs from what this version expects: {_joined(lines)}. "
            "`dataco index rebuild` replaces it without a gap for readers."
        )


def _create(client: SearchClient, name: IndexName) -> None:
    try:
        client.indices.create(index=str(name))
    except AlreadyThere:
        return  # another run was faster, or it exists without the alias: what follows tells


def _of_month(present: Iterable[IndexState], alias: str, month: str) -> list[IndexState]:
    """The one index of a month behind the alias, or none.

    Raises:
        IndexMismatch: there are two, or there is one that is not behind the alias.
    """
    own = [state for state in present if state.name.month == month]
    behind = _behind_alias(own)
    if len(behind) > 1:
        names = ", ".join(str(state.name) for state in behind)
        raise IndexMismatch(
            f"Alias {alias} has more than one index for {month} ({names}), so readers count clicks twice. Remove the "
            "one that `dataco` did not make from the alias."
        )
    first = next((state for state in own if state.name.rebuild == 1), None)
    if not behind and first is not None:
        raise IndexMismatch(
            f"Index {first.name} exists but is not behind alias {alias}, so nobody would see what is written to it. "
            "Add it to the alias, or delete it."
        )
    return behind


def _one_of_month(client: SearchClient, present: Iterable[IndexState], alias: str, month: str) -> IndexState:
    behind = _of_month(present, alias, month)
    if not behind:
        raise IndexMissing(f"Elasticsearch at {client.address} has no index for {month} behind alias {alias}.")
    return behind[0]


def _behind_alias(present: Iterable[IndexState]) -> list[IndexState]:
    return [state for state in present if state.has_alias]


def _write_blocked(index_settings: dict[str, Any]) -> bool:
    blocks = index_settings.get("index", {}).get("blocks", {})
    return str(blocks.get("write", "false")).lower() == "true"


def _joined(lines: list[str]) -> str:
    more = len(lines) - _SHOWN_DIFFERENCES
    return "; ".join(lines[:_SHOWN_DIFFERENCES]) + (f"; and {more} more" if more > 0 else "")


def _counted(indices: int) -> str:
    return "1 index" if indices == 1 else f"{indices} indices"
