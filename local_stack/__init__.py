"""Real servers on one machine, without Docker: Kafka, HDFS, HBase with its Thrift gateway, Elasticsearch.

For development, tests and the demo. Does not belong here: anything of the platform that uses them.
"""
