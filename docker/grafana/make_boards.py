"""Writes Grafana's boards, `boards/*.json`: the site's traffic from Elasticsearch, the platform from Prometheus.

Run it with `make boards`. The boards are made from here and not kept by hand, because fields come from the registry of
aggregates, and because panels differ in a title and a query but repeat fifty lines of JSON.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
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
from dataco_assets.clicks.time_spent import LOWER_LIMITS_MS

Json = dict[str, Any]

BOARDS: Final = Path(__file__).parent / "boards"
SCHEMA_VERSION: Final = 41
"""The form of the boards, by Grafana's numbering; a newer Grafana brings them into its own form when it reads them."""

PAGES, AUDIENCE, RESTATEMENTS = (
    {"type": "elasticsearch", "uid": f"dataco-{name}"} for name in ("pages", "audience", "restatements")
)
PROMETHEUS: Final = {"type": "prometheus", "uid": "dataco-prometheus"}
EXPRESSION: Final = {"type": "__expr__", "uid": "__expr__"}

WIDTH: Final = 24
RANKED: Final = 1_000
"""Values of a dimension up to which a ranking is exact: Grafana asks each index for half as many again as it shows."""
SHOWN: Final = 20
SECONDS, SHARE, WHOLE = "s", "percentunit", "locale"


def traffic() -> Json:
    """The board of the site's traffic."""
    return _board(
        uid="dataco-traffic",
        title="DataCo traffic",
        since="now-7d",
        rows=[
            *_tiles(),
            [_trend(), _bounce_trend()],
            [
                _ranking("Pages", PAGE, PAGES, (CLICK_COUNT, EXITS)),
                _ranking("Entry pages", PAGE, PAGES, (ENTRIES, BOUNCES), share=("Bounced", BOUNCES, ENTRIES)),
                _ranking("Exit pages", PAGE, PAGES, (EXITS, CLICK_COUNT), share=("Of its views", EXITS, CLICK_COUNT)),
            ],
            [_times(), _ranking("Countries", COUNTRY, PAGES, (CLICK_COUNT, EXITS))],
            [
                _ranking("Referrers", REFERRER_HOST, AUDIENCE, (ENTRIES, BOUNCES), share=("Bounced", BOUNCES, ENTRIES)),
                _ranking("Browsers", BROWSER, AUDIENCE, (CLICK_COUNT, EXITS)),
                _ranking("Cities", CITY, AUDIENCE, (CLICK_COUNT, EXITS)),
            ],
            [
                _ranking("Operating systems", OPERATING_SYSTEM, AUDIENCE, (CLICK_COUNT, EXITS)),
                _ranking("Devices", DEVICE, AUDIENCE, (CLICK_COUNT, EXITS)),
            ],
            *_finality(),
        ],
        variables=[_countries()],
        annotations=[_restated_hours()],
    )


