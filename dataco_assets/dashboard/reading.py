"""Asks Elasticsearch for what a view shows: a few searches at once, each of what readers of the two aliases see.

Belongs here: which requests are sent, and to which indices. Does not belong here: what is in them (`queries.py`), and
what their answers come to (`figures.py`).
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final

from dataco_assets.aggregates.columns import AUDIENCE, PAGE, PAGES, Aggregate
from dataco_assets.clicks.finality import HeldHours
from dataco_assets.clients.elasticsearch import SearchClient, connect
from dataco_assets.dashboard import queries
from dataco_assets.dashboard.figures import (
    EMPTY,
    LateClicks,
    Period,
    Ranking,
    TimeOnPage,
    Traffic,
    clicks_of,
    held_of,
    period_of,
    ranking_of,
    times_of,
)
from dataco_assets.dashboard.queries import COUNTRIES, EXPORTED, OF_AUDIENCE, OF_PAGES, TIMES, Body, Order
from dataco_assets.dashboard.view import View, can_filter
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.index.indices import Index
from dataco_assets.index.reading import held_hours, search_seen, seen
from dataco_assets.index.restatements import RecentRestatements, late_clicks, recent_restatements
from dataco_assets.settings import Settings

RESTATEMENTS: Final = 20
"""So many are read one by one."""
_AT_ONCE: Final = 6
_REQUEST_SECONDS: Final = 20.0
_RETRY_SECONDS: Final = 1.5
"""A person waits for the page, and can ask again."""


class Reader:
    """Reads what views show.

    Args:
        config: Address and aliases.
    """

    def __init__(self, config: Settings) -> None:
        self._config = config
        self._client = connect(config, request_seconds=_REQUEST_SECONDS, retry_seconds=_RETRY_SECONDS)
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="dashboard")

    def traffic(self, view: View) -> Traffic:
        """What a view shows.

        Raises:
            IndexMissing: there is no index behind the pages' alias yet.
            IndexClosed: an index of these months is closed.
            IndexMismatch: an index has the layout of another version.
            ElasticsearchError: Elasticsearch does not answer or refuses.
        """
        try:
            return self._traffic(view)
        except IndexMissing:
            return self._traffic(view)  # a rebuild may have replaced an index meanwhile

    def period(self, view: View) -> Period:
        """The figures of a view's hours.

        Raises:
            IndexMissing, IndexClosed, IndexMismatch, ElasticsearchError: as `traffic`.
        """
        asking = _Asking(self._client, self._config, self._pool)
        return _period(asking.later(view.source, view, queries.period(view))())

    def hours(self, view: View) -> HeldHours:
        """The hours of a view that have documents, and what tells how final they are.

        Raises:
            IndexMissing, IndexClosed, IndexMismatch, ElasticsearchError: as `traffic`.
        """
        return _Asking(self._client, self._config, self._pool).hours(view)()

    def all_hours(self) -> HeldHours:
        """The hours of all open indices, and what tells how final they are.

        Raises:
            IndexMissing, IndexClosed, IndexMismatch, ElasticsearchError: as `traffic`.
        """
        return held_hours(Index.of(self._client, self._config, PAGES), self._config)

    def restatements(self, noted_since_ms: int) -> RecentRestatements:
        """The restatements noted from a time on, epoch ms.

        Raises:
            ElasticsearchError: as `traffic`.
        """
        alias = self._config.index_alias
        return recent_restatements(self._client, alias, noted_since_ms=noted_since_ms, limit=RESTATEMENTS)

    def late_clicks(self, since_ms: int) -> LateClicks:
        """How many clicks of the hours from a time on, epoch ms, came when their hour was final.

        Raises:
            IndexMissing, IndexClosed, IndexMismatch, ElasticsearchError: as `traffic`.
        """
        late = late_clicks(self._client, self._config.index_alias, since_ms=since_ms)
        asking = _Asking(self._client, self._config, self._pool)
        return LateClicks(late, clicks_of(asking.everything(PAGES, queries.clicks_since(since_ms))))

    def ranking(self, view: View, order: Order) -> Ranking:
        """One ranking with up to `EXPORTED` rows; empty if the view's filters do not allow it.

        Raises:
            IndexMissing, IndexClosed, IndexMismatch, ElasticsearchError: as `traffic`.
        """
        aggregate = view.source if order == COUNTRIES else PAGES if order in OF_PAGES else AUDIENCE
        if not can_filter(aggregate, view.filters):
            return Ranking()
        asking, wanted = _Asking(self._client, self._config, self._pool), replace(order, rows=EXPORTED)
        answer = asking.later(aggregate, view, queries.rankings(view, (wanted,)))()
        return ranking_of(answer, wanted) if answer else Ranking()

    def times(self, view: View) -> Sequence[TimeOnPage]:
        """The time on up to `EXPORTED` pages; empty if the view's filters do not allow it.

        Raises:
            IndexMissing, IndexClosed, IndexMismatch, ElasticsearchError: as `traffic`.
        """
        ranking = self.ranking(view, TIMES)
        return _Asking(self._client, self._config, self._pool).times(view, ranking) if ranking.rows else ()

    def _traffic(self, view: View) -> Traffic:
        asking = _Asking(self._client, self._config, self._pool)
        held = held_of(asking.everything(PAGES, queries.held()))
        if held is None:
            return Traffic(view, None)
        orders = _orders(view)
        now, before = (asking.later(view.source, each, queries.period(each)) for each in (view, view.before))
        hours = asking.hours(view)
        asked = {each: asking.later(each, view, queries.rankings(view, wanted)) for each, wanted in orders.items()}
        answers = {aggregate: waiting() for aggregate, waiting in asked.items()}
        rankings = {
            order: ranking_of(answer, order)
            for aggregate, answer in answers.items()
            if answer is not None
            for order in orders[aggregate]
        }
        times = asking.times(view, rankings[TIMES]) if TIMES in rankings else ()
        clicks = {aggregate: clicks_of(answer) for aggregate, answer in answers.items() if answer is not None}
        return Traffic(
            view,
            held,
            _period(now()),
            _period(before()),
            rankings,
            times,
            clicks.get(PAGES, 0),
            clicks.get(AUDIENCE, 0),
            hours(),
        )


class _Asking:
    """The requests for one view, of what readers see. The indices behind an alias are looked up once."""

    def __init__(self, client: SearchClient, config: Settings, pool: ThreadPoolExecutor) -> None:
        self._pool = pool
        self._config = config
        self._indices = {aggregate: Index.of(client, config, aggregate) for aggregate in (PAGES, AUDIENCE)}

    def everything(self, aggregate: Aggregate, body: Body) -> Mapping[str, Any]:
        """The answer of all open indices of an aggregate."""
        index = self._indices[aggregate]
        return search_seen(index, seen(index, index.searchable()), **body)

    def later(self, aggregate: Aggregate, view: View, body: Body) -> Callable[[], Mapping[str, Any] | None]:
        """The answer of the indices of a view's hours, once it is called; None: there are none."""
        return self._pool.submit(self._ask, aggregate, view, body).result

    def hours(self, view: View) -> Callable[[], HeldHours]:
        """The hours of a view that have documents, once it is called."""
        span = view.since_ms, view.until_ms
        return self._pool.submit(held_hours, self._indices[PAGES], self._config, span).result

    def times(self, view: View, ranking: Ranking) -> Sequence[TimeOnPage]:
        """The distributions of time of a ranking's pages."""
        pages = [row.value for row in ranking.rows]
        answer = self._ask(PAGES, view, queries.distributions(view, PAGE.name, pages)) if pages else None
        return times_of(answer, ranking.rows) if answer else ()

    def _ask(self, aggregate: Aggregate, view: View, body: Body) -> Mapping[str, Any] | None:
        index = self._indices[aggregate]
        try:
            names = seen(index, index.covering(view.since_ms, view.until_ms))
        except IndexMissing:
            if aggregate is PAGES:
                raise
            return None  # hours computed by an earlier version have no audience
        return search_seen(index, names, **body) if names else None


def _orders(view: View) -> dict[Aggregate, tuple[Order, ...]]:
    """What is ranked from which aggregate; of an aggregate that cannot be filtered so, nothing."""
    orders = {PAGES: OF_PAGES, AUDIENCE: OF_AUDIENCE}
    allowed = {aggregate: each if can_filter(aggregate, view.filters) else () for aggregate, each in orders.items()}
    allowed[view.source] = (*allowed[view.source], COUNTRIES)
    return allowed


def _period(answer: Mapping[str, Any] | None) -> Period:
    return period_of(answer) if answer else EMPTY
