"""Kafka: topic metadata, a consumer of exact offset ranges, and a producer that knows what was acknowledged.

The only package that imports confluent_kafka. Does not belong here: what a click is, and which offsets to read.

Every call has a deadline: librdkafka would otherwise wait for a broker for ever.
"""
