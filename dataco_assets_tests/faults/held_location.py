"""The whole platform as a code location whose publications wait half-way while the file `HELD_FILE` names exists."""

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
    """The step after the documents were written, and before they are compared and their hours counted as done."""
    held = Path(os.environ["HELD_FILE"])
    while held.exists():
        time.sleep(0.1)
    return _delete_stale(*arguments)


publication.delete_stale = _delete_stale_later
