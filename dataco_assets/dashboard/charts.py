"""The page's charts, as figures of plotly.js in plain dictionaries. Pure.

plotly.js interprets tags in texts, so none of a chart's texts is an event's: countries have names of our own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log10
from typing import Any, Final

from dataco_assets.aggregates.columns import TIME_SPENT
from dataco_assets.clicks.finality import Finality
from dataco_assets.clicks.time_spent import LOWER_LIMITS_MS
from dataco_assets.dashboard import texts
from dataco_assets.dashboard.countries import DISPUTED, NAMES, ON_THE_MAP
from dataco_assets.dashboard.figures import Ranked, Step
from dataco_assets.dashboard.view import Measure, written

Figure = Mapping[str, Any]

_FONT: Final = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
_MARKED_UP_TO: Final = 31
_BUCKETS_BETWEEN_TICKS: Final = 4
_RATE_AXIS: Final = {"tickformat": ".0%"}


@dataclass(frozen=True)
class Colours:
    """The colours of a chart; those of the style sheet, which plotly.js cannot read."""

    card: str
    text: str
    muted: str
    line: str
    accent: str
    fill: str
    before: str
    land: str
    scale: tuple[str, str]


SCHEMES: Final = {
    "light": Colours(
        card="#ffffff",
        text="#18202b",
        muted="#5b6675",
        line="#e6e9ef",
        accent="#2f6bed",
        fill="rgba(47, 107, 237, 0.10)",
        before="#98a2b3",
        land="#e9ecf1",
        scale=("#c7d8fb", "#1d4fc4"),
    ),
    "dark": Colours(
        card="#161c25",
        text="#e7ecf3",
        muted="#9aa6b6",
        line="#28303c",
        accent="#7aa7ff",
        fill="rgba(122, 167, 255, 0.13)",
        before="#6b7687",
        land="#28313d",
        scale=("#2d4a80", "#8fb5ff"),
    ),
}


def trend(
    steps: Sequence[Step], before: Sequence[Step], measure: Measure, *, is_hourly: bool, colours: Colours, narrow: bool
) -> Figure:
    """The measure over time: what is settled drawn through, the rest dashed and hollow, the period before dotted.

    Args:
        steps: The period's.
        before: As many of the period before.
        measure: What they show.
        is_hourly: Whether a step is an hour; otherwise it is a day.
        colours: Its colours.
        narrow: Whether it is for a narrow screen.
    """
    name = texts.hour if is_hourly else texts.day
    times = [_iso(step.start_ms) for step in steps]
    over = [step.figure if step.state.is_settled else None for step in steps]
    mode = "lines+markers" if len(steps) <= _MARKED_UP_TO else "lines"
    traces: list[dict[str, Any]] = [
        {
            **_line(times, [step.figure for step in before[: len(steps)]], colours.before, dash="dot", width=1.6),
            "name": "the period before",
            "customdata": [f"{texts.figure(measure, step.figure)} · {name(step.start_ms)}" for step in before],
        },
        {
            **_line(times, over, colours.accent, width=2.4),
            "name": "final",
            "mode": mode,
            "marker": {"size": 5},
            "fill": "tozeroy",
            "fillcolor": colours.fill,
            "customdata": [_told(measure, step) if step.state.is_settled else "" for step in steps],
        },
        {
            **_line(times, _open(steps), colours.accent, dash="4px,4px", width=2.4),
            "name": "provisional or running",
            "mode": "lines+markers",
            "marker": {
                "size": [9 if _is_open(step) else 0 for step in steps],
                "color": colours.card,
                "line": {"color": colours.accent, "width": 2},
            },
            "customdata": [_told(measure, step) if _is_open(step) else "" for step in steps],
            "hoverinfo": "skip" if not any(map(_is_open, steps)) else None,
        },
    ]
    axis = {"rangemode": "tozero", **(_RATE_AXIS if measure is Measure.BOUNCE_RATE else {})}
    return {
        "data": traces,
        "layout": {
            **_layout(colours),
            "hovermode": "x unified",
            "xaxis": {
                **_axis(colours, grid=False),
                "type": "date",
                "range": _margins(steps),
                "nticks": 5 if narrow else 12,
                "hoverformat": "%a %-d %b, %H:%M UTC" if is_hourly else "%a %-d %b %Y",
            },
            "yaxis": {**_axis(colours), **axis, "nticks": 5},
            "margin": {"l": 44, "r": 12, "t": 8, "b": 30},
        },
    }


def times(time_spent: Mapping[str, int], colours: Colours) -> Figure:
    """The distribution of the time on page: clicks by length, the shortest first."""
    limits = [*LOWER_LIMITS_MS, None]
    names = [_range_of(low, high) for low, high in pairwise(limits)]
    counts = [time_spent.get(bucket, 0) for bucket in TIME_SPENT.buckets]
    return {
        "data": [
            {
                "type": "bar",
                "x": names,
                "y": counts,
                "marker": {"color": colours.accent},
                "hovertemplate": "%{x}: %{y:,} clicks<extra></extra>",
            }
        ],
        "layout": {
            **_layout(colours),
            "bargap": 0.15,
            "xaxis": {
                **_axis(colours, grid=False),
                "type": "category",
                "tickmode": "array",
                "tickvals": names[::_BUCKETS_BETWEEN_TICKS],
                "ticktext": [_length(low) for low in LOWER_LIMITS_MS[::_BUCKETS_BETWEEN_TICKS]],
                "tickangle": 0,
            },
            "yaxis": {**_axis(colours), "nticks": 4},
            "margin": {"l": 44, "r": 8, "t": 8, "b": 30},
        },
    }


def world(rows: Sequence[Ranked], shapes_url: str, colours: Colours) -> Figure:
    """The countries, darker (or, in the dark, lighter) the more clicks came from there.

    Args:
        rows: Clicks by country.
        shapes_url: Where the browser finds the shapes.
        colours: Its colours.
    """
    views = {row.value: row.sums.views for row in rows if row.value in ON_THE_MAP}
    without = [code for code in (*sorted(ON_THE_MAP), *DISPUTED) if code not in views]
    shape = {"type": "choropleth", "geojson": shapes_url, "featureidkey": "id", "showscale": False}
    border = {"marker": {"line": {"color": colours.card, "width": 0.6}}}
    return {
        "data": [
            {
                **shape,
                **border,
                "locations": without,
                "z": [0] * len(without),
                "colorscale": [[0, colours.land], [1, colours.land]],
                "hoverinfo": "skip",
            },
            {
                **shape,
                **border,
                "locations": list(views),
                "z": [log10(number) for number in views.values()],
                "zmin": 0,
                "zmax": max((log10(number) for number in views.values()), default=1) or 1,
                "colorscale": [[0, colours.scale[0]], [1, colours.scale[1]]],
                "text": [f"{NAMES[code]}: {texts.whole(number)} views" for code, number in views.items()],
                "hovertemplate": "%{text}<extra></extra>",
            },
        ],
        "layout": {
            **_layout(colours),
            "geo": {
                "visible": False,
                "bgcolor": "rgba(0, 0, 0, 0)",
                "projection": {"type": "natural earth"},
                "lataxis": {"range": [-57, 84]},
                "lonaxis": {"range": [-170, 190]},
            },
            "dragmode": False,
            "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
        },
    }


def _margins(steps: Sequence[Step]) -> list[str] | None:
    """The times from which to which it is drawn, with room for the points at both ends; None: as plotly.js likes."""
    if len(steps) < 2:
        return None
    room = (steps[1].start_ms - steps[0].start_ms) // 2
    return [_iso(steps[0].start_ms - room), _iso(steps[-1].start_ms + room)]


def _open(steps: Sequence[Step]) -> list[float | None]:
    """Figures of the steps that are not over, and of the one before them, so that the line is not broken."""
    following = [*steps[1:], None]
    return [
        step.figure if _is_open(step) or (after is not None and _is_open(after)) else None
        for step, after in zip(steps, following, strict=True)
    ]


def _is_open(step: Step) -> bool:
    return not step.state.is_settled and step.figure is not None


def _told(measure: Measure, step: Step) -> str:
    """A figure, and how final it is where it is not simply final."""
    figure = texts.figure(measure, step.figure)
    return figure if step.state in (Finality.FINAL, Finality.EXPIRED) else f"{figure} · {step.state}"


def _line(times: Sequence[str], values: Sequence[float | None], colour: str, **line: Any) -> dict[str, Any]:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": times,
        "y": list(values),
        "line": {"color": colour, "shape": "linear", **line},
        "hovertemplate": "%{customdata}<extra></extra>",
    }


def _layout(colours: Colours) -> dict[str, Any]:
    return {
        "paper_bgcolor": colours.card,
        "plot_bgcolor": colours.card,
        "font": {"family": _FONT, "size": 12, "color": colours.muted},
        "hoverlabel": {"bgcolor": colours.card, "bordercolor": colours.line, "font": {"color": colours.text}},
        "showlegend": False,
        "autosize": True,
    }


def _axis(colours: Colours, *, grid: bool = True) -> dict[str, Any]:
    return {
        "showgrid": grid,
        "gridcolor": colours.line,
        "zeroline": False,
        "linecolor": colours.line,
        "fixedrange": True,
        "automargin": True,
    }


def _range_of(low_ms: int | None, high_ms: int | None) -> str:
    low = _length(low_ms or 0)
    return f"{low}\N{EN DASH}{_length(high_ms)}" if high_ms else f"{low}\N{EN DASH}30 min"


def _length(time_ms: int) -> str:
    seconds = time_ms / 1000
    return f"{seconds:g} s" if seconds < 60 else f"{seconds / 60:.2g} min"


def _iso(time_ms: int) -> str:
    return written(time_ms, "%Y-%m-%dT%H:%M:%S")
