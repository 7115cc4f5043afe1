"""The clients of the servers, each wrapped in one module with typed errors, deadlines and retries.

Belongs here: how to talk to Kafka, Kafka Connect, HBase, Elasticsearch and a schema registry. Does not belong here:
what the platform says to them, and anything of Dagster.
"""
