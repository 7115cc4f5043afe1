"""Sends restatements to a Kafka topic, for programs that used the numbers of an hour before."""

from collections.abc import Sequence

import msgspec

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.index.restatements import Restatement


def send(brokers: Brokers, topic: str, records: Sequence[Restatement]) -> None:
    """Sends records, acknowledged by all replicas on return.

    The key is the record's id, so that a reader knows one that was sent again after a run had died. The value is its
    document, as JSON, with the id; Kafka's time is `noted_at`.

    Args:
        brokers: The Kafka cluster.
        topic: The topic, which must exist.
        records: What to send.

    Raises:
        TopicMissing: there is no such topic.
        KafkaFailure: a record cannot be delivered.
    """
    with AckedProducer(brokers, topic) as producer:
        for each in records:
            value = msgspec.json.encode({"id": each.id, **each.document})
            producer.send(each.id.encode(), value, timestamp_ms=each.noted_at)
