"""What the answers of Elasticsearch come to: the figures that the page shows. Pure.

Every mean and every rate is a sum divided by a sum, over the whole range; none is a mean of means. Distinct users of
several hours do not add up, so those of a range are the most that an hour had.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

from dataco_assets.aggregates.columns import (
    BOUNCES,
    CLICK_COUNT,
    ENTRIES,
    EXITS,
    TIME_SPENT,
    TIME_SPENT_SAMPLES,
    TIME_SPENT_SECONDS,
)
from dataco_assets.clicks.finality import Finality, HeldHours
from dataco_assets.clicks.hour import HOUR_MS, hour_of
from dataco_assets.clicks.time_spent import percentile
from dataco_assets.dashboard.queries import RANKED, Order
from dataco_assets.dashboard.view import Measure, View


@dataclass(frozen=True)
class Sums:
    """Sums over any rows of an aggregate, and what is computed of them; None where that would divide by nothing.

    Attributes:
        views: Clicks.
        seconds: Seconds spent, of the clicks whose duration is known.
        samples: Those clicks.
        entries: Clicks that begin a visit.
        exits: Clicks that end a visit.
        bounces: Clicks that are a whole visit.
    """

    views: int = 0
    seconds: float = 0.0
    samples: int = 0
    entries: int = 0
    exits: int = 0
    bounces: int = 0

    @classmethod
    def of(cls, answer: Mapping[str, Any]) -> Self:
        """Those that an answer has; 0 of a sum that was not asked for."""

        def total(name: str) -> float:
            return answer.get(name, {}).get("value") or 0.0

        return cls(
            views=round(total(CLICK_COUNT.name)),
            seconds=total(TIME_SPENT_SECONDS.name),
            samples=round(total(TIME_SPENT_SAMPLES.name)),
            entries=round(total(ENTRIES.name)),
            exits=round(total(EXITS.name)),
            bounces=round(total(BOUNCES.name)),
        )

    def figure(self, measure: Measure) -> float | None:
        """A measure of them; distinct users are none, since they are no sum."""
        return {
            Measure.VISITS: self.exits,
            Measure.VIEWS: self.views,
            Measure.VIEWS_PER_VISIT: _ratio(self.views, self.exits),
            Measure.VISIT_DURATION: _ratio(self.seconds, self.exits),
            Measure.BOUNCE_RATE: _ratio(self.bounces, self.entries),
            Measure.ENTRIES: self.entries,
            Measure.EXITS: self.exits,
            Measure.TIME_ON_PAGE: _ratio(self.seconds, self.samples),
        }.get(measure)

    @property
    def parts(self) -> tuple[Any, ...]:
        """The sums in the order of their names."""
        return self.views, self.seconds, self.samples, self.entries, self.exits, self.bounces


NEEDS_VISITS: Final = frozenset(
    {
        *(Measure.VISITS, Measure.VIEWS_PER_VISIT, Measure.VISIT_DURATION),
        *(Measure.BOUNCE_RATE, Measure.ENTRIES, Measure.EXITS),
    }
)
"""Measures that are unknown of hours computed before there were visits."""


@dataclass(frozen=True)
class HourFigures:
    """An hour's sums, and its distinct users.

    Attributes:
        users: Users who entered the hour; of a page, the most from one country.
    """

    sums: Sums
    users: int


@dataclass(frozen=True)
class Lacking:
    """Hours that an earlier version computed without visits.

    Attributes:
        hours: How many.
        first_ms: The first, epoch ms.
        last_ms: The last, epoch ms.
    """

    hours: int
    first_ms: int
    last_ms: int


@dataclass(frozen=True)
class Period:
    """What the clicks of a view come to, hour by hour.

    Attributes:
        hours: Figures by the hour's start (epoch ms); an hour without clicks is missing.
        time_spent: Clicks of known duration by bucket of time (`clicks/time_spent.py`).
        lacking: Hours without visits; None when there are none.
    """

    hours: Mapping[int, HourFigures]
    time_spent: Mapping[str, int] = field(default_factory=dict)
    lacking: Lacking | None = None

    @cached_property
    def total(self) -> Sums:
        """The sums over all hours."""
        return added(hour.sums for hour in self.hours.values())

    @property
    def most_users(self) -> int:
        """Distinct users of the hour that had the most."""
        return max((hour.users for hour in self.hours.values()), default=0)

    def figure(self, measure: Measure) -> float | None:
        """A measure over all hours; None when it is not known."""
        if measure is Measure.USERS:
            return self.most_users
        if self.lacking and measure in NEEDS_VISITS:
            return None
        return self.total.figure(measure)

    def within(self, since_ms: int, until_ms: int) -> "Period":
        """Its hours from a time to a time; their distribution of time is not known."""
        hours = {hour: figures for hour, figures in self.hours.items() if since_ms <= hour < until_ms}
        return Period(hours, {}, self.lacking)

    def seconds(self, percent: float) -> float | None:
        """A percentile of the seconds per click of known duration; None without any in a bucket."""
        return percentile(self.time_spent, percent)


EMPTY: Final = Period({})


def period_of(answer: Mapping[str, Any]) -> Period:
    """What the answer to `queries.period` says."""
    found = answer["aggregations"]
    hours = {
        int(bucket["key"]): HourFigures(Sums.of(bucket), round(bucket["users"]["value"] or 0))
        for bucket in found["hours"]["buckets"]
    }
    lacking = found["lacking"]
    return Period(
        hours,
        distribution_of(found),
        Lacking(int(lacking["hours"]["value"]), int(lacking["first"]["value"]), int(lacking["last"]["value"]))
        if lacking["doc_count"]
        else None,
    )


def distribution_of(answer: Mapping[str, Any]) -> dict[str, int]:
    """Clicks by bucket of time; buckets without any are left out."""
    counts = {bucket: round(answer[bucket]["value"]) for bucket in TIME_SPENT.buckets}
    return {bucket: number for bucket, number in counts.items() if number}


@dataclass(frozen=True)
class Held:
    """What the index holds, whatever is asked for.

    Attributes:
        first_ms: First hour with documents, epoch ms.
        last_ms: Last hour with documents, epoch ms.
        changed_ms: When documents last changed: when the run that wrote them began, by HBase's clock; epoch ms.
    """

    first_ms: int
    last_ms: int
    changed_ms: int


def held_of(answer: Mapping[str, Any]) -> Held | None:
    """What the answer to `queries.held` says; None: the index is empty."""
    found = {name: answer["aggregations"][name]["value"] for name in ("first", "last", "changed")}
    if found["first"] is None:
        return None
    return Held(int(found["first"]), int(found["last"]), int(found["changed"] or 0))


@dataclass(frozen=True)
class Step:
    """An hour or a day of the trend.

    Attributes:
        start_ms: Its start, epoch ms.
        figure: The measure; None: not known, or not there yet.
        state: How final its last hour is; where that is settled, whether any hour of it was restated.
    """

    start_ms: int
    figure: float | None
    state: Finality


def trend(period: Period, view: View, held: Held, hours: HeldHours, now_ms: int) -> list[Step]:
    """The measure of the view in each hour or day of it.

    What lies before the first hour of the index, or after its newest, is not known; an hour between them without
    documents had no clicks, or was not computed yet.

    Args:
        period: Its figures.
        view: The hours, and the measure.
        held: The first and the newest hour of the index.
        hours: What tells how final hours are.
        now_ms: Epoch ms.
    """
    steps: dict[int, dict[int, HourFigures]] = {
        start: {} for start in range(view.since_ms, view.until_ms, view.step_ms)
    }
    for hour, figures in period.hours.items():
        start = view.since_ms + (hour - view.since_ms) // view.step_ms * view.step_ms
        if start in steps:
            steps[start][hour] = figures
    return [
        Step(
            start,
            _of_step(figures, period, view.measure) if held.first_ms - view.step_ms < start <= held.last_ms else None,
            _state(start, view, hours, now_ms),
        )
        for start, figures in steps.items()
    ]


def _of_step(hours: Mapping[int, HourFigures], period: Period, measure: Measure) -> float | None:
    return Period(hours, lacking=period.lacking).figure(measure)


def _state(start_ms: int, view: View, hours: HeldHours, now_ms: int) -> Finality:
    last_ms = min(start_ms + view.step_ms, view.until_ms) - HOUR_MS
    # A day runs until its end, even where the range ends with the running hour.
    if start_ms <= now_ms < start_ms + view.step_ms:
        return Finality.RUNNING
    states = [hours.finality(hour, now_ms) for hour in range(start_ms, last_ms + HOUR_MS, HOUR_MS)]
    return Finality.RESTATED if states[-1].is_settled and Finality.RESTATED in states else states[-1]


@dataclass(frozen=True)
class Comparison:
    """A measure in the hours of a view that are over, and in the same hours of the period before.

    Attributes:
        now: In the view; None: not known.
        before: In the period before; None: not known.
    """

    now: float | None
    before: float | None

    @property
    def change(self) -> float | None:
        """By what part it grew, 0.1 for a tenth; None: not known, or there was nothing before."""
        if self.now is None or not self.before:
            return None
        return (self.now - self.before) / self.before

    @property
    def difference(self) -> float | None:
        """By how much it grew."""
        return None if self.now is None or self.before is None else self.now - self.before


def compare(measure: Measure, view: View, now: Period, before: Period, now_ms: int) -> Comparison:
    """Compares without the running hour, which is not whole yet, and without the same hour before."""
    over_ms = min(view.until_ms, hour_of(now_ms))
    return Comparison(
        now.within(view.since_ms, over_ms).figure(measure),
        before.within(view.before.since_ms, over_ms - view.shift_ms).figure(measure),
    )


@dataclass(frozen=True)
class Ranked:
    """A value of a dimension, and its sums."""

    value: str
    sums: Sums


@dataclass(frozen=True)
class Ranking:
    """The values of a dimension with the largest sums.

    Attributes:
        rows: The largest first; none with 0.
        values: How many values there are.
    """

    rows: Sequence[Ranked] = ()
    values: int = 0

    @property
    def is_exact(self) -> bool:
        """Whether no value can be missing: each index answers with up to `RANKED`."""
        return self.values <= RANKED


def ranking_of(answer: Mapping[str, Any], order: Order) -> Ranking:
    """What the answer to `queries.rankings` says of one order."""
    chosen = answer["aggregations"]["chosen"]
    rows = [
        Ranked(str(bucket["key"]), Sums.of(bucket))
        for bucket in chosen[order.name]["buckets"]
        if bucket[order.by.name]["value"]
    ]
    return Ranking(rows, int(chosen[f"values of {order.dimension}"]["value"]))


def clicks_of(answer: Mapping[str, Any]) -> int:
    """What the answer to `queries.rankings` or `queries.clicks_since` says of all clicks of its hours and country."""
    return round(answer["aggregations"]["all"]["value"])


@dataclass(frozen=True)
class LateClicks:
    """Clicks that came when their hour was final.

    Attributes:
        late: How many.
        clicks: All clicks of the same hours.
    """

    late: int
    clicks: int


@dataclass(frozen=True)
class TimeOnPage:
    """How long clicks on a page were stayed on.

    Attributes:
        page: The page.
        sums: Its sums.
        time_spent: Its clicks of known duration by bucket.
    """

    page: str
    sums: Sums
    time_spent: Mapping[str, int]

    def seconds(self, percent: float) -> float | None:
        """A percentile of the seconds; None without any in a bucket."""
        return percentile(self.time_spent, percent)


def times_of(answer: Mapping[str, Any], rows: Iterable[Ranked]) -> list[TimeOnPage]:
    """What the answer to `queries.distributions` says, in the order of a ranking."""
    found = {bucket["key"]: distribution_of(bucket) for bucket in answer["aggregations"]["values"]["buckets"]}
    return [TimeOnPage(row.value, row.sums, found.get(row.value, {})) for row in rows]


@dataclass(frozen=True)
class Traffic:
    """What a view shows.

    Attributes:
        view: The view.
        held: What the index holds at all; None: nothing.
        now: The figures of the view's hours.
        before: Those of the period before.
        rankings: The rankings that its filters allow.
        times: Time on the pages with the most clicks of known duration.
        clicks: Clicks of the range and country in the pages' index.
        audience_clicks: The same in the audience's index, which may lack hours.
        hours: The hours of the range that have documents, whatever the filters.
    """

    view: View
    held: Held | None
    now: Period = EMPTY
    before: Period = EMPTY
    rankings: Mapping[Order, Ranking] = field(default_factory=dict)
    times: Sequence[TimeOnPage] = ()
    clicks: int = 0
    audience_clicks: int = 0
    hours: HeldHours = field(default_factory=HeldHours)


def added(each: Iterable[Sums]) -> Sums:
    """Sums, added up."""
    parts = [sums.parts for sums in each]
    return Sums(*map(sum, zip(*parts, strict=True))) if parts else Sums()


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
