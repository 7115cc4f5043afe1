"""Tests changes of the topic: re-created, cut by retention, its group deleted, transactions among the clicks."""

from collections.abc import Callable
from dataclasses import replace
from itertools import cycle
from typing import TYPE_CHECKING

import pytest
from confluent_kafka.admin import AdminClient

from dataco_assets_tests.faults.conftest import World
from dataco_assets_tests.faults.judge import look, read_ends, read_log
from dataco_assets_tests.faults.worker import GAVE_UP
from dataco_assets_tests.waiting import wait_until

if TYPE_CHECKING:
    from concurrent.futures import Future

pytestmark = [pytest.mark.stack, pytest.mark.faults]


def test_retention_that_overtakes_is_a_loud_loss_and_then_skipped(world: World) -> None:
    world.traffic.send(3_000)
    world.drain()
    log = read_log(world.platform)
    world.traffic.send_in_vain(1_500)
    world.platform.delete_records(read_ends(world.platform))
    world.traffic.send(3_000)
    before = look(world.platform)

    failed = world.worker("--once")
    assert failed.wait() == GAVE_UP
    assert "were removed by retention" in failed.log()
    assert look(world.platform).ledger == before.ledger
    assert world.drain("--on-data-loss", "skip")["skipped"] == 3

    world.judge(at_least=6_000, log=log + read_log(world.platform))
    account = world.platform.account()
    assert account.problems == ()
    assert account.counts.lost == 1_500
    world.note("retention overtakes: loud, then skipped", times=1, in_flight=4_500)


def test_re_created_topic_is_a_loud_loss_and_then_skipped(world: World) -> None:
    topic = world.platform.settings.clicks_topic
    world.traffic.send(3_000)
    world.drain()
    world.judge(at_least=3_000)
    before = look(world.platform)
    world.traffic.send_in_vain(1_500)
    world.platform.admin.delete_topic(topic)
    wait_until(_created(world, topic), seconds=60, what="the topic can be created again")
    world.traffic.send(3_000)

    failed = world.worker("--once")
    assert failed.wait() == GAVE_UP
    assert "deleted and created again" in failed.log()
    assert look(world.platform) == replace(before, ends=read_ends(world.platform))
    assert world.drain("--on-data-loss", "skip")["skipped"] == 3

    after = look(world.platform)
    truth = world.traffic.truth
    assert sorted(row.event_id for row in after.rows) == sorted(truth.times)
    assert after.ledger == after.ends
    assert after.rejected_values == truth.broken
    account = world.platform.account()
    assert account.problems == ()
    assert len([note for note in account.notes if "created anew" in note.what]) == 3
    world.note("topic deleted and created again: loud, then skipped", times=1, in_flight=4_500)


def test_deleted_group_changes_nothing(world: World) -> None:
    admin = _admin(world)
    for _ in range(3):
        world.traffic.send(2_000)
        world.drain()
        _done(*admin.delete_consumer_groups([world.platform.settings.kafka_group]).values())
    world.traffic.send(2_000)
    in_flight = world.in_flight()
    result = world.drain()

    assert result["stored"] + result["rejected"] == 2_000, "nothing is read twice: the ledger is the truth"
    world.judge(at_least=8_000)
    world.note("consumer group deleted", times=3, in_flight=in_flight)


def test_transactions_committed_and_rolled_back_under_load(world: World) -> None:
    in_flight = 0
    with world.traffic.steady(500) as load, world.crew() as crew:
        for _, commit in zip(range(16), cycle([True, False]), strict=False):
            world.traffic.transaction(500, commit=commit)
            in_flight = max(in_flight, world.in_flight())
        load.end()
        crew.wait_drained()
    world.judge(at_least=4_000)
    world.note("transactions rolled back among committed ones", times=8, in_flight=in_flight)


def _admin(world: World) -> AdminClient:
    return AdminClient({"bootstrap.servers": world.platform.settings.kafka_bootstrap_servers})


def _done(*futures: "Future[object]") -> None:
    for future in futures:
        future.result(30)


def _created(world: World, topic: str) -> Callable[[], bool]:
    """Whether a topic was created; it still exists for a while after its deletion, which runs in the background."""
    return lambda: world.platform.admin.create_topic(topic, partitions=3, replication=1, config={})
