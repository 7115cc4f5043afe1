"""The hourly aggregates outside Spark: their columns, their files, their rules. No Dagster, no Spark."""
