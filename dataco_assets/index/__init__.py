"""The index readers search: layout, creation, publication, rebuilding and reading. No Dagster, no Spark."""
