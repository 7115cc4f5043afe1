"""Simulates days of clicks with refreshes, killed runs and erasures; in the end `verify` finds no difference.

Six days in `make test`. In `make soak` forty; three with the aggregates on S3 and on HDFS; and six with each of six
planted bugs, of which it must find every one.
Everything is drawn from a seed. The functions of the drain and of the assets run on real servers; only the clicks are
made up.
"""

import random
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from dataco_assets.aggregates.columns import Aggregate
from dataco_assets.aggregates.reading import stored_hours
from dataco_assets.aggregates.table import TablePlace
from dataco_assets.assets import url_country_aggregates
from dataco_assets.clicks.hour import HOUR_MS, scan_span, touched_hours
from dataco_assets.clients.elasticsearch import open_client
from dataco_assets.index import few_documents, publication
from dataco_assets.index.documents import Changes
from dataco_assets.ingest.drain import Step, policy_from
from dataco_assets.ledgers.hours import HourLedger
from dataco_assets.privacy.erasure import erase
from dataco_assets.verification.compare import Outcome
from dataco_assets_tests.platforms import Platform, click
from dataco_assets_tests.refreshes import STEPS, Died, Refreshes, counted, die, failure_of, interpose
from dataco_assets_tests.s3 import running_s3, use_credentials
from local_stack.ports import LOOPBACK
from local_stack.stack import Stack

pytestmark = pytest.mark.stack

MIDNIGHT = 1_589_068_800_000
"""2020-05-10 00:00 UTC: forty days from here are in two months, hence in two indices."""
DAY = 24 * HOUR_MS
MINUTE = 60_000
LONGEST = 30 * MINUTE


@dataclass
class World:
    """The clicks of all visitors, and the order in which they are sent.

    Attributes:
        chance: The random numbers.
        days: Days of visits.
        clicks: Every click by event id: its user, and its message.
        order: Event ids in the order they are sent; some twice.
        erased: Users erased on the way.
        seen: How often each event happened to the platform.
    """

    chance: random.Random
    days: int
    clicks: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    order: list[str] = field(default_factory=list)
    erased: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)

    def count(self, what: str) -> None:
        """Counts an event."""
        self.seen[what] = self.seen.get(what, 0) + 1

    def left(self) -> int:
        """Clicks that must be stored at the end."""
        return sum(1 for user, _ in self.clicks.values() if user not in self.erased)

    def users(self) -> list[str]:
        """Users that were not erased."""
        return sorted({user for user, _ in self.clicks.values()} - self.erased)


def make_world(seed: int, days: int, visits: int) -> World:
    """Visits on every evening, many of them across the ends of hours, with gaps around 30 minutes."""
    chance = random.Random(seed)
    world = World(chance, days)
    sent: list[tuple[float, str]] = []
    for visit in range(visits):
        user = f"user-{chance.randrange(max(4, visits // 6))}"
        at = MIDNIGHT + chance.randrange(days) * DAY + 18 * HOUR_MS + chance.randrange(3 * HOUR_MS)
        country = chance.choice(["DE", "FR", "ZZ"])
        for number in range(chance.randrange(1, 10)):
            name = f"{visit}-{number}"
            page = f"https://shop.example/{chance.randrange(9)}"
            world.clicks[name] = user, click(name, at=at, user=user, url=page, country=country)
            # Most come soon, some days late, a few long before others that happened earlier.
            delay = chance.expovariate(1 / HOUR_MS) if chance.random() < 0.7 else chance.uniform(0, days * DAY)
            sent.append((at + delay, name))
            if chance.random() < 0.1:
                sent.append((at + delay + chance.uniform(0, 3 * DAY), name))
            at += chance.choice([chance.randrange(1, 20 * MINUTE), LONGEST - 1, LONGEST, LONGEST + 1])
    world.order = [name for _, name in sorted(sent)]
    return world


