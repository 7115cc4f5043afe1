"""Creates the index (templates, monthly indices, alias) and reports how existing parts differ from what is expected.

Belongs here: creating missing indices. Does not belong here: changing one that exists (`rebuild.py`), and
documents.
"""

from collections.abc import Iterable

from dataco_assets import clock
from dataco_assets.clicks.hour import DAY_MS
from dataco_assets.clients.elasticsearch import count, refresh
from dataco_assets.elasticsearch_errors import AlreadyThere, IndexBlocked, IndexClosed, IndexMissing
from dataco_assets.index.indices import Index, IndexMismatch, IndexState, batch_filter, closed_text, listed
from dataco_assets.index.layout import (
    IndexName,
    differences,
    index_settings,
    months_of,
    template_bodies,
)
from dataco_assets.index.templates import check_precedence, check_templates, put_templates
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings

_LONGEST_MONTH_MS = 31 * DAY_MS


def ensure_index(index: Index, settings: Settings, *, now_ms: int | None = None) -> list[tuple[str, bool]]:
    """Creates the templates, the current month's index and the alias where they are missing.

    Args:
        index: The alias.
        settings: Shards, replicas.
        now_ms: Epoch ms; None: now.

    Returns:
        What exists, one line each, and whether this call created it.

    Raises:
        IndexMismatch: something exists and differs, or a template that is not the platform's would apply to the indices
            of this or the next month or of a rebuild. No index was changed.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    now_ms = clock.now_ms() if now_ms is None else now_ms
    present = index.look_again().states()  # raises before anything is created
    created = _ensure_templates(index, settings)
    _check_precedence_soon(index, settings, present, now_ms)
    templates = " and ".join(template_bodies(settings, index.aggregate))
    found = [(f"index templates {templates}, layout {index.aggregate.layout}", created)]
    new = ensure_month_indices(index, settings, [now_ms])
    behind = index.behind_alias()
    for state in behind:
        _check_mapping(index, state)
    found.append(
        (f"alias {index.alias}, {quantity(len(behind), 'index', 'indices')} behind it", len(new) == len(behind))
    )
    found += [(closed_text(state), False) for state in index.closed()]
    return [*found, *((f"index {name}", True) for name in new)]


def check_index(index: Index, settings: Settings, *, now_ms: int) -> None:
    """Compares what readers and writers need with what this version and its settings expect; changes nothing.

    Args:
        index: The alias.
        settings: Shards, replicas.
        now_ms: Epoch ms.

    Raises:
        IndexMissing: a template does not exist.
        IndexMismatch: something differs; see `ensure_index`.
        ElasticsearchError: Elasticsearch does not answer or refuses.
    """
    present = index.look_again().states()
    check_templates(index, settings)
    _check_precedence_soon(index, settings, present, now_ms)
    for state in index.behind_alias():
        _check_mapping(index, state)


def ensure_month_indices(index: Index, settings: Settings, hours: Iterable[int]) -> list[str]:
    """Creates missing indices for the months of the hours; call it before every write.

    Args:
        index: The alias; its cached state is up to date afterwards.
        settings: Alias, shards, replicas.
        hours: Epoch ms.

    Returns:
        Names of the indices created.

    Raises:
        IndexMismatch: a template, or an index of these months, is not as expected. An index that this call created
            with an unexpected layout is deleted again.
        IndexBlocked, IndexClosed: an index of these months does not accept writes.
    """
    months = months_of(hours)
    check_templates(index, settings)
    missing = [month for month in months if index.of_month(month) is None]
    if missing:
        for month in missing:
            _remove_stray(index, month)
        check_precedence(index, settings, [IndexName(index.alias, month) for month in missing])
        _create_months(index, settings, missing)
    for month in months:
        _check_writable(index, index.of_month(month), month)
    return [str(IndexName(index.alias, month)) for month in missing]


def check_made(state: IndexState, settings: Settings, *, aliases: frozenset[str]) -> None:
    """Checks that a newly created index has the expected layout and not that of another template.

    Args:
        state: The index.
        settings: Shards, replicas.
        aliases: The aliases it must have.

    Raises:
        IndexMismatch: it differs.
    """
    expected = index_settings(settings)
    lines = state.mapping_differences()
    lines += differences(expected, {name: state.settings.get(name) for name in expected}, "settings")
    lines += differences(sorted(aliases), sorted(state.aliases), "aliases")
    if lines:
        raise IndexMismatch(
            f"Index {state.name} was created from an index template that is not the platform's: {listed(lines)}. It "
            "was deleted again, and nothing was replaced. `dataco setup` names the template."
        )


def _check_precedence_soon(index: Index, settings: Settings, present: Iterable[IndexState], now_ms: int) -> None:
    """Checks the indices that are made next: this and the next month's, and those of a rebuild."""
    soon = [IndexName(index.alias, month) for month in months_of([now_ms, now_ms + _LONGEST_MONTH_MS])]
    rebuilt = [name.successor for name in (*soon, *(state.name for state in present))]
    check_precedence(index, settings, [*soon, *rebuilt])


