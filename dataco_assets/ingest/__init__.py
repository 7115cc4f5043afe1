"""The drain from Kafka to HBase: plan, read, decide, store, and only then move offsets. No Dagster here."""
