"""Writes Kibana's saved objects, `traffic.ndjson`: data views, visualisations, and the dashboard that shows them.

Run it with `make boards`. The visualisations are Vega-Lite: each has the body of its search as Query DSL, and computes
from the answer what no aggregation can, since a quotient of two sums needs a script in Elasticsearch. They are made
from here because saved objects hold JSON within texts within JSON.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from dataco_assets.aggregates.columns import (
    BOUNCES,
    BROWSER,
    CITY,
    CLICK_COUNT,
    COMPUTED_AT,
    COUNTRY,
    DEVICE,
    ENTERING_USERS,
    ENTRIES,
    EXITS,
    HOUR,
    OPERATING_SYSTEM,
    PAGE,
    REFERRER_HOST,
    TIME_SPENT,
    TIME_SPENT_SAMPLES,
    TIME_SPENT_SECONDS,
    Column,
)
from dataco_assets.clicks.hour import HOUR_MS, VISIT_GAP_MS

Json = dict[str, Any]

FILE: Final = Path(__file__).parent / "traffic.ndjson"
PAGES: Final = "dataco-url-country"
AUDIENCE: Final = f"{PAGES}-audience"
RESTATEMENTS: Final = f"{PAGES}-restatements"
SCHEMA: Final = "https://vega.github.io/schema/vega-lite/v5.json"
"""The major version that Kibana 8 has; an identifier, nobody opens it."""

RANKED: Final = 50_000
"""Values of a dimension up to which a ranking is exact: each index answers with so many."""
ROWS: Final = 10
RESTATED: Final = 20
WIDTH: Final = 48
PERCENTILES: Final = (50, 75, 90)
UNKNOWN: Final = "\N{EN DASH}"


def visualisations() -> Mapping[str, Json]:
    """The specification of each visualisation, by its title."""
    return {
        "Traffic": _tiles(),
        "By hour": _trend(),
        "Pages": _ranking(PAGES, PAGE, CLICK_COUNT, EXITS, "' · ' + format({b}, ',') + ' ended a visit'"),
        "Entry pages": _ranking(PAGES, PAGE, ENTRIES, BOUNCES, "' · ' + format({b} / {a}, '.1%') + ' bounced'"),
        "Exit pages": _ranking(PAGES, PAGE, EXITS, CLICK_COUNT, "' · ' + format({a} / {b}, '.1%') + ' of its views'"),
        "Time on page": _times(),
        "Time on page: distribution": _distribution(),
        "Countries": _ranking(PAGES, COUNTRY, CLICK_COUNT),
        "Referrers": _ranking(
            AUDIENCE, REFERRER_HOST, ENTRIES, BOUNCES, "' · ' + format({b} / {a}, '.1%') + ' bounced'"
        ),
        "Browsers": _ranking(AUDIENCE, BROWSER, CLICK_COUNT),
        "Operating systems": _ranking(AUDIENCE, OPERATING_SYSTEM, CLICK_COUNT),
        "Devices": _ranking(AUDIENCE, DEVICE, CLICK_COUNT),
        "Cities": _ranking(AUDIENCE, CITY, CLICK_COUNT),
        "Documents": _held(),
        "Hours by state": _states(),
        "Restatements by cause": _causes(),
        "Newest restatements": _restatements(),
    }


_LAYOUT: Final = (
    (8, ("Traffic",)),
    (14, ("By hour",)),
    (14, ("Pages", "Entry pages", "Exit pages")),
    (8, ("Time on page",)),
    (14, ("Time on page: distribution", "Countries", "Referrers")),
    (14, ("Browsers", "Operating systems", "Devices", "Cities")),
    (9, ("Documents", "Hours by state", "Restatements by cause")),
    (16, ("Newest restatements",)),
)
"""Height and visualisations of each row of the dashboard."""


def _search(index: str, aggregations: Json, found: str, *, time: str = HOUR.name, **more: Any) -> Json:
    """Data of a visualisation: a search of the dashboard's hours and filters, and the part of its answer to draw."""
    url = {"%context%": True, "%timefield%": time, "index": index, "body": {"size": 0, "aggs": aggregations, **more}}
    return {"url": url, "format": {"property": found}}


