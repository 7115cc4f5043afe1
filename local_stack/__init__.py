"""Runs real servers on one machine, without Docker: Kafka, HDFS, HBase with its Thrift gateway, Elasticsearch.

For development, tests and the demo. Nothing here depends on the platform that uses the servers.
"""
