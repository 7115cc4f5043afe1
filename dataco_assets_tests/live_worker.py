"""A process that runs live like `dataco live`, and kills itself at a step of a micro-batch.

`python -m dataco_assets_tests.live_worker NOW_MS STEP BATCH`; the settings come from `DATACO_*`.
"""

import os
import signal
import sys
from contextlib import closing
from threading import Event

from dataco_assets.clients.elasticsearch import connect
from dataco_assets.live.service import Live, Step
from dataco_assets.live.spark import session_for
from dataco_assets.settings import Settings


def main() -> None:
    """Runs until the step."""
    now_ms, step, batch_id = int(sys.argv[1]), Step(sys.argv[2]), int(sys.argv[3])
    settings = Settings.load()

    def die(at: Step, batch: int) -> None:
        if (at, batch) == (step, batch_id):
            os.kill(os.getpid(), signal.SIGKILL)

    with session_for(settings) as session, closing(connect(settings)) as client:
        Live(settings, session, client, dict, on_step=die).run(Event(), now_ms=now_ms)


if __name__ == "__main__":
    main()
