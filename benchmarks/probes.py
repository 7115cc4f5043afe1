"""A reader outside of the platform: sends a click on a page of its own, and asks the alias until it is found."""

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from itertools import count
from typing import Final
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from benchmarks.bench import Platform, WorkerFailed
from dataco_assets.clients.elasticsearch import SearchClient
from dataco_assets.clock import now_ms

_FOUND_WITHIN_SECONDS: Final = 180.0


class Prober:
    """Sends probes and waits for them.

    Args:
        platform: Whose topic and alias.
        search: Elasticsearch.
        look_seconds: Seconds between two looks at the alias.
    """

    def __init__(self, platform: Platform, search: SearchClient, look_seconds: float) -> None:
        self._settings = platform.settings
        self._search = search
        self._look_seconds = look_seconds
        self._producer = Producer({"bootstrap.servers": platform.settings.kafka_bootstrap_servers})
        self._name = uuid4().hex[:8]  # an alias may hold the probes of another one
        self._numbers = count()

    def probe(self, within_seconds: float = _FOUND_WITHIN_SECONDS) -> float:
        """Sends a click on a page of its own; returns the seconds until readers of the alias find it.

        Raises:
            WorkerFailed: they do not find it in time.
        """
        page = f"https://probe.example/{self._name}/{next(self._numbers)}"
        sent = time.monotonic()
        self._producer.produce(self._settings.clicks_topic, click(page, "probe", now_ms()), b"probe")
        self._producer.flush()
        while not self._finds(page):
            if time.monotonic() - sent > within_seconds:
                raise WorkerFailed(f"Readers did not find a click within {within_seconds:.0f} s.")
            time.sleep(self._look_seconds)
        return time.monotonic() - sent

    def probe_each(self, seconds: float, is_over: Callable[[float], bool]) -> list[float]:
        """Sends a probe at an interval, whether the one before was found or not; returns their seconds, shortest first.

        Args:
            seconds: The interval.
            is_over: Waits for so many seconds, and returns whether to stop.
        """
        found: list[float] = []
        threads: list[threading.Thread] = []
        while not is_over(seconds):
            threads.append(threading.Thread(target=lambda: found.append(self.probe())))
            threads[-1].start()
        for thread in threads:
            thread.join()
        return sorted(found)

    def _finds(self, page: str) -> bool:
        query = {"term": {"page": page}}
        found = self._search.search(index=self._settings.index_alias, size=0, query=query)
        return found["hits"]["total"]["value"] > 0


def click(page: str, user: str, at_ms: int) -> bytes:
    """The message of a click on a page."""
    return msgspec.json.encode(
        {"user_id": user, "timestamp": at_ms, "url": page, "ip_address": "192.0.2.1", "user_agent": "probe"}
    )


def percentiles(seconds: Sequence[float]) -> tuple[tuple[str, float], tuple[str, float]]:
    """Median and 95th percentile of sorted values, with their names."""
    return ("p50", statistics.median(seconds)), ("p95", seconds[int(0.95 * (len(seconds) - 1))])