def _sum(column: Column) -> Json:
    return {"sum": {"field": column.name}}


def _calculated(**formulas: str) -> list[Json]:
    return [{"calculate": formula, "as": name} for name, formula in formulas.items()]


def _folded(tiles: Mapping[str, str]) -> list[Json]:
    """One row for each text, from one row of all."""
    named = {f"tile{place}": text for place, text in enumerate(tiles.values())}
    names = json.dumps(dict(zip(named, tiles, strict=True)))
    return [
        *_calculated(**named),
        {"fold": list(named), "as": ["tile", "text"]},
        *_calculated(title=f"{names}[datum.tile]"),
    ]


def _texts(data: Json, steps: Sequence[Json], tiles: Mapping[str, str]) -> Json:
    """Figures side by side, each above its name."""
    place = {"field": "title", "type": "nominal", "sort": list(tiles), "axis": None}
    return {
        "$schema": SCHEMA,
        "data": data,
        "transform": [*steps, *_folded(tiles)],
        "encoding": {"x": place},
        "layer": [
            {"mark": {"type": "text", "fontSize": 24, "dy": -6}, "encoding": {"text": {"field": "text"}}},
            {"mark": {"type": "text", "fontSize": 12, "dy": 20}, "encoding": {"text": {"field": "title"}}},
        ],
        "config": {"view": {"stroke": None}},
    }


def _quotient(above: str, below: str, form: str, unit: str = "") -> str:
    return f"{below} ? format({above} / {below}, '{form}') + '{unit}' : '{UNKNOWN}'"


def _tiles() -> Json:
    columns = (CLICK_COUNT, EXITS, ENTRIES, BOUNCES, TIME_SPENT_SECONDS)
    of_hour = {"users": _sum(ENTERING_USERS)}
    aggregations = {
        **{column.name: _sum(column) for column in columns},
        # Distinct users of several hours do not add up: the most that an hour had.
        "hours": {"date_histogram": {"field": HOUR.name, "fixed_interval": "1h", "min_doc_count": 1}, "aggs": of_hour},
        "busiest": {"max_bucket": {"buckets_path": "hours>users"}},
    }
    views, visits, entries, bounces, seconds = (f"datum.{column.name}.value" for column in columns)
    tiles = {
        "users, busiest hour": "format(datum.busiest.value || 0, ',')",
        "visits": f"format({visits}, ',')",
        "views": f"format({views}, ',')",
        "views per visit": _quotient(views, visits, ".2f"),
        "visit duration": _quotient(seconds, visits, ".1f", " s"),
        "bounce rate": _quotient(bounces, entries, ".1%"),
    }
    return _texts(_search(PAGES, aggregations, "aggregations"), [], tiles)


def _held() -> Json:
    ends = {"newest": {"max": {"field": HOUR.name}}, "changed": {"max": {"field": COMPUTED_AT.name}}}
    tiles = {"newest hour, UTC": _time("datum.newest.value"), "last changed, UTC": _time("datum.changed.value")}
    return _texts(_search(PAGES, ends, "aggregations"), [], tiles)


def _time(value: str) -> str:
    return f"{value} ? utcFormat({value}, '%Y-%m-%d %H:%M') : '{UNKNOWN}'"


_STATE: Final = (
    f"now() < datum.key + {HOUR_MS} ? 'running' : "
    f"now() < datum.key + {HOUR_MS + VISIT_GAP_MS} ? 'provisional' : 'final'"
)
"""How final an hour is, by the clock; those that were restated are a list of their own."""


