"""`live_sensor`: observes live, and gives readers all hours from the batch when live has died.

It also compares each hour that went over from live to the batch, once, and reports that as a result of the asset check
`live_equals_batch`.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import dagster as dg
import msgspec

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.assets.evaluations import LIVE_EQUALS_BATCH, LIVE_HOURS, evaluations
from dataco_assets.errors import DatacoError
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.sensors.dead_runs import SILENT_SECONDS, LeaseWatch
from dataco_assets.settings import Settings, settings

if TYPE_CHECKING:
    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.index.handover import LiveHours
    from dataco_assets.index.indices import Index
    from dataco_assets.index.live_state import LiveReport

OBSERVED_EVERY_SECONDS = 60.0
_CALL_SECONDS = 2.0
_LIVE = "live"


class Memory(msgspec.Struct, frozen=True):
    """What the sensor remembers between two looks, besides the watch of the lease.

    Attributes:
        observed_at: When it last reported an observation, epoch seconds.
        run_id: The live run that it saw then.
        served: Hours that readers got from that run and that are not compared with the batch yet, epoch ms.
    """

    observed_at: float = 0.0
    run_id: str = ""
    served: Sequence[int] = ()


class _Cursor(msgspec.Struct, frozen=True):
    watch: str = ""
    memory: Memory = Memory()

    @classmethod
    def of(cls, text: str | None) -> "_Cursor":
        try:
            return msgspec.json.decode(text or "{}", type=cls)
        except msgspec.DecodeError:
            return cls()

    def to_json(self) -> str:
        return msgspec.json.encode(self).decode()


@dataclass(frozen=True)
class Verdicts:
    """What is known of the hours that live served, at one look.

    Attributes:
        problems: Hours that went over to the batch since the last look, and how live and the batch differ in them.
        served: Hours that are still to be compared, epoch ms.
        serving: Number of hours that readers get from live.
    """

    problems: Mapping[int, Sequence[str]] = field(default_factory=dict)
    served: Sequence[int] = ()
    serving: int = 0


def judge(
    served: Collection[int],
    held: Collection[int],
    hours: "LiveHours",
    found: Mapping[int, Sequence[str]],
    given_up: Collection[int],
) -> Verdicts:
    """Which hours went over to the batch with the same numbers, and which with others.

    An hour that differs and that live has not given up is amid a change: live takes it back, or gives it up, within
    seconds. So it is left for the next look.

    Args:
        served: Hours that readers got from live and that were not compared yet, epoch ms.
        held: Hours of which live has documents, epoch ms.
        hours: Hours that readers get from live now.
        found: How live and the batch differ, for each hour of `served` that readers get from the batch now.
        given_up: Hours that went to the batch though it had other numbers, epoch ms.
    """
    serving = [hour for hour in held if hour in hours]
    judged = {hour: lines for hour, lines in found.items() if not lines or hour in given_up}
    waiting = [hour for hour in served if hour in found and hour not in judged]
    return Verdicts(judged, sorted({*serving, *waiting}), len(serving))


def metadata(report: "LiveReport", serving: int, now: float) -> dict[str, int | float]:
    """The metadata of an observation; numbers, so that Dagster plots them.

    Args:
        report: What live says.
        serving: Number of hours that readers get from live.
        now: Epoch seconds.
    """
    found: dict[str, int | float] = {
        "hours served": serving,
        "users in state": report.users,
        "seconds since lease was renewed": round(max(0.0, now - report.reported_at_ms / 1000), 1),
    }
    if report.behind is not None:
        found["records behind"] = report.behind
    if report.batch_seconds is not None:
        found["seconds of last micro-batch"] = round(report.batch_seconds, 3)
    if report.latency_seconds is not None:
        found["p95 seconds from Kafka to readers"] = round(report.latency_seconds, 3)
    return found


@dg.sensor(
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Gives readers of the index all hours from the batch when `dataco live` has not renewed its lease for "
    f"{SILENT_SECONDS:.0f} s, because it was killed or its machine failed. While live runs, it observes `live_hours`, "
    "and compares each hour that went over to the batch. It starts nothing.",
)
def live_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], elasticsearch: ElasticsearchResource
) -> dg.SkipReason | dg.SensorResult:
    """Watches the lease of live; the cursor records for how long it has not changed, and which hours live served."""
    try:
        with elasticsearch.impatient_client(_CALL_SECONDS) as client:
            return _look(context, settings, client)
    except DatacoError as error:
        return dg.SkipReason(f"Cannot see whether live runs: {error}")


def _look(
    context: dg.SensorEvaluationContext, settings: Settings, client: "SearchClient"
) -> dg.SkipReason | dg.SensorResult:
    from dataco_assets.index.handover import give_back
    from dataco_assets.index.indices import Index
    from dataco_assets.index.live_state import read_report

    now, cursor = time.time(), _Cursor.of(context.cursor)
    report = read_report(client, settings.index_alias)
    watch = LeaseWatch.from_json(cursor.watch).updated({_LIVE: report.lease if report else ""}, now)
    cursor = msgspec.structs.replace(cursor, watch=watch.to_json())
    context.update_cursor(cursor.to_json())
    if report is None:
        return dg.SkipReason("Live has never run; readers get all hours from the batch.")
    index = Index.of(client, settings, PAGES)
    if not report.stopped and not watch.dead():
        return _observe(context, index, report, cursor, now)
    changed = give_back(index)
    why = "was stopped" if report.stopped else f"has not renewed its lease for {SILENT_SECONDS:.0f} s"
    return dg.SkipReason(f"Live {why}; readers get all hours from the batch{' again' if changed else ''}.")


def _observe(
    context: dg.SensorEvaluationContext, index: "Index", report: "LiveReport", cursor: _Cursor, now: float
) -> dg.SkipReason | dg.SensorResult:
    if now - cursor.memory.observed_at < OBSERVED_EVERY_SECONDS:
        return dg.SkipReason(_alive(report))
    served = cursor.memory.served if cursor.memory.run_id == report.run_id else ()
    verdicts = _verdicts(index, report, served)
    memory = Memory(now, report.run_id, verdicts.served)
    context.update_cursor(msgspec.structs.replace(cursor, memory=memory).to_json())
    checked = evaluations(
        LIVE_EQUALS_BATCH, list(verdicts.problems), verdicts.problems, {}, severity=dg.AssetCheckSeverity.WARN
    )
    observation = dg.AssetObservation(LIVE_HOURS, metadata=metadata(report, verdicts.serving, now))
    return dg.SensorResult(skip_reason=_alive(report), asset_events=[observation, *checked])


def _verdicts(index: "Index", report: "LiveReport", served: Sequence[int]) -> Verdicts:
    from dataco_assets.index.contents import hours_held
    from dataco_assets.index.handover import differences, served_hours
    from dataco_assets.index.layout import live_index_name

    hours = served_hours(report)
    if hours is None:
        return Verdicts(served=served)
    name = live_index_name(index.alias, report.run_id)
    held = hours_held(index.client, [name])
    over = [hour for hour in served if hour in held and hour not in hours]
    return judge(served, held, hours, differences(index, name, over), report.given_up)


def _alive(report: "LiveReport") -> str:
    if report.running_from is None:
        return "Live runs and has not caught up; readers get all hours from the batch."
    behind = "" if not report.behind else f", {report.behind:,} records behind"
    return f"Live runs{behind}."
