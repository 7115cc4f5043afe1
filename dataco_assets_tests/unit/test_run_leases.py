"""Tests the leases of runs, on a real Dagster instance (SQLite) with processes that are killed and paused."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.test_utils import create_run_for_test
from sqlalchemy.exc import OperationalError

from dataco_assets.definitions import build_defs
from dataco_assets.following import FollowingExecutor
from dataco_assets.jobs import INGEST_JOB
from dataco_assets.run_leases import LeasedExecutor, held_lease, lease_values
from dataco_assets.sensors import dead_runs, dead_runs_sensor
from dataco_assets.sensors.dead_runs import SILENT_SECONDS, LeaseWatch
from dataco_assets_tests.waiting import wait_until

STARTED = dg.DagsterRunStatus.STARTED


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    home = tmp_path / "dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as made:
        yield made


# The watch


def test_a_lease_that_does_not_change_is_soon_dead() -> None:
    watch = LeaseWatch()
    for second in range(0, 30, 10):
        watch = watch.updated({"a": "a 1", "b": f"b {second}"}, second)
        assert watch.dead() == []
    assert watch.updated({"a": "a 1", "b": "b 4"}, 30).dead() == ["a"]


def test_a_run_that_never_took_a_lease_is_dead_too() -> None:
    watch = LeaseWatch()
    for second in range(0, 40, 10):
        watch = watch.updated({"a": ""}, second)
    assert watch.dead() == ["a"]


@pytest.mark.parametrize("jump", [3_600.0, -3_600.0])
def test_a_clock_that_jumps_or_a_machine_that_slept_kills_nothing(jump: float) -> None:
    watch = LeaseWatch().updated({"a": "a 1"}, 0).updated({"a": "a 1"}, jump)
    assert watch.dead() == []
    assert watch.updated({"a": "a 2"}, jump + 10).dead() == []


def test_after_a_power_cut_what_was_seen_before_counts() -> None:
    """The cursor is from before; the first evaluation afterwards adds no more than one step."""
    watch = LeaseWatch.from_json(LeaseWatch().updated({"a": "a 1"}, 0).to_json())
    assert watch.updated({"a": "a 1"}, 600).dead() == []
    assert watch.updated({"a": "a 1"}, 600).updated({"a": "a 1"}, 610).updated({"a": "a 1"}, 620).dead() == ["a"]


# The lease


def test_a_held_lease_changes_and_then_stops_changing(instance: dg.DagsterInstance) -> None:
    with held_lease(instance, "0a1", renewal_seconds=0.02):
        seen: set[str] = set()
        wait_until(
            lambda: seen.update(lease_values(instance, ["0a1"]).values()) or len(seen) >= 3,
            seconds=10,
            what="the lease changes",
        )
    assert lease_values(instance, ["0a1"]) == lease_values(instance, ["0a1"])
    assert lease_values(instance, ["fff"]) == {}


def test_a_storage_that_fails_for_a_while_does_not_end_the_lease(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, failures = instance.run_storage.set_cursor_values, iter(range(2))

    def locked_at_first(pairs: dict[str, str]) -> None:
        for _ in failures:
            raise OperationalError("UPDATE kvs", {}, Exception("database is locked"))
        store(pairs)

    monkeypatch.setattr(instance.run_storage, "set_cursor_values", locked_at_first)
    with held_lease(instance, "0a1", renewal_seconds=0.02):
        wait_until(lambda: bool(lease_values(instance, ["0a1"])), seconds=10, what="the lease is taken after all")


def test_every_job_of_the_code_location_holds_a_lease_while_it_works() -> None:
    repository = build_defs().get_repository_def()
    names = {job.executor_def.name for job in repository.get_all_jobs()}
    assert names == {"leased_in_process", "following_in_process"}
    assert issubclass(FollowingExecutor, LeasedExecutor)


# The sensor


class Clock:
    """The sensor's clock."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def time(self) -> float:
        return self.now


class Observer:
    """Evaluates the sensor repeatedly, as the daemon would."""

    def __init__(self, instance: dg.DagsterInstance, clock: Clock) -> None:
        self._instance, self._clock, self._cursor = instance, clock, None

    def look(self, times: int = 1) -> str:
        said = ""
        for _ in range(times):
            context = dg.build_sensor_context(self._instance, cursor=self._cursor)
            result = dead_runs_sensor(context)
            assert isinstance(result, dg.SkipReason)
            said, self._cursor = str(result.skip_message), context.cursor
            self._clock.now += 10
        return said