def _create_months(index: Index, settings: Settings, months: Iterable[str]) -> None:
    made = [month for month in months if _create(index, IndexName(index.alias, month))]
    index.look_again()
    for month in made:
        state = _first(index, month)
        try:
            check_made(state, settings, aliases=frozenset({index.alias}))
        except IndexMismatch:
            index.client.indices.delete(index=str(state.name))
            index.look_again()
            check_precedence(index, settings, [state.name])  # names the template, if it still exists
            raise


def _create(index: Index, name: IndexName) -> bool:
    # While live serves hours, a new month begins with the filter that the others have: of these hours, it shows none.
    shown = batch_filter(index.live())
    aliases = {index.alias: {"filter": shown}} if shown else None
    try:
        index.client.indices.create(index=str(name), aliases=aliases)
    except AlreadyThere:
        return False  # by another run
    return True


def _first(index: Index, month: str) -> IndexState:
    found = [state for state in index.states() if state.name == IndexName(index.alias, month)]
    if not found:
        raise IndexMissing(f"Index {IndexName(index.alias, month)} was deleted right after it was created.")
    return found[0]


def _remove_stray(index: Index, month: str) -> None:
    """Deletes the month's index if it is empty and outside the alias, as a failed creation leaves it.

    Raises:
        IndexMismatch: it holds documents.
    """
    stray = next((s for s in index.states() if s.name == IndexName(index.alias, month) and not s.has_alias), None)
    if stray is None:
        return
    name = str(stray.name)
    if stray.closed:
        raise IndexClosed(closed_text(stray))
    refresh(index.client, [name])
    if count(index.client, [name]):
        raise IndexMismatch(
            f"Index {name} exists but is not behind alias {index.alias}, so readers would not see what is "
            "written to it. Add it to the alias, or delete it."
        )
    index.client.indices.delete(index=name)
    index.look_again()


def _check_writable(index: Index, state: IndexState | None, month: str) -> None:
    if state is None:
        raise IndexMissing(f"Elasticsearch at {index.client.address} has no index for {month} behind {index.alias}.")
    if state.closed:
        raise IndexClosed(closed_text(state))
    _check_mapping(index, state)
    if state.write_blocked:
        raise IndexBlocked(
            f"Index {state.name} blocks writes (index.blocks.write), as `dataco index rebuild` does for a "
            "moment. If no rebuild is running, `dataco index rebuild --restart` cleans up."
        )


def _check_mapping(index: Index, state: IndexState) -> None:
    lines = state.mapping_differences()
    if lines:
        raise IndexMismatch(
            f"Index {state.name} behind alias {index.alias} differs from what this version expects: {listed(lines)}. "
            "`dataco index rebuild` replaces it without a gap for readers."
        )


def _ensure_templates(index: Index, settings: Settings) -> bool:
    try:
        check_templates(index, settings)
    except IndexMissing:
        put_templates(index, settings)
        check_templates(index, settings)
        return True
    return False