def _trend() -> Json:
    columns = {"views": CLICK_COUNT, "visits": EXITS, "users of the hour": ENTERING_USERS}
    hours = {
        "date_histogram": {"field": HOUR.name, "fixed_interval": "1h", "min_doc_count": 0},
        "aggs": {column.name: _sum(column) for column in columns.values()},
    }
    values = {name: f"datum['{column.name}'].value" for name, column in columns.items()}
    colour = {"field": "measure", "type": "nominal", "title": None}
    tooltip = [
        {"field": "key", "type": "temporal", "timeUnit": "utcyearmonthdatehours", "title": "hour, UTC"},
        *({"field": name, "type": "nominal"} for name in ("measure", "number", "state")),
    ]
    return {
        "$schema": SCHEMA,
        "data": _search(PAGES, {"hours": hours}, "aggregations.hours.buckets"),
        "transform": [
            *_calculated(**values, state=_STATE),
            {"fold": list(values), "as": ["measure", "number"]},
        ],
        "encoding": {
            "x": {"field": "key", "type": "temporal", "scale": {"type": "utc"}, "title": "hour, UTC"},
            "y": {"field": "number", "type": "quantitative", "title": None},
            "color": colour,
        },
        "layer": [
            {"mark": {"type": "line"}},
            {
                "mark": {"type": "point", "size": 45},
                "encoding": {
                    "tooltip": tooltip,
                    "fill": {
                        "condition": {"test": "datum.state == 'final'", **colour, "legend": None},
                        "value": "white",
                    },
                    "opacity": {"condition": {"test": "datum.state == 'final'", "value": 0}, "value": 1},
                },
            },
        ],
    }


def _ranking(index: str, dimension: Column, by: Column, beside: Column | None = None, note: str = "''") -> Json:
    """The values of a dimension with the largest sums; `note` is a formula of it and one more, `{a}` and `{b}`."""
    terms = {"field": dimension.name, "size": ROWS, "shard_size": RANKED, "order": {by.name: "desc"}}
    values = {"terms": terms, "aggs": {column.name: _sum(column) for column in (by, beside) if column}}
    number = f"datum.{by.name}.value"
    text = note.format(a=number, b=f"datum.{beside.name}.value") if beside else note
    return _bars(
        _search(index, {"values": values}, "aggregations.values.buckets"),
        number=number,
        name="datum.key === '' ? '(unknown)' : datum.key",
        text=f"format({number}, ',') + {text}",
        title=dimension.name.replace("_", " "),
    )


def _bars(data: Json, *, number: str, name: str, text: str, title: str, steps: Sequence[Json] = ()) -> Json:
    """Horizontal bars, the longest first, with a text at each."""
    shortened = {"labelLimit": 220}
    return {
        "$schema": SCHEMA,
        "data": data,
        "transform": [*steps, *_calculated(number=number, name=name, text=text), {"filter": "datum.number > 0"}],
        "encoding": {
            "y": {"field": "name", "type": "nominal", "sort": "-x", "title": title, "axis": shortened},
            "x": {"field": "number", "type": "quantitative", "title": None, "axis": None},
        },
        "layer": [
            {"mark": {"type": "bar", "opacity": 0.45, "tooltip": {"content": "data"}}},
            {
                "mark": {"type": "text", "align": "left", "dx": 4},
                "encoding": {"text": {"field": "text"}, "x": {"datum": 0, "type": "quantitative"}},
            },
        ],
    }


def _bucket_rows() -> list[Json]:
    """The buckets of time, one row each: `lower` and `upper` in ms, `clicks`, `below`, `total`."""
    in_order = {"sort": [{"field": "lower", "order": "ascending"}]}
    return [
        *_calculated(**{bucket: f"datum['{bucket}'].value" for bucket in TIME_SPENT.buckets}),
        {"fold": list(TIME_SPENT.buckets), "as": ["bucket", "clicks"]},
        *_calculated(lower="toNumber(split(datum.bucket, '_')[1])"),
        {
            "window": [
                {"op": "lead", "field": "lower", "as": "next"},
                {"op": "sum", "field": "clicks", "as": "up_to"},
            ],
            "frame": [None, 0],
            **in_order,
        },
        {"joinaggregate": [{"op": "sum", "field": "clicks", "as": "total"}]},
        *_calculated(upper=f"datum.next || {VISIT_GAP_MS}", below="datum.up_to - datum.clicks"),
    ]


