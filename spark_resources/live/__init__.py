"""The running hours, computed click by click: a Spark Structured Streaming application (docs/live.md)."""
