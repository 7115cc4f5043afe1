"""Tests which restatements the maintenance removes, on a fake index, and that no hour looks other to readers by it."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

import dagster as dg
import pytest

from dataco_assets.clicks.finality import Finality, finality
from dataco_assets.clients.elasticsearch import BulkOutcome, SearchClient
from dataco_assets.definitions import build_defs
from dataco_assets.elasticsearch_errors import IndexMissing
from dataco_assets.index import restatements
from dataco_assets.index.restatements import index_name, remove_old
from dataco_assets.maintenance import remove_old_restatements
from dataco_assets.settings import Settings
from dataco_assets_tests.site_traffic import restatement

HOUR, DAY = 3_600_000, 86_400_000
NOW = 1_800_000_000_000 // HOUR * HOUR
CLIENT = cast("SearchClient", None)


class Index:
    """A fake index of restatements, and the calls of the module on it."""

    def __init__(self, times: Iterable[tuple[int, int]]) -> None:
        made = [restatement(hour, noted_at, "late_clicks", (1, 2), (1, 1)) for hour, noted_at in times]
        self.documents = {str(number): document for number, document in enumerate(made)}
        self.refreshed = False

    def scan_documents(
        self, _: SearchClient, indices: Sequence[str], query: Mapping[str, Any]
    ) -> Iterable[Mapping[str, Any]]:
        assert indices == [index_name("dataco-url-country")]
        limits = [clause["range"] for clause in query["bool"]["filter"]]
        assert all(limit.pop("format") == "epoch_millis" for each in limits for limit in each.values())
        for document_id, document in list(self.documents.items()):
            if all(epoch_ms(document[name]) < limit["lt"] for each in limits for name, limit in each.items()):
                yield {"_id": document_id}

    def bulk(self, _: SearchClient, operations: Iterable[Mapping[str, Any]]) -> BulkOutcome:
        done = 0
        for operation in operations:
            assert operation["_op_type"] == "delete"
            assert operation["_index"] == index_name("dataco-url-country")
            del self.documents[operation["_id"]]
            done += 1
        return BulkOutcome(done=done)

    def refresh(self, _: SearchClient, indices: Sequence[str]) -> None:
        assert indices == [index_name("dataco-url-country")]
        self.refreshed = True

    def hours(self) -> set[int]:
        return {epoch_ms(document["hour"]) for document in self.documents.values()}


def epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).astimezone(UTC).timestamp() * 1000)


def installed(monkeypatch: pytest.MonkeyPatch, times: Iterable[tuple[int, int]]) -> Index:
    index = Index(times)
    for name in ("scan_documents", "bulk", "refresh"):
        monkeypatch.setattr(restatements, name, getattr(index, name))
    return index


def kept(*, restatements_days: int, clicks_days: int) -> Settings:
    return Settings.load().model_copy(
        update={"restatement_retention_days": restatements_days, "clicks_ttl_days": clicks_days}
    )


@pytest.mark.parametrize(
    ("hour_days", "noted_days", "stays"),
    [
        (40, 39, True),  # the hour is expired, the record is not old
        (40, 30, True),
        (200, 100, True),  # exactly as old as records are kept
        (200, 101, False),
        (200, 199, False),
        (30, 200, True),  # noted by a clock that was wrong: the hour has been expired for less than a day
        (29, 200, True),  # the same, and it is not expired
    ],
)
def test_old_restatements_of_expired_hours_go(
    monkeypatch: pytest.MonkeyPatch, hour_days: int, noted_days: int, *, stays: bool
) -> None:
    index = installed(monkeypatch, [(NOW - hour_days * DAY, NOW - noted_days * DAY)])
    assert remove_old(CLIENT, kept(restatements_days=100, clicks_days=30), now_ms=NOW) == (not stays)
    assert bool(index.documents) is stays
    assert index.refreshed


def test_no_hour_looks_other_to_readers_by_the_removal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is kept for how long; also to a reader whose clock is hours behind."""
    hours = range(NOW - 60 * DAY, NOW - 2 * HOUR, HOUR)
    for restatements_days, clicks_days in ((7, 1), (7, 30), (30, 7), (40, 40)):
        index = installed(monkeypatch, [(hour, hour + 2 * HOUR) for hour in hours])
        removed = remove_old(CLIENT, kept(restatements_days=restatements_days, clicks_days=clicks_days), now_ms=NOW)
        gone = set(hours) - index.hours()
        assert removed == len(gone) > 0
        for now in (NOW - 20 * HOUR, NOW):
            states = {finality(hour, now, is_restated=True, retention_ms=clicks_days * DAY) for hour in gone}
            assert states == {Finality.EXPIRED}


def test_without_the_index_there_is_nothing_to_remove(monkeypatch: pytest.MonkeyPatch) -> None:
    index = installed(monkeypatch, [])

    def missing(*_: object) -> None:
        raise IndexMissing("no such index")

    monkeypatch.setattr(restatements, "scan_documents", missing)
    assert remove_old(CLIENT, Settings.load(), now_ms=NOW) == 0
    assert not index.refreshed


def test_the_nightly_job_removes_them(monkeypatch: pytest.MonkeyPatch) -> None:
    index = installed(monkeypatch, [(NOW - 3_000 * DAY, NOW - 2_999 * DAY)])
    resources = build_defs(settings=Settings.load()).resources or {}
    needed = {name: resources[name] for name in ("settings", "elasticsearch")}
    with dg.build_op_context(resources=needed) as context:
        remove_old_restatements(context)
    assert not index.documents
    assert "remove_old_restatements" in {
        node.name for node in build_defs().resolve_job_def("maintain_aggregates").nodes
    }