@pytest.fixture
def observer(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Observer:
    clock = Clock()
    monkeypatch.setattr(dead_runs, "time", clock)
    return Observer(instance, clock)


def _status(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


_PROGRAM = """
import pathlib, sys, threading
import dagster as dg
from dataco_assets.run_leases import leased_executor

end = pathlib.Path(sys.argv[1])

@dg.op
def wait_for_the_end() -> None:
    while not end.exists():
        threading.Event().wait(0.05)

@dg.job(executor_def=leased_executor)
def work() -> None:
    wait_for_the_end()

if __name__ == "__main__":
    with dg.DagsterInstance.get() as instance:
        from dagster._core.execution.api import create_execution_plan, execute_run
        from dagster import reconstructable
        run = instance.create_run_for_job(work)
        print(run.run_id, flush=True)
        execute_run(dg.reconstructable(work), run, instance)
"""


@pytest.fixture
def worker(instance: dg.DagsterInstance, tmp_path: Path) -> "Iterator[Worker]":
    started = Worker(instance, tmp_path)
    yield started
    started.process.kill()
    started.process.wait(30)


class Worker:
    """A process that executes a run until it is told to end."""

    def __init__(self, instance: dg.DagsterInstance, folder: Path) -> None:
        self._end = folder / "end"
        program = folder / "work_program.py"
        program.write_text(_PROGRAM)
        self.process = subprocess.Popen(
            [sys.executable, str(program), str(self._end)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self.process.stdout is not None
        self.run_id = self.process.stdout.readline().strip()
        wait_until(lambda: self.run_id in lease_values(instance, [self.run_id]), seconds=60, what="the lease is taken")

    def pause(self) -> None:
        """Stops the process while it holds no write lock of SQLite, with which no other process could write."""

        def stopped_without_lock() -> bool:
            self.process.send_signal(signal.SIGSTOP)
            locks = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
            if any("WRITE" in lock and str(self.process.pid) in lock for lock in locks):
                self.process.send_signal(signal.SIGCONT)
                return False
            return True

        wait_until(stopped_without_lock, seconds=30, what="the process is stopped between two transactions")

    def finish(self) -> int:
        self._end.touch()
        return self.process.wait(60)


def test_the_run_of_a_killed_process_is_failed(
    instance: dg.DagsterInstance, worker: Worker, observer: Observer
) -> None:
    os.kill(worker.process.pid, signal.SIGKILL)
    worker.process.wait(30)
    assert _status(instance, worker.run_id) == STARTED, "nobody else noticed"
    observer.look(3)
    assert _status(instance, worker.run_id) == STARTED
    assert worker.run_id in observer.look()
    assert _status(instance, worker.run_id) == dg.DagsterRunStatus.FAILURE
    assert observer.look() == "No run is in progress."
    (event,) = instance.all_logs(worker.run_id, of_type=dg.DagsterEventType.RUN_FAILURE)
    assert f"has not renewed the run's lease for {SILENT_SECONDS:.0f} s" in (event.message or event.user_message)


def test_the_run_of_a_paused_process_is_failed_and_the_process_may_go_on(
    instance: dg.DagsterInstance, worker: Worker, observer: Observer
) -> None:
    worker.pause()
    observer.look(4)
    assert _status(instance, worker.run_id) == dg.DagsterRunStatus.FAILURE
    worker.process.send_signal(signal.SIGCONT)
    assert worker.finish() == 0, "it ends as always"
    assert _status(instance, worker.run_id).value in {"SUCCESS", "FAILURE"}


def test_a_run_that_works_on_is_left_alone(instance: dg.DagsterInstance, worker: Worker, observer: Observer) -> None:
    def renewed(before: dict[str, str]) -> bool:
        return lease_values(instance, [worker.run_id]) != before

    observer.look(3)
    before = lease_values(instance, [worker.run_id])
    wait_until(lambda: renewed(before), seconds=30, what="the lease is renewed")
    observer.look(1)
    assert _status(instance, worker.run_id) == STARTED
    assert worker.finish() == 0
    assert _status(instance, worker.run_id) == dg.DagsterRunStatus.SUCCESS


def test_a_dead_run_that_somebody_cancels_is_cancelled(
    instance: dg.DagsterInstance, worker: Worker, observer: Observer
) -> None:
    worker.process.kill()
    run = instance.get_run_by_id(worker.run_id)
    assert run is not None
    instance.report_run_canceling(run)
    observer.look(4)
    assert _status(instance, worker.run_id) == dg.DagsterRunStatus.CANCELED


def test_runs_of_others_that_take_no_lease_are_left_alone(instance: dg.DagsterInstance, observer: Observer) -> None:
    run = create_run_for_test(instance, job_name=INGEST_JOB, status=STARTED)
    observer.look(10)
    assert _status(instance, run.run_id) == STARTED
