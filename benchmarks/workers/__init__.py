"""The measurements that need a separate process: `python -m benchmarks.workers NAME ARGUMENTS ANSWER_FILE`.

Environment variables configure a worker, like every process of the platform.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

Worker = Callable[..., dict[str, Any]]

_MODULES = {
    "fill": "traffic",
    "drain": "ingest",
    "happybase_loop": "ingest",
    "client_cpu": "client_cpu",
    "provision_all": "spark",
    "spark_write": "spark",
    "refresh": "refresh",
    "first_refresh": "refresh",
    "dev_runs": "refresh",
    "publish": "publication",
    "live": "live",
}


def worker(name: str) -> Worker:
    """A worker by its name; its module, often a heavy one, is imported for it alone."""
    return getattr(import_module(f"benchmarks.workers.{_MODULES[name]}"), name)