def operations() -> Json:
    """The board of what the platform is doing, from the metrics of `dataco metrics`."""
    return _board(
        uid="dataco-operations",
        title="DataCo operations",
        since="now-6h",
        rows=[
            [
                _now("Servers that answer", "dataco_server_up", legend="{{server}}", mappings=_UP),
                _now("Alerts that fire", 'count(ALERTS{alertstate="firing"}) or vector(0)'),
                _now("Needs a person", "dataco_problems", about="`dataco status` says what it is, and what to do."),
                _now("Parked", "dataco_parked", about="`dataco resume` starts it again, once its cause is gone."),
                _now("Lost ranges", "dataco_lost_ranges", about="Clicks were gone from Kafka before they were stored."),
            ],
            [
                _series("Clicks waiting in Kafka", "sum(dataco_clicks_waiting)"),
                _series("Behind: age of the oldest", "dataco_oldest_waiting_click_seconds", unit=SECONDS),
                _series("Until Kafka removes it", "dataco_retention_headroom_seconds", unit=SECONDS),
            ],
            [
                _series("Clicks stored per second", "rate(dataco_clicks_stored_total[5m])"),
                _series(
                    "Rejected per second",
                    "sum by (reason) (rate(dataco_clicks_rejected_total[5m]))",
                    legend="{{reason}}",
                ),
                _series(
                    "Share that is rejected",
                    "sum(rate(dataco_clicks_rejected_total[10m])) / "
                    "(sum(rate(dataco_clicks_rejected_total[10m])) + sum(rate(dataco_clicks_stored_total[10m])))",
                    unit=SHARE,
                ),
                _series("Of erased users, per second", "rate(dataco_clicks_suppressed_total[5m])"),
            ],
            [
                _series("Hours that wait for a refresh", "dataco_dirty_hours", "dataco_overdue_hours"),
                _series("The oldest ended ago", "dataco_oldest_dirty_hour_seconds", unit=SECONDS),
                _series(
                    "Newest hour in the index began ago",
                    "time() - dataco_index_newest_hour_timestamp_seconds",
                    unit=SECONDS,
                ),
                _now("Hours in the ledger", "dataco_hours"),
            ],
            [
                _series("Last publication by stage", "dataco_refresh_stage_seconds", legend="{{stage}}", unit=SECONDS),
                _series("Runs", "dataco_runs_at_work", legend="{{job}}"),
                _series(
                    "Last success ago",
                    "time() - dataco_job_last_success_timestamp_seconds",
                    legend="{{job}}",
                    unit=SECONDS,
                ),
                _series("Dagster's daemon heard ago", "dataco_daemon_heartbeat_age_seconds", unit=SECONDS),
            ],
            [
                _now("Not accounted for", "dataco_account_problems", about="`dataco account` names the offsets."),
                _now("Hours verified", "dataco_verify_hours", about="By the last `dataco verify`."),
                _now("Hours that differed", "dataco_verify_differing_hours"),
                _now("Differences", "dataco_verify_differences"),
            ],
            [
                _series("Verified ago", "time() - dataco_verify_timestamp_seconds", unit=SECONDS),
                _series("Canary: until readers found it", "dataco_canary_latency_seconds", unit=SECONDS),
                _series("Canary: the one found was sent ago", "dataco_canary_age_seconds", unit=SECONDS),
            ],
            [
                _now("Live serves readers", "dataco_live_serves", mappings=_YES),
                _series("Live: until readers see a click", "dataco_live_latency_seconds", unit=SECONDS),
                _series("Live: records behind", "dataco_live_records_behind"),
                _series("Live reported ago", "dataco_live_report_age_seconds", unit=SECONDS),
            ],
            [
                _now("Connector runs", "dataco_connector_running", mappings=_YES),
                _series("Connector's tasks", "dataco_connector_tasks", legend="{{state}}"),
            ],
        ],
    )


_UP: Final = {"1": {"text": "answers", "color": "green"}, "0": {"text": "away", "color": "red"}}
_YES: Final = {"1": {"text": "yes", "color": "green"}, "0": {"text": "no", "color": "orange"}}

# The board and its panels.

_OTHERS: Final = {
    "type": "dashboards",
    "tags": ["dataco"],
    "title": "",
    "tooltip": "",
    "icon": "external link",
    "asDropdown": False,
    "includeVars": False,
    "keepTime": True,
    "targetBlank": False,
}
"""Links to the other boards of the platform."""


def _board(
    *,
    uid: str,
    title: str,
    since: str,
    rows: Iterable[Sequence[Json]],
    variables: Sequence[Json] = (),
    annotations: Sequence[Json] = (),
) -> Json:
    return {
        "uid": uid,
        "title": title,
        "tags": ["dataco"],
        "timezone": "utc",
        "editable": True,
        "schemaVersion": SCHEMA_VERSION,
        "refresh": "1m",
        "time": {"from": since, "to": "now"},
        "templating": {"list": list(variables)},
        "annotations": {"list": list(annotations)},
        "links": [_OTHERS],
        "panels": list(_placed(rows)),
    }


