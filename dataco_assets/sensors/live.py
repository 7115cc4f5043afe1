"""`live_sensor`: gives readers all hours from the batch when live has died."""

import time
from typing import TYPE_CHECKING

import dagster as dg

from dataco_assets.aggregates.columns import PAGES
from dataco_assets.errors import DatacoError
from dataco_assets.resources.elasticsearch import ElasticsearchResource
from dataco_assets.sensors.dead_runs import SILENT_SECONDS, LeaseWatch
from dataco_assets.settings import Settings, settings

if TYPE_CHECKING:
    from dataco_assets.clients.elasticsearch import SearchClient
    from dataco_assets.index.live_state import LiveReport

_CALL_SECONDS = 2.0
_LIVE = "live"


@dg.sensor(
    minimum_interval_seconds=settings().sensor_interval_seconds,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=f"Gives readers of the index all hours from the batch when `dataco live` has not renewed its lease for "
    f"{SILENT_SECONDS:.0f} s, because it was killed or its machine failed. It starts nothing.",
)
def live_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings], elasticsearch: ElasticsearchResource
) -> dg.SkipReason:
    """Watches the lease of live; the cursor records for how long it has not changed."""
    try:
        with elasticsearch.client() as client:
            return _look(context, settings, client.options(request_timeout=_CALL_SECONDS))
    except DatacoError as error:
        return dg.SkipReason(f"Cannot see whether live runs: {error}")


def _look(context: dg.SensorEvaluationContext, settings: Settings, client: "SearchClient") -> dg.SkipReason:
    from dataco_assets.index.handover import give_back
    from dataco_assets.index.indices import Index
    from dataco_assets.index.live_state import read_report

    client.retry_seconds = 0
    report = read_report(client, settings.index_alias)
    watch = LeaseWatch.from_json(context.cursor).updated({_LIVE: report.lease if report else ""}, time.time())
    context.update_cursor(watch.to_json())
    if report is None:
        return dg.SkipReason("Live has never run; readers get all hours from the batch.")
    if not report.stopped and not watch.dead():
        return dg.SkipReason(_alive(report))
    changed = give_back(Index.of(client, settings, PAGES))
    why = "was stopped" if report.stopped else f"has not renewed its lease for {SILENT_SECONDS:.0f} s"
    return dg.SkipReason(f"Live {why}; readers get all hours from the batch{' again' if changed else ''}.")


def _alive(report: "LiveReport") -> str:
    if report.running_from is None:
        return "Live runs and has not caught up; readers get all hours from the batch."
    behind = "" if not report.behind else f", {report.behind:,} records behind"
    return f"Live runs{behind}."
