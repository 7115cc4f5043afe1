"""Tests when a run follows the topic, what ends that, and what a run of several rounds is to Dagster."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run

from dataco_assets import following
from dataco_assets.clicks.hour import HOUR_MS, hour_from_key, hour_key
from dataco_assets.following import (
    FOLLOW_TAG,
    SLOW_TAG,
    Follower,
    Situation,
    following_executor,
    reason_to_end,
)
from dataco_assets.resources.spark import SparkResource
from dataco_assets.settings import settings

TEN = hour_from_key("2026-01-01-10:00")
FOLLOWER = Follower(frozenset({TEN}), TEN / 1000 + 3_600)
AT_FORTY = Situation(TEN / 1000 + 2_400, 9.5, due_in_seconds=10.0, waiting=50_000)


def test_a_run_follows_for_as_long_as_its_tag_says() -> None:
    tags = {"dagster/partition": hour_key(TEN), FOLLOW_TAG: "600"}
    assert Follower.of(tags, 1_000.0) == Follower(frozenset({TEN}), 1_600.0)
    assert Follower.of({"dagster/partition": hour_key(TEN)}, 1_000.0) is None


def test_it_goes_on_while_nothing_else_has_to_come_to_its_turn() -> None:
    assert reason_to_end(FOLLOWER, AT_FORTY) == ""


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"is_going": False}, "ended from outside"),
        ({"now": TEN / 1000 + 3_600}, "for long enough"),
        ({"now": TEN / 1000 + 1_799}, "belong to other hours"),  # a click may still change the hour before
        ({"now": TEN / 1000 + 3_599.9, "others_wait": True}, "Another run waits"),
        ({"round_seconds": 60.1}, "The last round took 60 s"),
        ({"due_in_seconds": 10.1}, "refreshed again in 10 s"),
        ({"waiting": 50_001}, "50,001 clicks wait"),
        ({"drain_stores": False}, "Kafka Connect"),
        ({"readers_have_live": True}, "live"),
    ],
)
def test_it_ends_for_the_sake_of(changed: dict[str, Any], reason: str) -> None:
    assert reason in reason_to_end(FOLLOWER, replace(AT_FORTY, **changed))


def test_the_next_hour_is_the_next_runs() -> None:
    longer = replace(FOLLOWER, until=FOLLOWER.until + HOUR_MS)
    assert "belong to other hours" in reason_to_end(longer, replace(AT_FORTY, now=TEN / 1000 + 3_600))


@pytest.fixture
def instance(tmp_path: Any) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as made:
        yield made


@pytest.fixture
def reasons(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What a run finds after each round; it has to be filled."""
    found: list[str] = []
    monkeypatch.setattr(following, "_wait_for_clicks", lambda *_: found.pop(0))
    return found


def executed(
    instance: dg.DagsterInstance, work: Callable[[], None], tags: dict[str, str]
) -> tuple[dg.DagsterRunStatus, dict[str, str], list[str]]:
    """Executes a run of two steps; returns its status, its tags, and the steps that succeeded."""

    @dg.op
    def first() -> None:
        work()

    @dg.op(ins={"after": dg.In(dg.Nothing)})
    def second() -> None:
        pass

    @dg.job(executor_def=following_executor)
    def both() -> None:
        second(first())

    run = instance.create_run_for_job(both, tags=tags)
    execute_run(InMemoryJob(both), run, instance)
    ended = instance.get_run_by_id(run.run_id)
    assert ended is not None
    steps = [str(log.step_key) for log in instance.all_logs(run.run_id, of_type=dg.DagsterEventType.STEP_SUCCESS)]
    return ended.status, dict(ended.tags), steps


def test_a_run_repeats_its_steps_in_their_order_and_succeeds(instance: dg.DagsterInstance, reasons: list[str]) -> None:
    reasons += ["", "", "Enough."]
    status, tags, steps = executed(instance, lambda: None, {FOLLOW_TAG: "600"})
    assert (status, steps) == (dg.DagsterRunStatus.SUCCESS, ["first", "second"] * 3)
    assert SLOW_TAG not in tags


def test_a_run_without_the_tag_does_its_steps_once(instance: dg.DagsterInstance, reasons: list[str]) -> None:
    status, _, steps = executed(instance, lambda: None, {})
    assert (status, steps) == (dg.DagsterRunStatus.SUCCESS, ["first", "second"])
    assert not reasons


def test_a_run_that_fails_in_a_later_round_fails_and_ends(instance: dg.DagsterInstance, reasons: list[str]) -> None:
    reasons += [""]
    outcomes = iter([1, 0])
    status, _, steps = executed(instance, lambda: print(1 // next(outcomes)), {FOLLOW_TAG: "600"})
    assert (status, steps) == (dg.DagsterRunStatus.FAILURE, ["first", "second"])
    assert next(outcomes, None) is None


def test_a_slow_round_is_noted_for_the_sensors(
    instance: dg.DagsterInstance, reasons: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following, "LONGEST_ROUND_SECONDS", 0.0)
    reasons += ["Too slow."]
    _, tags, _ = executed(instance, lambda: None, {FOLLOW_TAG: "600"})
    assert SLOW_TAG in tags


class _Session:
    """Stands for a session of Spark."""

    stopped = 0

    def stop(self) -> None:
        self.stopped += 1


@pytest.mark.parametrize("follows", [True, False])
def test_the_rounds_of_a_run_share_one_session_which_ends_with_the_run(
    instance: dg.DagsterInstance, reasons: list[str], follows: bool
) -> None:
    started: list[_Session] = []
    used: list[object] = []

    class Starting(SparkResource):
        def _started(self) -> Any:
            started.append(_Session())
            return started[-1]

    @dg.op
    def work(spark: SparkResource) -> None:
        assert sum(each.stopped for each in started) == 0
        used.append(spark.session)

    @dg.job(executor_def=following_executor, resource_defs={"spark": Starting(settings=settings())})
    def job() -> None:
        work()

    reasons += ["", "", "Enough."]
    run = instance.create_run_for_job(job, tags={FOLLOW_TAG: "600"} if follows else {})
    assert execute_run(InMemoryJob(job), run, instance).success
    assert used == started * (3 if follows else 1)
    assert [each.stopped for each in started] == [1]
