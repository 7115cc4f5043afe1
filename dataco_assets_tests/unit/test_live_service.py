"""Tests what live keeps of a run, how it reaches Kafka, and how it reads Spark's reports."""

import pytest
from pydantic import SecretStr

from dataco_assets.clicks.hour import HOUR_MS
from dataco_assets.live.kafka_access import KafkaAccessUnknown, java_options
from dataco_assets.live.runs import LiveRun
from dataco_assets.live.service import Latency, Progress
from dataco_assets.settings import Settings

NOON = 1_773_576_000_000
"""2026-03-15 12:00 UTC, epoch ms."""


def test_a_run_comes_back_from_its_note() -> None:
    run = LiveRun("20260315120000-abcdef", NOON, {0: 5, 1: 0}, {"topic": "clicks", "hours": 3})
    assert LiveRun.from_json(run.to_json()) == run


def settings(options: str) -> Settings:
    # Not validated: the file of the authority need not exist.
    return Settings.model_construct(kafka_options=SecretStr(options), kafka_bootstrap_servers="127.0.0.1:9092")


def test_access_to_kafka_in_javas_words() -> None:
    given_options = (
        '{"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "ann", '
        '"sasl.password": "a\\"b", "ssl.ca.location": "/ca.pem", "fetch.wait.max.ms": "7"}'
    )
    assert java_options(settings(given_options)) == {
        "bootstrap.servers": "127.0.0.1:9092",
        "security.protocol": "SASL_SSL",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required "
        'username="ann" password="a\\"b";',
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": "/ca.pem",
    }


def test_an_option_that_decides_about_access_and_is_unknown_is_refused() -> None:
    with pytest.raises(KafkaAccessUnknown, match=r"ssl\.crl\.location"):
        java_options(settings('{"ssl.crl.location": "/crl"}'))


def test_what_spark_reports() -> None:
    report = {
        "batchId": 7,
        "durationMs": {"triggerExecution": 850, "addBatch": 700},
        "sources": [{"endOffset": {"clicks": {"0": 5, "1": 7}}, "latestOffset": {"clicks": {"0": 5, "1": 9}}}, {}],
        "stateOperators": [{"numRowsTotal": 3}],
        "eventTime": {"watermark": "2026-03-15T08:30:00.000Z", "max": "2026-03-15T11:59:00.000Z"},
        "observedMetrics": {"arrivals": {"first_ms": NOON - 500}},
    }
    assert Progress.of(report, delay_ms=HOUR_MS * 7 // 2) == Progress(7, 0.85, 2, 3, NOON, NOON - 500)
    idle = {
        "batchId": 8,
        "durationMs": {"triggerExecution": 5},
        "sources": [{"endOffset": None, "latestOffset": {"clicks": {"0": 5}}}],
        "eventTime": {"watermark": "1970-01-01T00:00:00.000Z"},
    }
    assert Progress.of(idle, delay_ms=HOUR_MS) == Progress(8, None, 0, 0, 0)


def test_latency_is_the_slowest_micro_batch_of_the_last_minute() -> None:
    latency = Latency()
    assert latency.p95(0.0) is None
    for batch_id, shown_after_ms in enumerate([900, 4_000, 1_200]):
        latency.shown(batch_id, NOON + shown_after_ms)
        latency.progressed(Progress(batch_id, 0.5, 0, 1, NOON, NOON), 100.0 + 30 * batch_id)
    assert latency.p95(160.0) == 4.0
    assert latency.p95(191.0) == 1.2
    latency.progressed(Progress(3, 0.5, 0, 1, NOON, NOON), 191.0)
    latency.progressed(Progress(2, 0.5, 0, 1, NOON, None), 191.0)
    assert latency.p95(221.0) is None, "a micro-batch that nobody saw yet, and one without records"
    latency.progressed(Progress(2, 0.5, 0, 1, NOON, NOON + 9_000), 221.0)
    assert latency.p95(221.0) == 0.0, "a producer's clock ahead of this one"
