"""The latest answer to a question that may take long, for pages that many look at and that must not wait for it.

A server that hangs takes a thread of its own, and of the page only a few seconds once.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, TypeVar

from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError

T = TypeVar("T")

PATIENCE_SECONDS: Final = 3.0
_STALE_SECONDS: Final = 60.0


class NoAnswerYet(DatacoError):
    """A question was not answered while a page waited for it."""


@dataclass(frozen=True)
class Answer(Generic[T]):
    """An answer.

    Attributes:
        value: What was answered.
        at_ms: When it had been, epoch ms.
    """

    value: T
    at_ms: int


class Latest(Generic[T]):
    """Asks a question again when its last answer is old, once at a time however many want to know.

    Args:
        question: Gives the answer or raises a `DatacoError`, which is an answer, too.
        fresh_seconds: How long an answer is given without asking again.
        patience_seconds: How long to wait for an answer. After that an earlier one is given, if it is no older than a
            minute.
    """

    def __init__(
        self, question: Callable[[], T], *, fresh_seconds: float, patience_seconds: float = PATIENCE_SECONDS
    ) -> None:
        self._question = question
        self._fresh_seconds = fresh_seconds
        self._patience_seconds = patience_seconds
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="latest")
        self._lock = Lock()
        self._asked: Future[Answer[T]] | None = None
        self._asked_at = 0.0
        self._answered_at = 0.0
        self._before: Future[Answer[T]] | None = None

    def __call__(self) -> Answer[T]:
        """The answer.

        Raises:
            NoAnswerYet: there is none yet.
            DatacoError: the question's own.
        """
        asked, before, patience = self._ask()
        if not wait([asked], timeout=patience).done:
            if before is not None:
                return before.result()
            raise NoAnswerYet(f"there was no answer within {self._patience_seconds:g} s. It is asked for again.")
        return asked.result()

    def _ask(self) -> tuple[Future[Answer[T]], Future[Answer[T]] | None, float]:
        """The question under way, an earlier answer that may stand for it, and how many seconds to wait."""
        with self._lock:
            now = time.monotonic()
            if self._asked is None or (self._asked.done() and now - self._answered_at >= self._fresh_seconds):
                self._before, self._asked_at = self._asked, now
                self._asked = self._pool.submit(self._answer)
            is_stale = now - self._answered_at > _STALE_SECONDS
            patience = max(0.0, self._asked_at + self._patience_seconds - now)
            return self._asked, None if is_stale else self._before, patience

    def _answer(self) -> Answer[T]:
        try:
            return Answer(self._question(), now_ms())
        finally:
            self._answered_at = time.monotonic()
