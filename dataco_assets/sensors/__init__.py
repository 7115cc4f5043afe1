"""The sensors: clicks waiting in Kafka start an ingest, dirty hours start a refresh, parked work is reported.

`ingest`, `refresh` and `parking` decide, as plain functions over what was measured; `runs` looks at Dagster's runs;
`kafka_lag`, `dirty_hours` and `notifications` are the thin shells that measure and request. A sensor makes metadata
calls only, with deadlines far below Dagster's own.

None uses run keys: a key is never launched again after its run failed, and what must not happen twice is guarded better
by looking at the runs themselves, which every evaluation does.
"""

from dataco_assets.sensors.dead_runs import dead_runs_sensor
from dataco_assets.sensors.dirty_hours import dirty_hours_sensor
from dataco_assets.sensors.kafka_lag import kafka_lag_sensor
from dataco_assets.sensors.notifications import parked_work_sensor

__all__ = ["dead_runs_sensor", "dirty_hours_sensor", "kafka_lag_sensor", "parked_work_sensor"]
