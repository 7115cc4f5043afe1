"""The whole platform as a code location; publications pause half-way while the file named by `HELD_FILE` exists."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dataco_assets.definitions import defs
from dataco_assets.index import publication

__all__ = ["defs"]

_delete_stale: Callable[..., int] = publication.delete_stale


def _delete_stale_later(*arguments: Any) -> int:
    """Runs after the documents are written, and before they are compared and their hours count as done."""
    held = Path(os.environ["HELD_FILE"])
    while held.exists():
        time.sleep(0.1)
    return _delete_stale(*arguments)


publication.delete_stale = _delete_stale_later
