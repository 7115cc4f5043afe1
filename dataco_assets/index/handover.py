"""Which hours readers of the alias get from live, and which from the batch.

The alias has a filter on each index behind it: the months' indices show all hours but live's, and the index of the live
run shows live's hours only. One request sets all of them, so a search sees each hour from exactly one source. Without
live, the months' indices have no filter and show everything.

Live has the hours from `running_from` on, so that an hour that begins is live's at once, and single earlier ones that
the batch has not published yet as live has them. Such an hour goes over to the batch when both have the same documents
and sums, so no number changes for readers; and back, when a late click or an erasure changed it in live.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from dataco_assets.aggregates.columns import CLICK_COUNT, HOUR, PAGES
from dataco_assets.aggregates.totals import sum_difference
from dataco_assets.clicks.hour import DAY_MS, HOUR_MS, VISIT_GAP_MS, hour_of
from dataco_assets.clients.elasticsearch import Hit, documents_by_id, scan_documents
from dataco_assets.index.contents import NO_DOCUMENTS, HourContent, hours_held, read_contents
from dataco_assets.index.indices import Index, batch_filter, shows
from dataco_assets.index.layout import hour_range
from dataco_assets.index.live import HAS_CLICKS
from dataco_assets.index.live_state import LiveReport, read_report
from dataco_assets.untrusted import printable

_SHOWN_GROUPS: Final = 5
_DOCUMENTS_AT_ONCE: Final = 1_000
KEPT_MS: Final = DAY_MS
"""How long readers get an hour from live that is no longer kept up to date, if the batch has fewer clicks of it."""


@dataclass(frozen=True)
class LiveHours:
    """The hours that readers get from live.

    Attributes:
        running_from: All hours from this one on, epoch ms.
        closed: Single hours before it, epoch ms.
    """

    running_from: int
    closed: frozenset[int] = frozenset()

    def query(self) -> dict[str, Any]:
        """The query for documents of these hours."""
        running = hour_range(self.running_from, None)
        some = [{"terms": {"hour": sorted(self.closed)}}] if self.closed else []
        return {"bool": {"should": [running, *some], "minimum_should_match": 1}}

    def filter(self) -> dict[str, Any]:
        """The alias's filter on the index of the live run."""
        return {"bool": {"filter": [dict(HAS_CLICKS), self.query()]}}

    def __contains__(self, hour: int) -> bool:
        return hour >= self.running_from or hour in self.closed

    def first_within(self, start: int, end: int) -> int | None:
        """The first of them in [start, end), epoch ms; None: there is none."""
        inside = [hour for hour in (*self.closed, max(self.running_from, start)) if start <= hour < end]
        return min(inside, default=None)


def served_hours(report: LiveReport) -> LiveHours | None:
    """The hours that readers get from live, as its process reports them; None: they get none."""
    if report.running_from is None:
        return None
    return LiveHours(report.running_from, frozenset(report.closed))


@dataclass(frozen=True)
class Reach:
    """The hours that live could serve.

    Attributes:
        first_hour: First hour that it computes, epoch ms.
        exact_from: First hour that it still keeps up to date, epoch ms.
        newest_ms: Time of the newest click it has seen, epoch ms.
    """

    first_hour: int
    exact_from: int
    newest_ms: int

    @property
    def running_from(self) -> int:
        """The first hour that clicks in order can still change: not over for 30 minutes."""
        return max(self.first_hour, hour_of(max(self.newest_ms - VISIT_GAP_MS, 0)))


@dataclass(frozen=True)
class Decision:
    """What live is to serve, and where it and the batch do not agree.

    Attributes:
        hours: What readers are to get from live.
        given_up: Hours that live no longer keeps up to date, and in which it had other numbers than the batch.
    """

    hours: LiveHours
    given_up: frozenset[int] = field(default_factory=frozenset)


def decide(reach: Reach, live: Mapping[int, HourContent], batch: Mapping[int, HourContent]) -> Decision:
    """Which hours readers are to get from live.

    Args:
        reach: What live could serve.
        live: What live has of the hours that are over.
        batch: What the batch has of them.
    """
    running_from = reach.running_from
    kept: set[int] = set()
    given_up: set[int] = set()
    for hour, of_live in live.items():
        of_batch = batch.get(hour, NO_DOCUMENTS)
        if not reach.first_hour <= hour < running_from or same(of_live, of_batch):
            continue
        if hour >= reach.exact_from or _is_behind(of_batch, of_live, reach, hour):
            kept.add(hour)
        else:
            given_up.add(hour)
    return Decision(LiveHours(running_from, frozenset(kept)), frozenset(given_up))


def same(one: HourContent, other: HourContent) -> bool:
    """Whether an hour has the same documents and sums in two indices."""
    if one.documents != other.documents:
        return False
    return not any(
        sum_difference(column, one.sums.get(column.name, 0), other.sums.get(column.name, 0))
        for column in PAGES.totalled
    )


def _is_behind(batch: HourContent, live: HourContent, reach: Reach, hour: int) -> bool:
    clicks = CLICK_COUNT.name
    return batch.sums.get(clicks, 0) < live.sums.get(clicks, 0) and hour >= reach.exact_from - KEPT_MS


