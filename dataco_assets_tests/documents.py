"""The documents behind an alias, read with nothing but HTTP, and compared with the oracle's rows."""

import json
import urllib.request
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import pytest

from dataco_assets_tests import oracle


def read_documents(
    elasticsearch_url: str, alias: str, by: Sequence[str] = oracle.PAGES
) -> dict[oracle.Key, dict[str, Any]]:
    """Every document behind the alias by hour (epoch ms) and group.

    Raises:
        AssertionError: two documents have the same hour and group.
    """
    found: dict[oracle.Key, dict[str, Any]] = {}
    after: list[Any] | None = None
    url = f"{elasticsearch_url}/{alias}/_search"
    while True:
        body: dict[str, Any] = {
            "size": 5_000,
            "sort": [{name: "asc"} for name in ("hour", *by)],
            **({"search_after": after} if after else {}),
        }
        request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=30) as reply:  # noqa: S310  # loopback
            hits = json.load(reply)["hits"]["hits"]
        for hit in hits:
            source = hit["_source"]
            hour_ms = round(datetime.fromisoformat(source["hour"]).timestamp() * 1000)
            key = (hour_ms, *(source[name] for name in by))
            assert key not in found
            found[key] = source
        if not hits:
            return found
        after = hits[-1]["sort"]


def compare_documents(
    found: Mapping[oracle.Key, Mapping[str, Any]], expected: Mapping[oracle.Key, oracle.OracleRow], *, clicks: int
) -> None:
    """Compares documents with the rows of the oracle, measure by measure.

    Args:
        found: What the alias holds.
        expected: What the oracle computed.
        clicks: How many clicks both must count, known without reading any.

    Raises:
        AssertionError: they differ.
    """
    assert sum(row.click_count for row in expected.values()) == clicks, "a pass must not be vacuous"
    assert found.keys() == expected.keys()
    for key, row in expected.items():
        document = found[key]
        assert document["click_count"] == row.click_count, key
        assert document["unique_users"] == row.unique_users, key
        assert document["entering_users"] == row.entering_users, key
        assert (document["entries"], document["exits"], document["bounces"]) == (row.entries, row.exits, row.bounces)
        assert document["bot_clicks"] == row.bot_clicks, key
        assert document.get("time_spent_buckets", {}) == row.time_spent_buckets, key
        assert document["time_spent_samples"] == row.time_spent_samples, key
        assert document["time_spent_seconds_sum"] == pytest.approx(row.time_spent_seconds_sum), key
        if row.average_time_spent_seconds is None:
            assert document.get("average_time_spent_seconds") is None, key
        else:
            assert document["average_time_spent_seconds"] == pytest.approx(row.average_time_spent_seconds), key
        if "page" in document:
            assert document["host"] == urlsplit(document["page"]).hostname, key
