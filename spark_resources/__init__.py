"""What runs on Spark: the session, HBase as a DataFrame, the aggregation, publication. No Dagster here."""
