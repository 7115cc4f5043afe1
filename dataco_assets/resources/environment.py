"""Resource values that are read from the environment when a run starts, not when the code location loads.

Belongs here: the bridge between `settings.py` and Dagster's `EnvVar`. Does not belong here: any setting itself.
"""

import os
from typing import Any

import dagster as dg

from dataco_assets.settings import Settings, variable


def from_environment(settings: Settings, field: str) -> Any:
    """The field's `EnvVar` when its variable is set, so that each run reads it anew, else the default of the settings.

    The UI then shows the name of the variable in place of the value, and a value is never stored with a run.

    Args:
        settings: The validated settings.
        field: Name of one of their fields.
    """
    if variable(field) not in os.environ:
        default = getattr(settings, field)
        return default.get_secret_value() if hasattr(default, "get_secret_value") else default
    if isinstance(getattr(settings, field), int):
        return dg.EnvVar.int(variable(field))
    return dg.EnvVar(variable(field))
