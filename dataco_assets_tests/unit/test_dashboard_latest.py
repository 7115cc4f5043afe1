"""Tests that a question is asked once for all who want to know, and that nobody waits for it for long."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from dataco_assets.dashboard import latest as module
from dataco_assets.dashboard.latest import Latest, NoAnswerYet
from dataco_assets.errors import DatacoError
from dataco_assets_tests.waiting import wait_until

LONG = 3_600.0


class Away(DatacoError):
    """A server does not answer."""


class Server:
    """A server that answers when it may, with the number of the question."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = threading.Event()
        self.may_answer.set()

    def ask(self) -> int:
        self.asked += 1
        number = self.asked
        assert self.may_answer.wait(60)
        return number


def test_a_fresh_answer_is_given_to_everybody() -> None:
    server = Server()
    latest = Latest(server.ask, fresh_seconds=LONG)
    with ThreadPoolExecutor(8) as viewers:
        answers = [each.value for each in viewers.map(lambda _: latest(), range(50))]
    assert answers == [1] * 50
    assert server.asked == 1


def test_an_old_answer_is_asked_for_again() -> None:
    latest = Latest(Server().ask, fresh_seconds=0.0)
    assert [latest().value for _ in range(3)] == [1, 2, 3]


def test_nobody_waits_for_a_server_that_hangs_and_nobody_asks_it_twice() -> None:
    server = Server()
    server.may_answer.clear()
    latest = Latest(server.ask, fresh_seconds=LONG, patience_seconds=0.2)
    began = time.monotonic()
    for _ in range(20):
        with pytest.raises(NoAnswerYet, match=r"no answer within 0\.2 s"):
            latest()
    assert time.monotonic() - began < 2, "only the first one waits"
    assert server.asked == 1
    server.may_answer.set()
    wait_until(lambda: _value(latest) == 1, seconds=10, what="the answer")
    assert server.asked == 1


def test_an_earlier_answer_stands_for_one_that_takes_long() -> None:
    server = Server()
    latest = Latest(server.ask, fresh_seconds=0.0, patience_seconds=0.2)
    first = latest()
    server.may_answer.clear()
    assert latest() == first
    assert server.asked == 2
    server.may_answer.set()
    wait_until(lambda: latest().value > 1, seconds=10, what="the newer answer")


def test_an_earlier_answer_does_not_stand_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STALE_SECONDS", 0.0)
    server = Server()
    latest = Latest(server.ask, fresh_seconds=0.0, patience_seconds=0.1)
    latest()
    server.may_answer.clear()
    with pytest.raises(NoAnswerYet):
        latest()
    server.may_answer.set()


def test_an_error_is_an_answer() -> None:
    asked: list[int] = []

    def fail() -> int:
        asked.append(1)
        raise Away("the server does not answer")

    latest = Latest(fail, fresh_seconds=LONG)
    for _ in range(3):
        with pytest.raises(Away):
            latest()
    assert len(asked) == 1


def _value(latest: Latest[int]) -> int | None:
    try:
        return latest().value
    except NoAnswerYet:
        return None
