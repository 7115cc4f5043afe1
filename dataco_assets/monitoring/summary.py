"""The state of the platform in words: the rows of `dataco status`. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from dataco_assets.clicks.finality import in_words
from dataco_assets.clicks.hour import hour_key
from dataco_assets.monitoring.state import LIVE_SILENT_SECONDS, Checks, Hours, State
from dataco_assets.quantities import quantity
from dataco_assets.settings import Settings


def _age(state: State) -> str:
    oldest = state.oldest_waiting_seconds
    return "" if oldest is None else f", the oldest for {timedelta(seconds=int(oldest))}"


def addresses(config: Settings) -> dict[str, str]:
    """Where each server is, by its name."""
    return {
        "Kafka": config.kafka_bootstrap_servers,
        "HBase": f"{config.hbase_thrift_host}:{config.hbase_thrift_port}",
        "Elasticsearch": config.elasticsearch_url,
    }


def status_rows(config: Settings, state: State) -> Iterator[tuple[str, str]]:
    """What there is to say of the state, and what is said; parts whose server does not answer are left out."""
    yield "time", f"{datetime.fromtimestamp(state.asked_at_ms // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    for name, address in addresses(config).items():
        yield name, f"{address} {'answers' if state.servers[name] is None else 'needs manual intervention'}"
    if state.ingest:
        lag = state.ingest.lag
        yield (
            f"topic {config.clicks_topic}",
            f"{quantity(len(lag.topic.partitions), 'partition')}, id {lag.topic.topic_id}",
        )
        yield "waiting in Kafka", quantity(lag.total, "click") + _age(state)
        for partition, start in sorted(lag.start.items()):
            yield f"partition {partition}", f"next offset {start:,}, {lag.waiting[partition]:,} waiting"
    if state.hours:
        yield from _hour_rows(state.hours)
    if state.checks:
        yield from _check_rows(state.checks)
    if state.index:
        newest = state.index.newest_hour
        yield "newest hour in the index", "none yet" if newest is None else hour_key(newest)
        yield "how final the hours are", in_words(state.index.hours.counted(state.asked_at_ms))
        if state.index.incomplete:
            yield "  lacking measures", str(state.index.incomplete)
        if state.index.without_audience:
            yield "  lacking the audience", str(state.index.without_audience)
        yield "live", live_text(state)


def _hour_rows(hours: Hours) -> Iterator[tuple[str, str]]:
    dirty = hours.dirty
    yield "hours in the ledger", f"{hours.known:,}"
    yield "dirty hours", _count_and_oldest(dirty.waiting)
    if dirty.expired:
        yield "  not computed again", f"{_count_and_oldest(dirty.expired)}: HBase may have dropped earlier clicks"
    if dirty.outside:
        yield "  before the first partition", f"{_count_and_oldest(dirty.outside)}: no run computes them"
    yield "parked", f"{len(hours.parked):,}"


def _check_rows(checks: Checks) -> Iterator[tuple[str, str]]:
    account = checks.account
    adds_up = "adding up" if account.adds_up else quantity(len(account.problems), "problem")
    yield "account of 7 days", f"{quantity(account.produced, 'message')}, {adds_up}"
    if (verified := checks.verified) is not None:
        at = f"{datetime.fromtimestamp(verified.at, UTC):%Y-%m-%d %H:%M} UTC"
        yield "last verified", f"{at}: {quantity(verified.compared, 'hour')}, {verified.different:,} different"


def live_text(state: State) -> str:
    """What live does, in a few words."""
    report = state.live
    if report is None:
        return "has never run; the batch serves all hours"
    if report.stopped:
        return "stopped; the batch serves all hours"
    if state.live_silent_seconds > LIVE_SILENT_SECONDS:
        return f"has not reported for {timedelta(seconds=round(state.live_silent_seconds))}"
    served = "has not caught up" if report.running_from is None else f"serves {hour_key(report.running_from)} and later"
    earlier = f" and {quantity(len(report.closed), 'hour')} before" if report.closed else ""
    last = "" if report.batch_seconds is None else f", last micro-batch {report.batch_seconds:.1f} s"
    if report.latency_seconds is not None:
        last += f", p95 from Kafka to readers {report.latency_seconds:.1f} s"
    behind = "" if report.behind is None else f", {quantity(report.behind, 'record')} behind"
    return f"{served}{earlier}{behind}{last}"


def _count_and_oldest(hours: Sequence[int]) -> str:
    return f"{len(hours):,}" + (f", oldest {hour_key(hours[0])}" if hours else "")
