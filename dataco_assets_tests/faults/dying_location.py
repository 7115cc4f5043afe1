"""A code location whose ingest is killed once at each step that a test names.

Asset, job and sensors are the platform's own. The drain kills its process at a step if the folder named by
`DYING_FOLDER` has a file of the step's name, and removes the file first.
"""

import os
import signal
from functools import partialmethod
from pathlib import Path

import dagster as dg

from dataco_assets.assets.raw_clicks import clicks_topic, raw_clicks
from dataco_assets.ingest.drain import Drain, Step
from dataco_assets.jobs import ingest_clicks
from dataco_assets.resources.hbase import HBaseResource
from dataco_assets.resources.kafka import KafkaResource
from dataco_assets.sensors import dead_runs_sensor, kafka_lag_sensor
from dataco_assets.settings import settings


def _die_once(step: Step) -> None:
    death = Path(os.environ["DYING_FOLDER"]) / step.value
    if death.exists():
        death.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


Drain.__init__ = partialmethod(Drain.__init__, on_step=_die_once)  # pyright: ignore[reportAttributeAccessIssue]

defs = dg.Definitions(
    assets=[clicks_topic, raw_clicks],
    jobs=[ingest_clicks],
    sensors=[kafka_lag_sensor, dead_runs_sensor],
    resources={
        "settings": settings(),
        "kafka": KafkaResource(settings=settings()),
        "hbase": HBaseResource(settings=settings()),
    },
)
