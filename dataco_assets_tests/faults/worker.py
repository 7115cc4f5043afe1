"""A process that drains the topic like a Dagster run, and can be killed at a given step.

`python -m dataco_assets_tests.faults.worker --once` drains once and prints what it did as JSON. `--forever` drains
again and again, and continues after passing errors, as run retries and sensors would; other errors end it with
`GAVE_UP`. The settings come from `DATACO_*`.
"""

import argparse
import json
import logging
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from benchmarks.machine import peak_rss_bytes
from dataco_assets.clients.hbase import connect
from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.errors import DatacoError, ErrorKind
from dataco_assets.ingest.drain import Drain, DrainResult, Step, policy_from
from dataco_assets.settings import Settings
from dataco_assets_tests.faults.planted import BUGS

GAVE_UP = 3
TROUBLE = "Trouble that may pass"
_PAUSE_SECONDS = 0.2
_PAUSE_AFTER_TROUBLE_SECONDS = 1.0

logger = logging.getLogger("dataco.worker")


def main(arguments: Sequence[str] | None = None) -> int:
    """Drains as the arguments say; returns the exit code."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    if options.plant:
        BUGS[options.plant]()
    on_step = _die_at(options.at, options.nth, signal.Signals[options.signal]) if options.at else lambda _: None
    settings = Settings.load()
    parent = os.getppid()
    while os.getppid() == parent:  # a worker must not outlive the tests that started it
        try:
            result = _drain(settings, options.on_data_loss, on_step)
        except DatacoError as error:
            if options.once or error.kind is not ErrorKind.PASSING:
                logger.error("%s: %s", type(error).__name__, error)  # for people to read
                return GAVE_UP
            logger.warning("%s: %s: %s", TROUBLE, type(error).__name__, error)
            time.sleep(_PAUSE_AFTER_TROUBLE_SECONDS)
        else:
            if options.once:
                print(json.dumps(_as_json(result)))
                return 0
            if not result.seen:
                time.sleep(_PAUSE_SECONDS)
    return GAVE_UP


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--once", action="store_true", help="drain once")
    parser.add_argument("--forever", action="store_true", help="drain until killed")
    parser.add_argument("--at", type=Step, choices=list(Step), help="step at which to send itself the signal")
    parser.add_argument("--nth", type=int, default=1, help="at which passing of that step")
    parser.add_argument("--signal", default="SIGKILL", help="which signal")
    parser.add_argument("--plant", choices=sorted(BUGS), help="bug to plant first")
    parser.add_argument("--on-data-loss", choices=["fail", "skip"], default="fail")
    return parser


def _drain(settings: Settings, on_data_loss: str, on_step: Callable[[Step], None]) -> DrainResult:
    policy = replace(policy_from(settings), on_data_loss=on_data_loss)
    brokers = Brokers.of(settings)
    with (
        connect(settings) as hbase,
        Drain(settings, hbase, policy, brokers=brokers, on_step=on_step) as drain,
    ):
        return drain.run()


def _die_at(step: Step, nth: int, number: signal.Signals) -> Callable[[Step], None]:
    seen: Counter[Step] = Counter()

    def on_step(now: Step) -> None:
        seen[now] += 1
        if now == step and seen[now] == nth:
            os.kill(os.getpid(), number)

    return on_step


def _as_json(result: DrainResult) -> dict[str, object]:
    return {
        "stored": result.stored,
        "rejected": result.rejected.total(),
        "skipped": len(result.skipped),
        "lag_left": result.lag_left,
        "retries": result.hbase_retries,
        "seconds": result.seconds,
        "peak_rss_bytes": peak_rss_bytes(),
    }


if __name__ == "__main__":
    sys.exit(main())
