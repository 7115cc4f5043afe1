"""DataCo's clickstream platform: the Dagster code location. Start reading at `definitions.py`."""
