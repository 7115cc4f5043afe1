"""Canary clicks: real clicks on a page of their own, which show how long a click takes from Kafka to readers.

A sender adds one click after the other to the topic and looks at the alias for them, as any reader does. Their page is
the sender's own, so the number of its clicks that readers find says which of them: all come from one user, whose
clicks are in one partition and are stored in the order in which they were sent.
"""

import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from threading import Event
from typing import TYPE_CHECKING, Final, Self
from uuid import uuid4

from dataco_assets.clicks.hour import HOUR_MS, hour_of
from dataco_assets.clicks.page import page_of
from dataco_assets.clients.elasticsearch import search
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.clock import now_ms
from dataco_assets.errors import DatacoError

if TYPE_CHECKING:
    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.settings import Settings

_LOOK_SECONDS: Final = 1.0
_SEND_SECONDS: Final = 10.0
_KEPT_HOURS: Final = 48
"""Hours whose clicks are still looked for."""
_ADDRESS: Final = "192.0.2.1"
"""IP address of the clicks: one that is reserved for documentation."""
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sightings:
    """When canary clicks were sent, and which of them readers have found. Pure.

    Attributes:
        began_at: When the first one was about to be sent, monotonic seconds.
        sent: When each one was sent, by the start of its hour (epoch ms), in their order; without hours that are over
            and of which all were found.
        found_sent_at: When the newest one that was found was sent; None: none was found.
        latency_seconds: How long that one took to be found; None: none was found.
    """

    began_at: float
    sent: Mapping[int, tuple[float, ...]]
    found_sent_at: float | None = None
    latency_seconds: float | None = None

    @classmethod
    def beginning(cls, at: float) -> Self:
        """Before the first one."""
        return cls(at, {})

    def sending(self, hour: int, at: float) -> Self:
        """One more was sent, of an hour."""
        kept = {old: times for old, times in self.sent.items() if old > hour - _KEPT_HOURS * HOUR_MS}
        return replace(self, sent={**kept, hour: (*kept.get(hour, ()), at)})

    def looking(self, counts: Mapping[int, int], at: float) -> Self:
        """Readers find a number of clicks in each hour.

        Args:
            counts: The number by hour; an hour without any may be missing.
            at: Monotonic seconds.
        """
        found = [
            times[min(counts.get(hour, 0), len(times)) - 1] for hour, times in self.sent.items() if counts.get(hour)
        ]
        newest = max(found, default=None)
        if newest is None or (self.found_sent_at is not None and newest <= self.found_sent_at):
            return self
        return replace(self, found_sent_at=newest, latency_seconds=at - newest)

    @property
    def is_waiting(self) -> bool:
        """Whether one was sent that readers have not found."""
        newest = max((times[-1] for times in self.sent.values()), default=None)
        return newest is not None and (self.found_sent_at is None or newest > self.found_sent_at)

    def age_seconds(self, at: float) -> float:
        """Time since the newest one that readers have found was sent; while there is none, since the beginning."""
        return at - (self.began_at if self.found_sent_at is None else self.found_sent_at)


@dataclass(frozen=True)
class CanaryFigures:
    """What canary clicks show.

    Attributes:
        age_seconds: Time since the newest one that readers have found was sent; while there is none, since the first
            one was about to be sent.
        latency_seconds: How long that one took from Kafka to them; None: they found none.
    """

    age_seconds: float
    latency_seconds: float | None


class Canary:
    """Sends canary clicks, and looks for them, until it is told to stop.

    Args:
        settings: Where the servers are, how often a click is sent, and on which page.
        client: Elasticsearch.
    """

    def __init__(self, settings: "Settings", client: "SearchClient") -> None:
        self._settings = settings
        self._client = client
        self._sightings = Sightings.beginning(time.monotonic())
        self._troubles: dict[str, str] = {}
        self._name = ""
        self._rename()

    @property
    def page(self) -> str:
        """The page of this sender's clicks."""
        return page_of(f"{self._settings.canary_url.rstrip('/')}/{self._name}")

    def figures(self) -> CanaryFigures:
        """What is known now."""
        return CanaryFigures(self._sightings.age_seconds(time.monotonic()), self._sightings.latency_seconds)

    def run(self, stopped: Event) -> None:
        """Sends and looks until `stopped` is set; what fails is tried again, with a line in the log."""
        send_at = time.monotonic()
        while not stopped.is_set():
            if time.monotonic() >= send_at:
                send_at = time.monotonic() + self._settings.canary_seconds
                self._attempt("sent", self.send)
            if self._sightings.is_waiting:
                self._attempt("looked for", self.look)
            stopped.wait(min(_LOOK_SECONDS, max(0.0, send_at - time.monotonic())))

    def send(self) -> None:
        """Adds one click to the topic, and waits until it is there.

        Raises:
            KafkaFailure: it is not there, as far as is known.
        """
        timestamp, user = now_ms(), f"canary-{self._name}"
        click = {
            "event_id": uuid4().hex,
            "user_id": user,
            "timestamp": timestamp,
            "url": self.page,
            "ip_address": _ADDRESS,
            "user_agent": "dataco-canary",
        }
        began = time.monotonic()
        try:
            brokers = Brokers.of(self._settings)
            with AckedProducer(brokers, self._settings.clicks_topic, timeout_seconds=_SEND_SECONDS) as producer:
                producer.send(user.encode(), json.dumps(click).encode(), timestamp)
        except DatacoError:
            self._rename()  # it may arrive all the same, and would then be taken for the next one
            raise
        self._sightings = self._sightings.sending(hour_of(timestamp), began)

    def look(self) -> None:
        """Asks the alias how many of the clicks readers find.

        Raises:
            ElasticsearchError: it does not answer or refuses.
        """
        if not self._sightings.sent:
            return
        hours = {"terms": {"field": "hour", "size": _KEPT_HOURS}, "aggs": {"clicks": {"sum": {"field": "click_count"}}}}
        wanted = [{"term": {"page": self.page}}, {"range": {"hour": {"gte": min(self._sightings.sent)}}}]
        # Closed indices of other months may be behind the alias.
        answer = search(
            self._client,
            [self._settings.index_alias],
            size=0,
            query={"bool": {"filter": wanted}},
            aggs={"hours": hours},
            ignore_unavailable=True,
        )
        buckets = answer["aggregations"]["hours"]["buckets"] if "aggregations" in answer else []
        counts = {int(bucket["key"]): round(bucket["clicks"]["value"]) for bucket in buckets}
        self._sightings = self._sightings.looking(counts, time.monotonic())

    def _rename(self) -> None:
        self._name = uuid4().hex[:8]
        self._sightings = replace(self._sightings, sent={})

    def _attempt(self, what: str, action: Callable[[], None]) -> None:
        try:
            action()
        except DatacoError as error:
            if self._troubles.get(what) != str(error):
                self._troubles[what] = str(error)
                _logger.warning("A canary click cannot be %s: %s", what, error)
        else:
            self._troubles.pop(what, None)
