"""The clients of the three servers, each wrapped in one module with typed errors, deadlines and retries.

Belongs here: how to talk to Kafka, HBase and Elasticsearch. Does not belong here: what the platform says to them, and
anything of Dagster.
"""
