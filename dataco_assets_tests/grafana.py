"""What Grafana's Elasticsearch data source asks and shows of a panel, without Grafana.

Written after the data source's own translation of queries (`pkg/tsdb/elasticsearch` of Grafana 13): metrics and bucket
aggregations become aggregations named by their ids, within the board's range and the query string. Of what Grafana does
with the answer there is what the boards use: `reduce` and `math` expressions, reductions of a series, and the columns
of a table with quotients of two.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
Table = list[dict[str, Any]]

_REDUCERS: Mapping[str, Callable[[Sequence[float]], float]] = {
    "sum": sum,
    "max": max,
    "lastNotNull": lambda values: values[-1],
}


@dataclass(frozen=True)
class Range:
    """What the board shows.

    Attributes:
        since_ms: Epoch ms.
        until_ms: Epoch ms, included.
        variables: Values of the board's variables.
    """

    since_ms: int
    until_ms: int
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Source:
    """A data source, as it is provisioned."""

    index: str
    time_field: str


Search = Callable[[str, Json], Any]
"""Sends a search, body and all, to an index, and returns the answer."""


def body_of(target: Json, source: Source, shown: Range) -> dict[str, Any]:
    """The search that a query becomes."""
    text = re.sub(r"\$(\w+)", lambda name: shown.variables[name[1]], target["query"])
    body: dict[str, Any] = {
        "size": 0,
        "query": {"bool": {"filter": [_range(source.time_field, shown), _query_string(text)]}},
    }
    if target["metrics"][0]["type"] == "raw_data":
        # Grafana sends the orders as an object, whose members come in alphabetical order.
        newest = {"order": "desc", "unmapped_type": "boolean"}
        return body | {
            "size": int(target["metrics"][0]["settings"]["size"]),
            "sort": {"_doc": {"order": "desc"}, source.time_field: newest},
            "docvalue_fields": [source.time_field],
            "script_fields": {},
            "fields": [{"field": source.time_field, "format": "strict_date_optional_time_nanos"}],
        }
    assert target["bucketAggs"], "Grafana refuses a query without a bucket aggregation"
    aggregations = {
        metric["id"]: {metric["type"]: {"field": metric["field"]}}
        for metric in target["metrics"]
        if metric["type"] != "count"
    }
    for bucket in reversed(target["bucketAggs"]):
        aggregations = {bucket["id"]: {**_bucket(bucket, shown), "aggs": aggregations}}
    return body | {"aggs": aggregations}


def _range(field: str, shown: Range) -> Json:
    return {"range": {field: {"gte": shown.since_ms, "lte": shown.until_ms, "format": "epoch_millis"}}}


def _query_string(text: str) -> Json:
    return {"query_string": {"analyze_wildcard": True, "query": text}}


def _bucket(bucket: Json, shown: Range) -> dict[str, Any]:
    settings = bucket["settings"]
    if bucket["type"] == "terms":
        return {
            "terms": {
                "field": bucket["field"],
                "size": int(settings["size"]),
                "order": {settings["orderBy"]: settings["order"]},
                "min_doc_count": int(settings["min_doc_count"]),
            }
        }
    assert bucket["type"] == "date_histogram", bucket
    return {
        "date_histogram": {
            "field": bucket["field"],
            "fixed_interval": settings["interval"],
            "min_doc_count": int(settings["min_doc_count"]),
            "extended_bounds": {"min": shown.since_ms, "max": shown.until_ms},
            "format": "epoch_millis",
        }
    }


def variable_body(definition: Json, source: Source, shown: Range) -> dict[str, Any]:
    """The search for the values of a variable."""
    terms = {"field": definition["field"], "size": 500, "order": {"_key": "asc"}}
    return {
        "size": 0,
        "query": {"bool": {"filter": [_range(source.time_field, shown)]}},
        "aggs": {"1": {"terms": terms}},
    }


def annotation_body(annotation: Json, shown: Range) -> dict[str, Any]:
    """The search for the marks on the trend."""
    ranges = {"bool": {"should": [_range(annotation["timeField"], shown)], "minimum_should_match": 1}}
    return {
        "size": 10_000,
        "query": {"bool": {"filter": [ranges, {"query_string": {"query": annotation["target"]["query"]}}]}},
    }


class Panels:
    """The figures of panels.

    Args:
        search: Asks Elasticsearch.
        sources: The data sources by uid.
        shown: The range.
    """

    def __init__(self, search: Search, sources: Mapping[str, Source], shown: Range) -> None:
        self._search, self._sources, self._shown = search, sources, shown

    def figure(self, panel: Json) -> float:
        """The number of a panel that shows one."""
        (series,) = self.series(panel).values()
        (calc,) = panel["options"]["reduceOptions"]["calcs"]
        return _REDUCERS[calc](list(series.values()))

    def figures(self, panel: Json) -> dict[str, float]:
        """The numbers of a panel that reduces many series, by the names that are shown."""
        (calc,) = panel["options"]["reduceOptions"]["calcs"]
        names = {
            override["matcher"]["options"]: override["properties"][0]["value"]
            for override in panel["fieldConfig"]["overrides"]
        }
        return {
            names.get(name, name): _REDUCERS[calc](list(each.values())) for name, each in self.series(panel).items()
        }

    def series(self, panel: Json) -> dict[str, dict[int, float]]:
        """The series of a panel that are not hidden, by name; of a number the time is 0."""
        found: dict[str, dict[str, dict[int, float]]] = {}
        for target in panel["targets"]:
            found[target["refId"]] = self._asked(target) if "metrics" in target else _expressed(target, found)
        shown = [target for target in panel["targets"] if not target.get("hide")]
        return {name: each for target in shown for name, each in found[target["refId"]].items()}

    def _asked(self, target: Json) -> dict[str, dict[int, float]]:
        (histogram,) = target["bucketAggs"]
        answer = self.answer(target)["aggregations"][histogram["id"]]["buckets"]
        alias = target.get("alias") or "{{field}}"
        return {
            alias.replace("{{field}}", metric.get("field", "Count")): {
                bucket["key"]: _value(bucket, metric) for bucket in answer
            }
            for metric in target["metrics"]
        }

    def answer(self, target: Json) -> Any:
        """What Elasticsearch answers to a query."""
        source = self._sources[target["datasource"]["uid"]]
        return self._search(source.index, body_of(target, source, self._shown))

    def table(self, panel: Json) -> Table:
        """The rows of a table before they are limited and their columns renamed."""
        (target,) = panel["targets"]
        if target["metrics"][0]["type"] == "raw_data":
            return [hit["_source"] for hit in self.answer(target)["hits"]["hits"]]
        (terms,) = target["bucketAggs"]
        several = len(target["metrics"]) > 1
        rows = [
            {
                terms["field"]: bucket["key"],
                **{f"Sum {m['field']}" if several else "Sum": _value(bucket, m) for m in target["metrics"]},
            }
            for bucket in self.answer(target)["aggregations"][terms["id"]]["buckets"]
        ]
        for step in panel["transformations"]:
            if step["id"] == "calculateField":
                rows = [{**row, step["options"]["alias"]: _quotient(row, step["options"]["binary"])} for row in rows]
        return rows


def _value(bucket: Json, metric: Json) -> float:
    return bucket["doc_count"] if metric["type"] == "count" else bucket[metric["id"]]["value"]


def _quotient(row: Json, binary: Json) -> float | None:
    assert binary["operator"] == "/", binary
    left, right = (row[binary[side]["matcher"]["options"]] for side in ("left", "right"))
    return left / right if right else None


def _expressed(target: Json, found: Mapping[str, Mapping[str, Mapping[int, float]]]) -> dict[str, dict[int, float]]:
    """A server-side expression; each side of it is one series, as Grafana then needs no equal labels."""
    if target["type"] == "reduce":
        (series,) = found[target["expression"]].values()
        return {target["refId"]: {0: _REDUCERS[target["reducer"]](list(series.values()))}}
    parts = re.fullmatch(r"\$(\w) ([-/]) \$(\w)", target["expression"])
    assert parts, target
    (left,), (right,) = found[parts[1]].values(), found[parts[3]].values()
    computed = {
        at: left[at] - right[at] if parts[2] == "-" else left[at] / right[at] if right[at] else float("nan")
        for at in left
        if at in right
    }
    return {target["refId"]: computed}
