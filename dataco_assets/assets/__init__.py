"""The Dagster assets: thin functions that call the packages below them and report the results to Dagster."""

import warnings

import dagster as dg

# Both features are used on purpose: the platform computes a range of hours in one run. Each warning is named, so that
# new ones of later Dagster versions are still shown.
warnings.filterwarnings("ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning)
warnings.filterwarnings(
    "ignore", message="Specifying a partitions_def on an AssetCheckSpec", category=dg.PreviewWarning
)
