"""The sensors: they start ingests and refreshes, report parked work, and end dead runs.

`ingest`, `refresh` and `parking` decide, as plain functions over what was measured; `runs` looks at Dagster's runs. The
other modules are the thin shells that measure and request. A sensor makes metadata calls only, with deadlines far below
Dagster's own.

None uses run keys: a key is never launched again after its run failed, and what must not happen twice is guarded better
by looking at the runs themselves, which every evaluation does.
"""

from dataco_assets.sensors.dead_runs import dead_runs_sensor
from dataco_assets.sensors.dirty_hours import dirty_hours_sensor
from dataco_assets.sensors.kafka_lag import kafka_lag_sensor
from dataco_assets.sensors.notifications import parked_work_sensor

__all__ = ["dead_runs_sensor", "dirty_hours_sensor", "kafka_lag_sensor", "parked_work_sensor"]