class Simulation:
    """Applies a world's events to a platform."""

    def __init__(self, world: World, platform: Platform, refreshes: Refreshes, turns: int) -> None:
        self.world = world
        self.chance = world.chance
        self.platform = platform
        self.refreshes = refreshes
        self.turns = turns
        size = -(-len(world.order) // (2 * turns))
        self.batches = [world.order[start : start + size] for start in range(0, len(world.order), size)]

    def run(self) -> None:
        """Applies all events, then refreshes until no hour is dirty."""
        for turn in range(self.turns):
            self.arrive()
            self.refresh()
            if turn % max(1, self.turns // 3) == self.turns // 4:
                self.erase()
        while len(self.batches) > 1:
            self.arrive()
        self.platform.drain()
        with pytest.MonkeyPatch.context() as patch:
            interpose(patch, "write the documents", before=lambda: self.arrive(death=0.0))
            self.refreshes.refresh(self.refreshes.dirty())
        self.refreshes.settle()

    def arrive(self, death: float = 0.25) -> None:
        """Drains the next clicks, if any are left; sometimes the drain is killed at one of its steps."""
        if not self.batches:
            return
        batch = self.batches.pop(0)
        self.platform.produce([self.world.clicks[name][1] for name in batch])
        if self.chance.random() < death:
            step = self.chance.choice(list(Step))
            with pytest.raises(Died):
                self.platform.drain_with(policy_from(self.platform.settings), on_step=_dying_at(step))
            self.world.count("drains that died")
        else:
            self.platform.drain()

    def refresh(self) -> None:
        """Refreshes a random range; meanwhile clicks arrive, the run is killed, or Elasticsearch does not answer."""
        hours, place, event = self.hours(), self.chance.choice(list(STEPS)), self.chance.random()
        if not hours:
            return
        with pytest.MonkeyPatch.context() as patch:
            if event < 0.5:
                interpose(patch, place, before=self.arrive)
                self.refreshes.refresh(hours)
                self.world.count("refreshes with clicks arriving")
            elif event < 0.75:
                interpose(patch, place, before=die)
                with pytest.raises(Died):
                    self.refreshes.refresh(hours)
                self.world.count("refreshes that died")
            elif event < 0.85:
                patch.setitem(open_client.__kwdefaults__ or {}, "retry_seconds", 0.1)
                self.refreshes.compute(hours)
                failure_of(lambda: self.refreshes.publish(hours, elasticsearch_url="http://127.0.0.1:1"))
                self.world.count("refreshes without Elasticsearch")
            else:
                self.refreshes.refresh(hours)
                self.world.count("refreshes")

    def hours(self) -> list[int]:
        """Some of the dirty hours, like the sensor; or all hours of a few days, like a backfill."""
        dirty = self.refreshes.dirty()
        if not dirty:
            return []
        if self.chance.random() < 0.3:
            start = self.chance.choice(dirty)
            return [start + n * HOUR_MS for n in range(self.chance.randrange(1, 72))]
        first = self.chance.randrange(len(dirty))
        return dirty[first : first + self.chance.randrange(1, 60)]

    def erase(self) -> None:
        """Erases a user who has clicked."""
        user = self.chance.choice(self.world.users())
        self.world.erased.add(user)
        erased = erase(self.platform.settings, self.platform.hbase, [user])
        self.world.count("erasures" if erased.clicks else "erasures of nothing yet")


def _dying_at(step: Step) -> Callable[[Step], None]:
    def on_step(reached: Step) -> None:
        if reached == step:
            raise Died

    return on_step


def _six_days() -> World:
    return make_world(seed=7, days=6, visits=150)


def test_six_days_in_any_order_are_true_at_rest(platform: Platform, refreshes: Refreshes) -> None:
    """The world of the planted bugs without one."""
    simulation = Simulation(_six_days(), platform, refreshes, turns=6)

    simulation.run()

    verdicts = refreshes.verdicts()
    assert [difference for verdict in verdicts for difference in verdict.differences] == []
    assert sum(verdict.clicks for verdict in verdicts) == simulation.world.left()
    assert refreshes.dirty() == []
    assert {"refreshes with clicks arriving", "refreshes that died", "erasures"} <= simulation.world.seen.keys()


@pytest.mark.soak
def test_forty_days_in_any_order_are_true_at_rest(platform: Platform, refreshes: Refreshes) -> None:
    world = make_world(seed=20200510, days=40, visits=900)
    assert 3_000 < len(world.clicks) < len(world.order)
    simulation = Simulation(world, platform, refreshes, turns=15)

    simulation.run()

    verdicts = refreshes.verdicts()
    assert [difference for verdict in verdicts for difference in verdict.differences] == []
    assert counted(verdicts, Outcome.EQUAL) == len(verdicts) > 150
    assert sum(verdict.clicks for verdict in verdicts) == world.left(), "every click, and nobody's who was erased"
    needed = {"drains that died", "refreshes with clicks arriving", "refreshes that died", "erasures"}
    assert needed <= world.seen.keys(), world.seen


@pytest.fixture(params=["s3", "hdfs"])
def shared_storage(
    request: pytest.FixtureRequest, stack: Stack, spark: SparkSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """Settings that put the aggregates where several machines would share them."""
    catalog = {"catalog_uri": f"sqlite:///{tmp_path}/catalog.db"}
    if request.param == "hdfs":
        yield catalog | {
            "aggregates_uri": f"hdfs://{LOOPBACK}:{stack.port('namenode.rpc')}/{tmp_path.name}/aggregates",
            "webhdfs_url": f"http://{LOOPBACK}:{stack.port('namenode.http')}",
        }
        return
    use_credentials(spark, monkeypatch)
    with running_s3(tmp_path) as server:
        server.create_bucket("aggregates")
        yield catalog | {"aggregates_uri": "s3://aggregates/hours", "s3_endpoint": server.endpoint}


@pytest.mark.soak
def test_a_short_simulation_with_aggregates_on_storage_that_machines_share(
    platform: Platform, spark: SparkSession, shared_storage: dict[str, str]
) -> None:
    there = Platform(platform.settings.model_copy(update=shared_storage), platform.hbase)
    world, refreshes = make_world(seed=3, days=3, visits=60), Refreshes(there, spark)

    Simulation(world, there, refreshes, turns=3).run()

    verdicts = refreshes.verdicts()
    assert [difference for verdict in verdicts for difference in verdict.differences] == []
    assert sum(verdict.clicks for verdict in verdicts) == world.left()
    assert stored_hours(TablePlace.of(there.settings)), "the hours are there"


def _without_look_ahead(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(url_country_aggregates, "scan_span", lambda *run: (scan_span(*run)[0], run[-1] + HOUR_MS))


def _without_look_behind(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(url_country_aggregates, "scan_span", lambda *run: (run[0], scan_span(*run)[1]))


def _hours_after_are_not_marked(patch: pytest.MonkeyPatch) -> None:
    def never_after(time: int) -> list[int]:
        return [hour for hour in touched_hours(time) if hour <= time]

    patch.setattr("dataco_assets.ledgers.hours.touched_hours", never_after)


def _done_is_the_newest_generation(patch: pytest.MonkeyPatch) -> None:
    honest = HourLedger.set_done

    def newest(self: HourLedger, generations: Any) -> None:
        honest(self, {hour: state.dirty for hour, state in self.read(generations).items()})

    patch.setattr(HourLedger, "set_done", newest)


def _stale_documents_are_kept(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(publication, "delete_stale", lambda *_: 0)
    patch.setattr(publication, "verify_hours", lambda *_: [])  # it would catch this bug before the hour counts as done


def _changed_documents_are_taken_for_unchanged(patch: pytest.MonkeyPatch) -> None:
    honest = few_documents.changes

    def only_new(aggregate: Aggregate, wanted: Any, stored: Any, rewritten: Collection[int]) -> Changes:
        found = honest(aggregate, wanted, stored, rewritten)
        return replace(found, write={key: each for key, each in found.write.items() if key not in stored})

    patch.setattr(few_documents, "changes", only_new)
    patch.setattr(publication, "verify_hours", lambda *_: [])  # it would catch this bug before the hour counts as done


@pytest.mark.soak
@pytest.mark.parametrize(
    "bug",
    [
        _without_look_ahead,
        _without_look_behind,
        _hours_after_are_not_marked,
        _done_is_the_newest_generation,
        _stale_documents_are_kept,
        _changed_documents_are_taken_for_unchanged,
    ],
)
def test_a_planted_bug_is_found(
    platform: Platform,
    refreshes: Refreshes,
    monkeypatch: pytest.MonkeyPatch,
    bug: Callable[[pytest.MonkeyPatch], None],
) -> None:
    bug(monkeypatch)
    simulation = Simulation(_six_days(), platform, refreshes, turns=6)

    simulation.run()

    assert refreshes.differences(), f"{bug.__name__} went unnoticed; what happened: {simulation.world.seen}"
