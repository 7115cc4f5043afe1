"""A code location whose ingest is killed once at each step that a test names.

Asset, job and sensors are the platform's own. The drain kills its process at a step if the folder named by
`DYING_FOLDER` has a file of the step's name, and removes the file first.
"""

import os
import signal
from functools import partialmethod
from pathlib import Path

import dagster as dg

from dataco_assets.definitions import build_defs
from dataco_assets.ingest.drain import Drain, Step
from dataco_assets.jobs import ingest_and_refresh, ingest_clicks
from dataco_assets.sensors import dead_runs_sensor, kafka_lag_sensor


def _die_once(step: Step) -> None:
    death = Path(os.environ["DYING_FOLDER"]) / step.value
    if death.exists():
        death.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


Drain.__init__ = partialmethod(Drain.__init__, on_step=_die_once)  # pyright: ignore[reportAttributeAccessIssue]


def _definitions() -> dg.Definitions:
    platform = build_defs()
    return dg.Definitions(
        assets=platform.assets,
        jobs=[ingest_clicks, ingest_and_refresh],
        sensors=[kafka_lag_sensor, dead_runs_sensor],
        resources=platform.resources,
    )


defs = _definitions()
