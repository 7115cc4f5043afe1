"""The Spark code: session, HBase as a DataFrame, aggregation, publication. It does not depend on Dagster."""
