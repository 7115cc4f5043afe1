"""Metadata of a run and its hours: numbers that Dagster plots over time, and a table of the busiest pages.

Event text is untrusted: it goes into Markdown only as escaped code.
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from dataco_assets.clicks.hour import hour_key
from dataco_assets.partitions import is_scattered

if TYPE_CHECKING:
    from dataco_assets.aggregates.totals import HourTotals

_SHOWN_URL = 100


def hour_metadata(totals: "HourTotals", generation: int) -> dict[str, Any]:
    """An hour's numbers, as metadata of its partition; without averages and rates whose denominator is zero."""
    sums = totals.sums
    samples, entries, exits = sums["time_spent_samples"], sums["entries"], sums["exits"]
    average = {"average seconds": sums["time_spent_seconds_sum"] / samples} if samples else {}
    percentiles = {f"p{percent} seconds": totals.seconds_spent(percent) for percent in (50, 90)}
    visits = {"visits": exits, "clicks per visit": totals.clicks / exits} if exits else {}
    bounces = {"bounce rate": sums["bounces"] / entries} if entries else {}
    return {
        "clicks": totals.clicks,
        "groups": totals.groups,
        "unique users": totals.unique_users,
        "clicks of known duration": samples,
        **average,
        **{name: seconds for name, seconds in percentiles.items() if seconds is not None},
        **visits,
        **bounces,
        "generation": generation,
    }


def report_hours(
    context: dg.AssetExecutionContext, hours: Mapping[int, Mapping[str, Any]], run: Mapping[str, Any]
) -> dg.MaterializeResult:
    """Reports the hours of a run as materialised, each with its own metadata and the run's.

    Args:
        context: The asset's.
        hours: Metadata by hour, epoch ms.
        run: Metadata of the run.
    """
    if is_scattered(context.run.tags):
        log_hours(context, context.asset_key, hours, run)
    else:
        for hour, metadata in hours.items():
            context.add_asset_metadata(metadata, partition_key=hour_key(hour))
    return dg.MaterializeResult(metadata=run)


def log_hours(
    context: dg.AssetExecutionContext,
    asset: dg.AssetKey | str,
    hours: Mapping[int, Mapping[str, Any]],
    run: Mapping[str, Any],
) -> None:
    """Reports hours as materialised by an event each, of whichever asset: also of one that the step only makes as well.

    Args:
        context: The step's.
        asset: Key of the asset.
        hours: Metadata by hour, epoch ms.
        run: Metadata of the run.
    """
    for hour, metadata in hours.items():
        context.log_event(dg.AssetMaterialization(asset, partition=hour_key(hour), metadata={**run, **metadata}))


def run_metadata(hours: Mapping[int, "HourTotals"]) -> dict[str, Any]:
    """The totals of a whole run, as metadata."""
    return {
        "run: hours": len(hours),
        "run: clicks": sum(totals.clicks for totals in hours.values()),
        "run: groups": sum(totals.groups for totals in hours.values()),
    }


def pages_markdown(pages: Iterable[tuple[str, str, int]]) -> str:
    """A Markdown table of page, country and clicks."""
    lines = ["| page | country | clicks |", "| --- | --- | ---: |"]
    lines += [f"| {_text(page)} | {_text(country)} | {clicks:,} |" for page, country, clicks in pages]
    return "\n".join(lines) if len(lines) > 2 else "No clicks."


def _text(untrusted: str) -> str:
    """Text as a code span of a table cell, which Markdown renders without markup or links."""
    shown = untrusted if len(untrusted) <= _SHOWN_URL else untrusted[:_SHOWN_URL] + "…"
    printable = "".join(c if c.isprintable() else "\ufffd" for c in shown)
    inert = printable.replace("`", "%60").replace("|", r"\|")
    return f"`{inert}`"