def _placed(rows: Iterable[Sequence[Json]]) -> Iterable[Json]:
    """Panels in rows, side by side in equal widths, each as high as it asks for."""
    ids, top = count(1), 0
    for row in rows:
        high = max(panel.pop("height") for panel in row)
        edges = [WIDTH * place // len(row) for place in range(len(row) + 1)]
        for panel, left, right in zip(row, edges, edges[1:], strict=False):
            yield {"id": next(ids), "gridPos": {"x": left, "y": top, "w": right - left, "h": high}, **panel}
        top += high


def _panel(kind: str, title: str, about: str, source: Json, targets: Sequence[Json], height: int, **more: Any) -> Json:
    return {
        "type": kind,
        "title": title,
        "description": about,
        "datasource": source,
        "targets": list(targets),
        "height": height,
        **more,
    }


def _fields(unit: str, *, decimals: int | None = None, mappings: Mapping[str, Json] | None = None) -> Json:
    unknown = {"type": "special", "options": {"match": "null+nan", "result": {"text": "\N{EN DASH}"}}}
    values = [{"type": "value", "options": dict(mappings)}] if mappings else []
    defaults: Json = {"unit": unit, "mappings": [*values, unknown]}
    return {"defaults": defaults if decimals is None else {**defaults, "decimals": decimals}, "overrides": []}


def _stat(
    title: str,
    about: str,
    source: Json,
    targets: Sequence[Json],
    *,
    unit: str,
    calc: str,
    decimals: int | None = None,
    mappings: Mapping[str, Json] | None = None,
) -> Json:
    options = {"reduceOptions": {"calcs": [calc], "values": False}, "graphMode": "none", "textMode": "auto"}
    fields = _fields(unit, decimals=decimals, mappings=mappings)
    return _panel("stat", title, about, source, targets, 4, options=options, fieldConfig=fields)


# Queries of Elasticsearch, as Grafana's query editor writes them.


def _by_hour(ref: str, column: Column, *, interval: str = "1h", aggregation: str = "sum", **more: Any) -> Json:
    """The sum of a measure for each hour, or day (UTC)."""
    return _query(ref, PAGES, [_metric("1", column, aggregation)], [_in_time("2", HOUR.name, interval)], **more)


def _query(ref: str, source: Json, metrics: Sequence[Json], buckets: Sequence[Json], **more: Any) -> Json:
    """A query; those of the aggregates are of the country that is chosen."""
    chosen = "*" if source is RESTATEMENTS else f"{COUNTRY.name}:$country"
    return {
        "refId": ref,
        "datasource": source,
        "query": chosen,
        "metrics": list(metrics),
        "bucketAggs": list(buckets),
        **more,
    }


def _metric(name: str, column: Column, aggregation: str = "sum") -> Json:
    return {"id": name, "type": aggregation, "field": column.name}


def _in_time(name: str, field: str, interval: str, least: int = 0) -> Json:
    settings = {"interval": interval, "min_doc_count": str(least), "trimEdges": "0"}
    return {"id": name, "type": "date_histogram", "field": field, "settings": settings}


def _by_value(name: str, field: str) -> Json:
    settings = {"size": str(RANKED), "order": "desc", "orderBy": "1", "min_doc_count": "1"}
    return {"id": name, "type": "terms", "field": field, "settings": settings}


def _ratio(above: Json, below: Json, formula: str = "$C / $D") -> list[Json]:
    """What two sums over all hours of the range come to: each is added up first, so no mean of means is shown."""
    return [
        {**above, "refId": "A", "hide": True},
        {**below, "refId": "B", "hide": True},
        _expression("C", "reduce", expression="A", reducer="sum", settings={"mode": ""}, hide=True),
        _expression("D", "reduce", expression="B", reducer="sum", settings={"mode": ""}, hide=True),
        _expression("E", "math", expression=formula),
    ]


def _expression(ref: str, kind: str, **more: Any) -> Json:
    return {"refId": ref, "datasource": EXPRESSION, "type": kind, **more}


# The parts of the board of the traffic.


def _tiles() -> list[list[Json]]:
    def total(title: str, about: str, column: Column) -> Json:
        return _stat(title, about, PAGES, [_by_hour("A", column)], unit=WHOLE, calc="sum")

    def ratio(title: str, about: str, above: Column, below: Column, unit: str, decimals: int) -> Json:
        targets = _ratio(_by_hour("A", above), _by_hour("B", below))
        return _stat(title, about, PAGES, targets, unit=unit, calc="lastNotNull", decimals=decimals)

    users = (
        "Distinct users of the hour that had the most, exact. Users of several hours do not add up, because the same "
        "ones return: `dataco users FROM TO` tells how many there were in a range."
    )
    return [
        [
            _stat("Users, busiest hour", users, PAGES, [_by_hour("A", ENTERING_USERS)], unit=WHOLE, calc="max"),
            total("Visits", "Σ exits: visits that ended in these hours.", EXITS),
            total("Views", "Σ click_count.", CLICK_COUNT),
            ratio("Views per visit", "Σ click_count / Σ exits.", CLICK_COUNT, EXITS, "none", 2),
        ],
        [
            ratio("Visit duration", "Σ seconds / Σ exits.", TIME_SPENT_SECONDS, EXITS, SECONDS, 1),
            ratio("Bounce rate", "Σ bounces / Σ entries.", BOUNCES, ENTRIES, SHARE, 1),
            ratio(
                "Time on page",
                "Σ seconds / Σ clicks of known duration.",
                TIME_SPENT_SECONDS,
                TIME_SPENT_SAMPLES,
                SECONDS,
                1,
            ),
            ratio(
                "Known durations",
                "Of the clicks, those whose duration is known: not the last one of a visit.",
                TIME_SPENT_SAMPLES,
                CLICK_COUNT,
                SHARE,
                1,
            ),
        ],
    ]


def _trend() -> Json:
    names = (("Views", CLICK_COUNT), ("Visits", EXITS), ("Users of the hour", ENTERING_USERS))
    targets = [_by_hour(ref, column, alias=name) for ref, (name, column) in zip("ABC", names, strict=True)]
    about = (
        "By hour, UTC. The running hour is not over, and the one before can change until 30 minutes after its end. A "
        "mark is an hour that changed after that."
    )
    return _panel("timeseries", "By hour", about, PAGES, targets, 9, fieldConfig=_fields(WHOLE))


def _bounce_trend() -> Json:
    targets = [
        _by_hour("A", BOUNCES, interval="1d", hide=True),
        _by_hour("B", ENTRIES, interval="1d", hide=True),
        _expression("C", "math", expression="$A / $B"),
    ]
    fields = _fields(SHARE, decimals=1)
    about = "Σ bounces / Σ entries of each day (UTC); of the first and the last day, as far as the range goes."
    return _panel("timeseries", "Bounce rate by day", about, PAGES, targets, 9, fieldConfig=fields)


def _ranking(
    title: str,
    dimension: Column,
    source: Json,
    measures: Sequence[Column],
    *,
    share: tuple[str, Column, Column] | None = None,
) -> Json:
    """The values of a dimension by the first measure; with a share, the second measure of it in the third."""
    metrics = [_metric(str(place), measure) for place, measure in zip((1, 3), measures, strict=True)]
    columns = {f"Sum {measure.name}": _NAMES[measure.name] for measure in measures}
    steps: list[Json] = [{"id": "limit", "options": {"limitField": SHOWN}}]
    fields = _fields(WHOLE)
    if share:
        name, part, whole = share
        steps.append(_divided(f"Sum {part.name}", f"Sum {whole.name}", name))
        shown = [{"id": "unit", "value": SHARE}, {"id": "decimals", "value": 1}]
        fields["overrides"] = [{"matcher": {"id": "byName", "options": name}, "properties": shown}]
    renamed = {dimension.name: dimension.name.replace("_", " ").capitalize(), **columns}
    steps.append({"id": "organize", "options": {"renameByName": renamed, "excludeByName": {}, "indexByName": {}}})
    about = f"The first {SHOWN}. Exact while no month has more than {RANKED:,} values; beyond that, one may be missing."
    query = _query("A", source, metrics, [_by_value("2", dimension.name)])
    return _panel("table", title, about, source, [query], 10, fieldConfig=fields, transformations=steps)


_NAMES: Final = {
    CLICK_COUNT.name: "Views",
    EXITS.name: "Visits that ended",
    ENTRIES.name: "Visits",
    BOUNCES.name: "Bounces",
}


def _divided(left: str, right: str, name: str) -> Json:
    sides = {
        side: {"matcher": {"id": "byName", "options": field}} for side, field in (("left", left), ("right", right))
    }
    return {
        "id": "calculateField",
        "options": {"mode": "binary", "alias": name, "binary": {**sides, "operator": "/"}, "replaceFields": False},
    }


def _times() -> Json:
    """The distribution of time: one sum for each bucket, over days, which the panel adds up."""
    buckets = TIME_SPENT.numbers
    metrics = [_metric(str(place), bucket) for place, bucket in enumerate(buckets, start=10)]
    names = [f"from {limit / 1000:g} s" for limit in LOWER_LIMITS_MS]
    fields = _fields(WHOLE)
    fields["overrides"] = [
        {"matcher": {"id": "byName", "options": bucket.name}, "properties": [{"id": "displayName", "value": name}]}
        for bucket, name in zip(buckets, names, strict=True)
    ]
    options = {
        "reduceOptions": {"calcs": ["sum"], "values": False},
        "orientation": "horizontal",
        "displayMode": "basic",
    }
    about = (
        "Clicks of known duration by seconds spent. Percentiles come from these sums: docs/reading.md, *Percentiles of "
        "the time on a page*."
    )
    query = _query("A", PAGES, metrics, [_in_time("2", HOUR.name, "1d")], alias="{{field}}")
    return _panel(
        "bargauge", "Time on page: distribution", about, PAGES, [query], 14, fieldConfig=fields, options=options
    )


def _finality() -> list[list[Json]]:
    """What the index holds, and the hours that changed after they were final."""

    def latest(title: str, about: str, column: Column) -> Json:
        query = _query("A", PAGES, [_metric("1", column, "max")], [_in_time("2", HOUR.name, "1d", 1)])
        return _stat(title, about, PAGES, [query], unit="dateTimeAsIso", calc="max")

    def noted(ref: str, field: str, query: str = "*") -> Json:
        metric = {"id": "1", "type": "sum", "field": field} if field else {"id": "1", "type": "count"}
        buckets = [_in_time("2", "noted_at", "1d")]
        return {**_query(ref, RESTATEMENTS, [metric], buckets), "query": query}

    late = "cause:late_clicks"
    documents = {"id": "1", "type": "raw_data", "settings": {"size": "500"}}
    shown = ("noted_at", "hour", "cause", "clicks_before", "clicks", "users_before", "users", "groups_changed")
    columns = [
        {"id": "sortBy", "options": {"sort": [{"field": "noted_at", "desc": True}]}},
        {"id": "limit", "options": {"limitField": SHOWN}},
        {"id": "filterFieldsByName", "options": {"include": {"names": list(shown)}}},
        {"id": "organize", "options": {"indexByName": {name: place for place, name in enumerate(shown)}}},
    ]
    return [
        [
            latest("Newest hour", "The newest hour of the range that has documents.", HOUR),
            latest(
                "Documents last changed", "When the run that changed one last began, by HBase's clock.", COMPUTED_AT
            ),
            _stat(
                "Restatements",
                "Changes of final hours that were found in this range of time.",
                RESTATEMENTS,
                [noted("A", "")],
                unit=WHOLE,
                calc="sum",
            ),
            _stat(
                "Late clicks",
                "Clicks by which late ones changed final hours: Σ clicks less Σ clicks_before.",
                RESTATEMENTS,
                _ratio(noted("A", "clicks", late), noted("B", "clicks_before", late), "$C - $D"),
                unit=WHOLE,
                calc="lastNotNull",
            ),
        ],
        [
            _panel(
                "table",
                "Newest restatements",
                "Hours that changed after they were final, and why (docs/hours.md).",
                RESTATEMENTS,
                [_query("A", RESTATEMENTS, [documents], [])],
                9,
                fieldConfig=_fields("none"),
                transformations=columns,
            )
        ],
    ]


def _countries() -> Json:
    query = json.dumps({"find": "terms", "field": COUNTRY.name})
    return {
        "name": "country",
        "label": "Country",
        "type": "query",
        "datasource": PAGES,
        "query": query,
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "includeAll": True,
        "allValue": "*",
        "multi": False,
        "current": {"text": "All", "value": "$__all"},
    }


def _restated_hours() -> Json:
    """A mark at each hour that was restated."""
    return {
        "name": "Restated hours",
        "datasource": RESTATEMENTS,
        "enable": True,
        "iconColor": "orange",
        "timeField": HOUR.name,
        "textField": "cause",
        "target": {"refId": "Anno", "query": "*"},
    }


# Panels of the board of operations.


def _now(
    title: str, expression: str, *, legend: str = "", about: str = "", mappings: Mapping[str, Json] | None = None
) -> Json:
    targets = [_promql("A", expression, legend, instant=True)]
    return _stat(title, about, PROMETHEUS, targets, unit="none", calc="lastNotNull", mappings=mappings)


def _series(title: str, *expressions: str, legend: str = "", unit: str = "short") -> Json:
    targets = [_promql(ref, each, legend, instant=False) for ref, each in zip("ABCD", expressions, strict=False)]
    return _panel("timeseries", title, "", PROMETHEUS, targets, 7, fieldConfig=_fields(unit))


def _promql(ref: str, expression: str, legend: str, *, instant: bool) -> Json:
    return {
        "refId": ref,
        "datasource": PROMETHEUS,
        "expr": expression,
        "legendFormat": legend or "__auto",
        "instant": instant,
        "range": not instant,
    }


def written() -> Mapping[Path, str]:
    """The text of each file."""
    boards = {"traffic": traffic(), "operations": operations()}
    return {
        BOARDS / f"{name}.json": json.dumps(board, indent=2, ensure_ascii=False) + "\n"
        for name, board in boards.items()
    }


if __name__ == "__main__":
    BOARDS.mkdir(exist_ok=True)
    for file, text in written().items():
        file.write_text(text)