def compare(index: Index, live_name: str, reach: Reach) -> Decision:
    """Reads what live and the batch have of the hours that are over, and decides.

    Args:
        index: The alias.
        live_name: Index of the live run.
        reach: What live could serve.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    held = hours_held(index.client, [live_name])
    over = [hour for hour in held if hour < reach.running_from]
    if not over:
        return Decision(LiveHours(reach.running_from))
    found = read_contents(index.client, PAGES, [live_name], over, of=HAS_CLICKS)
    live = {hour: found.get(hour, NO_DOCUMENTS) for hour in over}
    return decide(reach, live, read_contents(index.client, PAGES, index.holding(over), over))


def differences(index: Index, live_name: str, hours: Collection[int]) -> dict[int, list[str]]:
    """How live and the batch differ in each of some hours that are over, in words; empty: they are the same.

    Args:
        index: The alias.
        live_name: Index of the live run.
        hours: Starts of the hours, epoch ms.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    if not hours:
        return {}
    names = index.holding(hours)
    live = read_contents(index.client, PAGES, [live_name], hours, of=HAS_CLICKS)
    batch = read_contents(index.client, PAGES, names, hours)
    found: dict[int, list[str]] = {}
    for hour in sorted(hours):
        of_live, of_batch = live.get(hour, NO_DOCUMENTS), batch.get(hour, NO_DOCUMENTS)
        if same(of_live, of_batch):
            found[hour] = []
            continue
        clicks = CLICK_COUNT.name
        summary = (
            f"live had {of_live.documents:,} documents with {of_live.sums.get(clicks, 0):,} clicks, the batch has "
            f"{of_batch.documents:,} with {of_batch.sums.get(clicks, 0):,}"
        )
        groups = _differing_groups(index, live_name, index.holding([hour]), hour)
        found[hour] = [summary, *islice(groups, _SHOWN_GROUPS)]
    return found


def _differing_groups(index: Index, live_name: str, batch_names: Sequence[str], hour: int) -> Iterator[str]:
    of_hour = {"term": {HOUR.name: hour}}
    with_clicks = {"bool": {"filter": [of_hour, dict(HAS_CLICKS)]}}
    for one, others in _pairs(index, [live_name], with_clicks, batch_names):
        other = others.get(one["_id"])
        if other is None:
            yield f"{_group(one['_source'])}: live alone has it"
        elif line := _group_difference(one["_source"], other["_source"]):
            yield f"{_group(one['_source'])}: {line}"
    for one, others in _pairs(index, batch_names, of_hour, [live_name]):
        other = others.get(one["_id"])
        if other is None or not other["_source"][CLICK_COUNT.name]:
            yield f"{_group(one['_source'])}: the batch alone has it"


def _pairs(
    index: Index, names: Sequence[str], query: Mapping[str, Any], of_others: Sequence[str]
) -> Iterator[tuple[Hit, Mapping[str, Hit]]]:
    """Each document that a query finds in some indices, with those of the same ids in others."""
    left = scan_documents(index.client, names, query, source=True) if names else iter(())
    while some := list(islice(left, _DOCUMENTS_AT_ONCE)):
        others: dict[str, Hit] = {}
        for name in of_others:
            others |= documents_by_id(index.client, name, [one["_id"] for one in some])
        for one in some:
            yield one, others


def _group_difference(of_live: Mapping[str, Any], of_batch: Mapping[str, Any]) -> str:
    lines = (
        sum_difference(column, _number(of_live, column.name), _number(of_batch, column.name))
        for column in PAGES.totalled
    )
    return "; ".join(filter(None, lines))


def _number(document: Mapping[str, Any], name: str) -> int | float:
    field_name, _, bucket = name.partition(".")
    value = document.get(field_name, 0)
    return value.get(bucket, 0) if isinstance(value, Mapping) else value


def _group(document: Mapping[str, Any]) -> str:
    return f"{printable(document['page'], 80)} {document['country']}"


def whole_from(index: Index, live_name: str, first_hour: int) -> int:
    """The first hour (epoch ms) from which on live has all clicks that the batch has; asked before it begins to serve.

    Clicks that left Kafka, or were in a topic of that name before, are in the batch alone.

    Args:
        index: The alias.
        live_name: Index of the live run.
        first_hour: First hour that live computes, epoch ms.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    names = [str(state.name) for state in index.look_again().behind_alias() if not state.closed]
    hours = [hour for hour in hours_held(index.client, names) if hour >= first_hour]
    batch = read_contents(index.client, PAGES, names, hours)
    live = read_contents(index.client, PAGES, [live_name], hours)
    lacking = [hour for hour in hours if _clicks(live, hour) < _clicks(batch, hour)]
    return max((hour + HOUR_MS for hour in lacking), default=first_hour)


def _clicks(contents: Mapping[int, HourContent], hour: int) -> int | float:
    return contents.get(hour, NO_DOCUMENTS).sums.get(CLICK_COUNT.name, 0)


def hours_with_live(index: Index) -> LiveHours | None:
    """The hours that readers of the alias get from live now; None: they get none.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    report = read_report(index.client, index.alias) if index.live() else None
    return served_hours(report) if report else None


def serve(index: Index, live_name: str, hours: LiveHours) -> bool:
    """Gives readers some hours from the index of a live run and all others from the batch; returns whether it changed.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    return _set(index, {live_name: hours.filter()})


def give_back(index: Index) -> bool:
    """Gives readers all hours from the batch; returns whether it was otherwise.

    Raises:
        ElasticsearchError: it does not answer or refuses.
    """
    return _set(index, {})


def _set(index: Index, live: Mapping[str, Mapping[str, Any]]) -> bool:
    index.look_again()
    of_batch = batch_filter(live)
    actions: list[dict[str, Any]] = [
        {"remove": {"index": name, "alias": index.alias}} for name in index.live() if name not in live
    ]
    actions += [shows(name, index.alias, wanted) for name, wanted in live.items() if index.live().get(name) != wanted]
    actions += [
        shows(str(state.name), index.alias, of_batch) for state in index.behind_alias() if state.filter != of_batch
    ]
    if actions:
        index.client.indices.update_aliases(actions=actions)
        index.look_again()
    return bool(actions)
