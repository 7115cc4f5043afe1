"""The assets: thin functions that call the rooms below and report what they did in Dagster's terms."""

import warnings

import dagster as dg

# Known and accepted: a range of hours as one run is what this platform is built on. Named one by one, so that the next
# Dagster's other warnings are seen.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
warnings.filterwarnings(
    "ignore", message="Specifying a partitions_def on an AssetCheckSpec", category=dg.PreviewWarning
)