def _of_buckets(*more: Column) -> Json:
    sums = {bucket: {"sum": {"field": f"{TIME_SPENT.name}.{bucket}"}} for bucket in TIME_SPENT.buckets}
    return _search(PAGES, {**sums, **{column.name: _sum(column) for column in more}}, "aggregations")


def _times() -> Json:
    """Percentiles from the summed buckets, as `dataco top` has them; the mean; and how many durations are known."""
    within = {f"p{percent}": _place(f"(datum.total * {percent} / 100)") for percent in PERCENTILES}
    sums = (TIME_SPENT_SECONDS, TIME_SPENT_SAMPLES, CLICK_COUNT)
    seconds, samples, clicks = (f"datum.{column.name}" for column in sums)
    steps = [
        *_bucket_rows(),
        *_calculated(**within, **{column.name: f"datum.{column.name}.value" for column in sums}),
        {"aggregate": [{"op": "max", "field": name, "as": name} for name in (*within, *(each.name for each in sums))]},
    ]
    tiles = {
        **{f"{percent} % stay at most": _seconds(f"datum.p{percent}") for percent in PERCENTILES},
        "mean": _quotient(seconds, samples, ".1f", " s"),
        "of the clicks have a known duration": _quotient(samples, clicks, ".1%"),
    }
    return _texts(_of_buckets(*sums), steps, tiles)


def _place(rank: str) -> str:
    """The seconds at a rank, if it lies in the bucket of the row."""
    seconds = f"(datum.lower + (datum.upper - datum.lower) * ({rank} - datum.below) / datum.clicks) / 1000"
    return f"datum.clicks && datum.below < {rank} && datum.up_to >= {rank} ? {seconds} : null"


def _seconds(value: str) -> str:
    return f"isValid({value}) ? format({value}, '.1f') + ' s' : '{UNKNOWN}'"


def _distribution() -> Json:
    spec = _bars(
        _of_buckets(),
        steps=_bucket_rows(),
        number="datum.clicks",
        name="format(datum.lower / 1000, '~r') + ' s to ' + format(datum.upper / 1000, '~r') + ' s'",
        text="format(datum.clicks, ',')",
        title="time on page",
    )
    spec["encoding"]["y"]["sort"] = {"field": "lower", "order": "ascending"}
    return spec


def _states() -> Json:
    hours = {"date_histogram": {"field": HOUR.name, "fixed_interval": "1h", "min_doc_count": 1}}
    return _bars(
        _search(PAGES, {"hours": hours}, "aggregations.hours.buckets"),
        steps=[*_calculated(state=_STATE), {"aggregate": [{"op": "count", "as": "hours"}], "groupby": ["state"]}],
        number="datum.hours",
        name="datum.state",
        text="format(datum.hours, ',')",
        title="hours that have documents",
    )


def _causes() -> Json:
    sums = {name: {"sum": {"field": name}} for name in ("clicks_before", "clicks")}
    causes = {"terms": {"field": "cause", "size": ROWS}, "aggs": sums}
    return _bars(
        _search(RESTATEMENTS, {"causes": causes}, "aggregations.causes.buckets", time="noted_at"),
        number="datum.doc_count",
        name="datum.key",
        text="format(datum.doc_count, ',') + ' · ' + "
        "format(datum.clicks.value - datum.clicks_before.value, '+,') + ' clicks'",
        title="cause",
    )


