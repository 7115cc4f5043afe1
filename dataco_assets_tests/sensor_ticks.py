"""Evaluates a sensor once, as Dagster's daemon does."""

from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from dagster._core.definitions.sensor_definition import SensorExecutionData


def tick(
    defs: dg.Definitions, sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None
) -> "SensorExecutionData":
    """What a sensor of a code location requests, says and reports."""
    names = {name: (defs.resources or {})[name] for name in sensor.required_resource_keys}
    with dg.build_sensor_context(
        instance=instance,
        resources=names,
        sensor_name=sensor.name,
        cursor=cursor,
        repository_def=defs.get_repository_def(),
    ) as context:
        return sensor.evaluate_tick(context)
