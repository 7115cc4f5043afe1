"""The index readers search: its layout, its creation, how it is kept true, and reading it. No Dagster, no Spark."""
