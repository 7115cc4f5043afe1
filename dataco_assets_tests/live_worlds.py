"""What readers find while live runs, beside what they should find: traffic, the oracle's rows, and waiting for both."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from confluent_kafka import Producer

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.clicks.event import Click, parse
from dataco_assets.clicks.hour import HOUR_MS, hour_of
from dataco_assets.clicks.row import row_key
from dataco_assets.clicks.suppressed import user_hash
from dataco_assets.clients.elasticsearch import SearchClient
from dataco_assets.index.indices import Index
from dataco_assets.index.live_state import LiveReport, read_report
from dataco_assets_tests import oracle
from dataco_assets_tests.oracle import OracleClick
from dataco_assets_tests.platforms import Platform, click, epoch_ms
from dataco_assets_tests.waiting import wait_until

MINUTE = 60_000
MONTH_END = 1_769_900_400_000
"""2026-01-31 23:00 UTC: an hour at whose end a day and a month end."""
SECONDS = 60


@dataclass
class LiveWorld:
    """A platform with live, what was sent to it, and who was erased."""

    platform: Platform
    search: SearchClient
    sent: list[tuple[bytes, int]] = field(default_factory=list, kw_only=True)
    erased: dict[bytes, int] = field(default_factory=dict, kw_only=True)

    @property
    def index(self) -> Index:
        return Index.of(self.search, self.platform.settings, PAGES)

    def send(self, *values: tuple[bytes, int], encode: Callable[[bytes], bytes | None] = bytes) -> None:
        """Sends messages with their times of arrival, epoch ms, as they are or encoded; acknowledged on return."""
        settings = self.platform.settings
        producer = Producer({"bootstrap.servers": settings.kafka_bootstrap_servers, "enable.idempotence": True})
        for value, arrived in values:
            producer.produce(settings.clicks_topic, encode(value), timestamp=arrived)
        assert producer.flush(SECONDS) == 0
        self.sent += values

    def report(self) -> LiveReport:
        found = read_report(self.search, self.platform.settings.index_alias)
        assert found is not None
        return found

    def serves(self) -> bool:
        """Whether readers get hours from live."""
        found = read_report(self.search, self.platform.settings.index_alias)
        return found is not None and found.running_from is not None

    def sources(self) -> dict[int, str]:
        """Where readers get each hour from."""
        hits = self.search.search(index=self.platform.settings.index_alias, size=10_000)["hits"]["hits"]
        return {epoch_ms(hit["_source"]["hour"]): hit["_source"].get("source", "batch") for hit in hits}

    def shown(self) -> dict[oracle.Key, dict[str, Any]]:
        """What readers of the alias find, as the oracle's rows."""
        hits = self.search.search(index=self.platform.settings.index_alias, size=10_000)["hits"]["hits"]
        rows: dict[oracle.Key, dict[str, Any]] = {}
        for hit in hits:
            document = hit["_source"]
            key = epoch_ms(document["hour"]), document["page"], document["country"]
            assert key not in rows, f"{key} twice: {hit['_index']}"
            rows[key] = {
                name: document.get(name, {} if name == "time_spent_buckets" else None)
                for name in oracle.OracleRow.__dataclass_fields__
            }
        return rows

    def expected(self) -> dict[oracle.Key, dict[str, Any]]:
        """The oracle's rows of what was sent."""
        stored = stored_clicks(self.sent, self.erased)
        hours = {hour_of(each.timestamp) for each in stored}
        return {key: asdict(row) for key, row in oracle.aggregate(stored, hours).items()}

    def is_quiet(self) -> bool:
        """Whether live serves readers, and they find what was sent."""
        return self.serves() and self.shown() == self.expected()

    def settle(self, seconds: float = SECONDS) -> None:
        """Waits until readers find what was sent, field by field."""
        try:
            wait_until(self.is_quiet, seconds=seconds, what="readers find what was sent")
        except AssertionError:
            assert self.shown() == self.expected()
            raise


def stored_clicks(sent: Sequence[tuple[bytes, int]], erased: Mapping[bytes, int]) -> list[OracleClick]:
    """What is left of messages in the clicks table: the last one of each row, without those of erased users."""
    rows: dict[bytes, tuple[Click, int]] = {}
    for value, arrived in sent:
        found = parse(value, record_time_ms=arrived, earliest_ms=0)
        if isinstance(found, Click):
            rows[row_key(found.user_id, found.timestamp, found.event_id)] = found, arrived
    return [
        OracleClick(
            *(key.decode(), each.user_id, each.timestamp, each.page, each.country),
            browser=each.browser,
            device=each.device,
        )
        for key, (each, arrived) in rows.items()
        if min(each.timestamp, arrived) > erased.get(user_hash(each.user_id), -1)
    ]


def traffic(seed: int, clicks: int, around: int = MONTH_END) -> list[tuple[bytes, int]]:
    """Clicks of some users, shuffled; some come twice, overwrite others, or are bad.

    Args:
        seed: Of everything that is drawn.
        clicks: How many different ones.
        around: They are from the hour before this one (epoch ms) to ten minutes before the third one after it.
    """
    chance = random.Random(seed)
    made: list[tuple[bytes, int]] = []
    for number in range(clicks):
        at = around - HOUR_MS + chance.choice([0, 30, 60, 90, 120, 150]) * MINUTE
        at += chance.choice([-1, 0, 1, chance.randrange(20 * MINUTE)])
        at = max(at, around - HOUR_MS)
        user, page = f"u{chance.randrange(8)}", f"https://shop.example/{chance.randrange(4)}"
        agent = {"browser": "Googlebot"} if number % 7 == 0 else {"device": "Spider"} if number % 11 == 0 else {}
        sent = click(str(number), at=at, user=user, url=page, country=chance.choice(["DE", "FR"]), **agent), at + MINUTE
        made.append(sent)
        if chance.random() < 0.2:
            made.append(sent)
        if chance.random() < 0.1:  # the same row, but another message
            made.append((click(str(number), at=at, user=user, url="https://shop.example/other"), at + MINUTE))
        if chance.random() < 0.1:
            made.append((b'{"user_id": 1}', at))
    order = [(chance.random(), number, sent) for number, sent in enumerate(made)]
    return [sent for _, _, sent in sorted(order)]
