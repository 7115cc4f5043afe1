"""The sensors: they start ingests and refreshes, report parked and failing work, notice dead runs and a dead live.

The decisions are plain functions over measured values (`ingest`, `refresh`, `parking`, `failing`); `runs` reads
Dagster's runs, `receivers` sends messages to people. The other modules are thin shells that measure and request. A
sensor makes only metadata calls, with deadlines far shorter than Dagster's own.

Sensors use no run keys, because Dagster never launches a key again after its run failed. Every evaluation reads the
runs themselves to avoid starting work twice.
"""

from dataco_assets.sensors.dead_runs import dead_runs_sensor
from dataco_assets.sensors.dirty_hours import dirty_hours_sensor
from dataco_assets.sensors.failed_runs import failed_runs_sensor
from dataco_assets.sensors.kafka_lag import kafka_lag_sensor
from dataco_assets.sensors.live import live_sensor
from dataco_assets.sensors.notifications import parked_work_sensor

__all__ = [
    "dead_runs_sensor",
    "dirty_hours_sensor",
    "failed_runs_sensor",
    "kafka_lag_sensor",
    "live_sensor",
    "parked_work_sensor",
]