def _restatements() -> Json:
    """The last changes of hours that were final, as a table."""
    cells = {
        "found, UTC": "utcFormat(toDate(datum._source.noted_at), '%Y-%m-%d %H:%M')",
        "hour, UTC": "utcFormat(toDate(datum._source.hour), '%Y-%m-%d %H:%M')",
        "cause": "datum._source.cause",
        "clicks": _change("clicks"),
        "users": _change("users"),
        "groups changed": "format(datum._source.groups_changed, ',')",
    }
    newest = {"size": RESTATED, "sort": [{"noted_at": "desc"}, {"hour": "desc"}]}
    axis = {"orient": "top", "labelAngle": 0, "domain": False, "ticks": False}
    return {
        "$schema": SCHEMA,
        "data": _search(RESTATEMENTS, {}, "hits.hits", time="noted_at", **newest),
        "transform": [{"window": [{"op": "row_number", "as": "row"}]}, *_folded(cells)],
        "mark": {"type": "text"},
        "encoding": {
            "x": {"field": "title", "type": "nominal", "sort": list(cells), "title": None, "axis": axis},
            "y": {"field": "row", "type": "ordinal", "axis": None},
            "text": {"field": "text"},
        },
        "config": {"view": {"stroke": None}},
    }


def _change(name: str) -> str:
    before, since = f"datum._source.{name}_before", f"datum._source.{name}"
    return f"format({before}, ',') + ' → ' + format({since}, ',')"


# Saved objects.


def _object(kind: str, name: str, version: str, attributes: Json, references: Sequence[Json] = ()) -> Json:
    """A saved object in the form of a version of its type that Kibana 8.19 reads, and brings into its own form."""
    return {
        "type": kind,
        "id": name,
        "attributes": attributes,
        "references": list(references),
        "coreMigrationVersion": "8.8.0",
        "typeMigrationVersion": version,
    }


def _text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _data_view(index: str, time: str) -> Json:
    return _object("index-pattern", index, "8.0.0", {"title": index, "name": index, "timeFieldName": time})


_NO_FILTER: Final = {"searchSourceJSON": _text({"query": {"query": "", "language": "kuery"}, "filter": []})}


def _visualisation(title: str, spec: Json) -> Json:
    drawn = json.dumps(spec, indent=2, ensure_ascii=False)
    state = {"title": title, "type": "vega", "aggs": [], "params": {"spec": drawn}}
    attributes = {
        "title": f"DataCo: {title}",
        "description": "",
        "version": 1,
        "visState": _text(state),
        "uiStateJSON": "{}",
        "kibanaSavedObjectMeta": _NO_FILTER,
    }
    return _object("visualization", _id(title), "8.5.0", attributes)


def _id(title: str) -> str:
    return "dataco-" + "-".join("".join(each if each.isalnum() else " " for each in title.lower()).split())


def _dashboard() -> Json:
    panels, references, top = [], [], 0
    for height, row in _LAYOUT:
        for place, title in enumerate(row):
            name, width = _id(title), WIDTH // len(row)
            panels.append(
                {
                    "type": "visualization",
                    "panelIndex": name,
                    "panelRefName": f"panel_{name}",
                    "gridData": {"x": place * width, "y": top, "w": width, "h": height, "i": name},
                    "title": title,
                    "embeddableConfig": {},
                }
            )
            references.append({"type": "visualization", "id": name, "name": f"{name}:panel_{name}"})
        top += height
    attributes = {
        "title": "DataCo traffic",
        "description": "The site's traffic, and how final it is (docs/reading.md).",
        "version": 1,
        "timeRestore": True,
        "timeFrom": "now-7d",
        "timeTo": "now",
        "refreshInterval": {"pause": False, "value": 60_000},
        "optionsJSON": _text({"useMargins": True, "hidePanelTitles": False}),
        "panelsJSON": _text(panels),
        "kibanaSavedObjectMeta": _NO_FILTER,
    }
    return _object("dashboard", "dataco-traffic", "8.9.0", attributes, references)


def written() -> Mapping[Path, str]:
    """The text of the file: one saved object on each line."""
    times = {PAGES: HOUR.name, AUDIENCE: HOUR.name, RESTATEMENTS: "noted_at"}
    views = [_data_view(index, time) for index, time in times.items()]
    drawn = [_visualisation(title, spec) for title, spec in visualisations().items()]
    return {FILE: "".join(_text(each) + "\n" for each in (*views, *drawn, _dashboard()))}


if __name__ == "__main__":
    for file, text in written().items():
        file.write_text(text)
