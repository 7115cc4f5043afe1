"""Tests the settings: defaults, messages about invalid values, and that secrets are never shown."""

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import Field, SecretStr

from dataco_assets.clients.kafka.brokers import Brokers
from dataco_assets.clients.kafka.consumer import RangeConsumer
from dataco_assets.clients.kafka.producer import AckedProducer
from dataco_assets.clients.kafka.topics import KafkaAdmin
from dataco_assets.kafka_options import RESERVED
from dataco_assets.settings import OTHERS, PREFIX, Settings, SettingsError, variable
from dataco_assets_tests.certificates import Authority

ROOT = Path(__file__).parents[2]
SUFFIXES = {".py", ".yaml", ".md", ""}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in [name for name in os.environ if name.upper().startswith(PREFIX)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def load(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def complaint(monkeypatch: pytest.MonkeyPatch, environment: Mapping[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(monkeypatch, environment)
    return str(caught.value)


def test_without_any_variable_there_are_defaults(tmp_path: Path) -> None:
    settings = Settings.load()
    assert settings.kafka_bootstrap_servers == "127.0.0.1:9092"
    assert settings.clicks_ttl_days == 90
    assert settings.elasticsearch_password.get_secret_value() == ""
    assert settings.aggregates_uri == (tmp_path / ".dataco" / "aggregates").as_uri()
    assert (settings.clicks_table, settings.offsets_table, settings.hours_table) == (
        "clicks",
        "ingest_offsets",
        "click_hours",
    )


@pytest.mark.parametrize("field", Settings.model_fields)
def test_every_field_is_set_by_its_variable_and_described(field: str, monkeypatch: pytest.MonkeyPatch) -> None:
    description = Settings.model_fields[field].description
    assert description
    assert description.endswith(".")
    default = getattr(Settings.load(), field)
    # A value that is allowed for each: the default, spelt out.
    text = default.get_secret_value() if hasattr(default, "get_secret_value") else str(default)
    assert getattr(load(monkeypatch, {variable(field): text}), field) == default


def test_a_prefix_separates_platforms(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, {"DATACO_HBASE_TABLE_PREFIX": "shop1_"})
    assert settings.clicks_table == "shop1_clicks"


def test_the_first_hour_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, {"DATACO_PARTITIONS_START": "2015-05-17-10:00"})
    assert settings.partitions_start_ms == 1_431_856_800_000


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("DATACO_KAFKA_BOOTSTRAP_SERVERS", "", "at least 1 character"),
        ("DATACO_CLICKS_TOPIC", "a topic", "must be 1 to 200 letters"),
        ("DATACO_REJECTED_TOPIC", "", "must be 1 to 200 letters"),
        ("DATACO_TOPIC_PARTITIONS", "0", "greater than or equal to 1"),
        ("DATACO_TOPIC_PARTITIONS", "many", "valid integer"),
        ("DATACO_TOPIC_REPLICATION", "33", "less than or equal to 32"),
        ("DATACO_HBASE_THRIFT_PORT", "65536", "less than or equal to 65535"),
        ("DATACO_HBASE_THRIFT_PORT", "9090.5", "valid integer"),
        ("DATACO_HBASE_THRIFT_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("DATACO_HBASE_RETRY_SECONDS", "-1", "greater than or equal to 0"),
        ("DATACO_HBASE_TABLE_PREFIX", "shop 1", "must be at most 64 letters"),
        ("DATACO_HBASE_TABLE_PREFIX", "-shop", "not starting with a dot or hyphen"),
        ("DATACO_HBASE_TABLE_PREFIX", ".shop", "not starting with a dot or hyphen"),
        ("DATACO_CLICKS_TTL_DAYS", "0", "greater than or equal to 1"),
        ("DATACO_CLICKS_TTL_DAYS", "24856", "less than or equal to 24855"),
        ("DATACO_ELASTICSEARCH_URL", "127.0.0.1:9200", "must be http://host:port or https://host:port"),
        ("DATACO_INDEX_ALIAS", "Upper", "must be 1 to 100 lower-case letters"),
        ("DATACO_INDEX_ALIAS", "_hidden", "starting with a letter or digit"),
        ("DATACO_INDEX_REPLICAS", "-1", "greater than or equal to 0"),
        ("DATACO_AGGREGATES_URI", "file:///var/lib/what?", "without the characters"),
        ("DATACO_CATALOG_URI", "catalog.db", "must be sqlite:////path/of/a/file"),
        ("DATACO_CATALOG_URI", "mysql://db/dataco", "must be sqlite:////path/of/a/file"),
        ("DATACO_CATALOG_NAME", "Data-Co", "must be 1 to 63 lower-case letters"),
        ("DATACO_AGGREGATES_URI", "/var/lib/aggregates", "must be file:///folder, hdfs://"),
        ("DATACO_AGGREGATES_URI", "gs://bucket/aggregates", "must be file:///folder, hdfs://"),
        ("DATACO_AGGREGATES_URI", "s3://", "must be file:///folder, hdfs://"),
        ("DATACO_AGGREGATES_URI", "hdfs:///aggregates", "must be file:///folder, hdfs://namenode:port/folder"),
        ("DATACO_S3_ENDPOINT", "127.0.0.1:9000", "must be http://host:port or https://host:port"),
        ("DATACO_WEBHDFS_URL", "webhdfs://127.0.0.1:9870", "must be http://host:port or https://host:port"),
        ("DATACO_SNAPSHOT_RETENTION_HOURS", "0", "greater than or equal to 1"),
        ("DATACO_ORPHAN_RETENTION_DAYS", "1", "greater than or equal to 2"),
        ("DATACO_SPARK_DRIVER_MEMORY", "2 GB", "like 512m or 2g"),
        ("DATACO_INGEST_MAX_REJECTED_SHARE", "1.5", "less than or equal to 1"),
        ("DATACO_INGEST_MAX_REJECTED_SHARE", "half", "valid number"),
        ("DATACO_INGEST_CHECKPOINT_CLICKS", "0", "greater than or equal to 1"),
        ("DATACO_SPARK_MASTER", "garbage", "must be a Spark master: local"),
        ("DATACO_CONNECTOR_JARS", "/no/such/folder", "must be a folder that exists"),
        ("DATACO_PARTITIONS_START", "January", "must look like 2026-01-01 or 2026-01-01-00:00"),
        ("DATACO_PARTITIONS_START", "2930-01-01", "must not lie in the future"),
        ("DATACO_PARTITIONS_START", "2026-01-01-00:30", "must be a whole hour"),
        ("DATACO_PARTITIONS_START", "2026-02-30-00:00", "must look like 2026-01-01 or 2026-01-01-00:00"),
        ("DATACO_LAG_MAX_AGE_SECONDS", "-0.1", "greater than or equal to 0"),
        ("DATACO_SENSOR_INTERVAL_SECONDS", "0", "greater than or equal to 1"),
        ("DATACO_HOURS_PER_RUN", "9000", "less than or equal to 8760"),
    ],
)
def test_a_bad_value_is_named_with_its_variable_and_rule(
    name: str, value: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = complaint(monkeypatch, {name: value}).splitlines()
    assert len(lines) == 3
    assert f"{name}={value!r}" in lines[1]
    assert rule in lines[1]
    assert "docs/settings.md" in lines[2]


def test_all_bad_values_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"DATACO_INDEX_SHARDS": "0", "DATACO_CLICKS_TOPIC": "?", "DATACO_HOURS_PER_RUN": "x"})
    assert all(f"{name}=" in told for name in ("DATACO_INDEX_SHARDS", "DATACO_CLICKS_TOPIC", "DATACO_HOURS_PER_RUN"))


def test_a_long_or_strange_value_cannot_flood_or_forge_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"DATACO_CLICKS_TOPIC": "x\n\x1b[2JDATACO_OTHER=ok " + "y" * 10_000})
    assert len(told.splitlines()) == 3
    assert len(told) < 1_000
    assert "\x1b" not in told


def test_a_password_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cr3t-horse"  # noqa: S105  # a made-up one
    monkeypatch.setenv("DATACO_ELASTICSEARCH_PASSWORD", secret)
    settings = Settings.load()
    assert settings.elasticsearch_password.get_secret_value() == secret
    assert secret not in repr(settings)
    assert secret not in str(settings)
    assert secret not in settings.model_dump_json()
    assert secret not in complaint(monkeypatch, {"DATACO_INDEX_SHARDS": "0"})


def test_further_spark_configuration_is_a_json_object(monkeypatch: pytest.MonkeyPatch) -> None:
    given = '{"spark.executor.memory": "4g", "spark.executor.instances": 3, "spark.dynamicAllocation.enabled": true}'
    assert load(monkeypatch, {"DATACO_SPARK_CONF": given}).spark_options == {
        "spark.executor.memory": "4g",
        "spark.executor.instances": "3",
        "spark.dynamicAllocation.enabled": "true",
    }


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ('{"spark.hadoop.fs.s3a.secret.key": "s3cr3t-horse"', "must be a JSON object, but at character"),
        ('["s3cr3t-horse"]', "must be a JSON object of texts"),
        ('{"spark.a": ["s3cr3t-horse"]}', "must be a JSON object of texts"),
        ('{"hadoop.fs.s3a.secret.key": "s3cr3t-horse"}', "must hold names that begin with spark."),
    ],
)
def test_spark_configuration_that_cannot_be_used_is_not_shown(
    given: str, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = complaint(monkeypatch, {"DATACO_SPARK_CONF": given})
    assert "DATACO_SPARK_CONF=***: " in told
    assert rule in told
    assert "s3cr3t" not in told


def test_further_kafka_options_are_those_of_the_client_and_can_come_from_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    given = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "u"}
    file = tmp_path / "options"
    file.write_text(json.dumps(given | {"sasl.password": "s3cr3t-horse", "socket.keepalive.enable": True}) + "\n")
    settings = load(monkeypatch, {"DATACO_KAFKA_OPTIONS_FILE": str(file)})
    assert settings.kafka_client_options == given | {"sasl.password": "s3cr3t-horse", "socket.keepalive.enable": "true"}
    brokers = Brokers.of(settings)
    assert "s3cr3t" not in f"{settings!r} {settings.model_dump_json()} {brokers!r}"
    config = brokers.config(fixed={"acks": "all"}, tuning={"socket.keepalive.enable": "false", "linger.ms": 20})
    assert (config["acks"], config["socket.keepalive.enable"], config["linger.ms"]) == ("all", "true", 20)


@pytest.mark.parametrize(
    ("given", "rule"),
    [
        ({"group.id": "mine"}, "must not hold group.id: set DATACO_KAFKA_GROUP instead"),
        (
            {"bootstrap.servers": "kafka:1"},
            "set DATACO_KAFKA_BOOTSTRAP_SERVERS instead",
        ),
        ({"acks": "1"}, "must not hold acks: a click counts as delivered only when"),
        ({"enable.idempotence": False}, "must not hold enable.idempotence: a click counts as delivered only when"),
        ({"enable.auto.commit": True}, "must not hold enable.auto.commit: the platform itself decides"),
        ({"auto.offset.reset": "latest"}, "must not hold auto.offset.reset: an offset that is gone must be an error"),
        ({"sasl.pasword": "s3cr3t"}, 'is refused by the Kafka client: No such configuration property: "sasl.pasword"'),
        ({"security.protocol": "s3cr3t"}, 'Invalid value "***" for configuration property "security.protocol"'),
        ({"ssl.ca.location": "/s3cr3t/ca.pem", "security.protocol": "SSL"}, "ssl.ca.location failed"),
        ({"error_cb": "s3cr3t"}, "must hold options of librdkafka only"),
        ("security.protocol=SSL,ssl.key.password=s3cr3t", "must be a JSON object"),
    ],
)
def test_a_kafka_option_that_cannot_be_used_is_refused_with_the_reason_and_not_shown(
    given: object, rule: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = given if isinstance(given, str) else json.dumps(given)
    told = complaint(monkeypatch, {"DATACO_KAFKA_OPTIONS": text})
    assert "DATACO_KAFKA_OPTIONS=***: " in told
    assert rule in told
    assert "s3cr3t" not in told


def test_what_the_clients_set_for_their_guarantees_is_reserved() -> None:
    seen: set[str] = set()

    class Seen(Brokers):
        def config(
            self, *, fixed: Mapping[str, object], tuning: Mapping[str, object] | None = None
        ) -> dict[str, object]:
            seen.update(fixed)
            return super().config(fixed=fixed, tuning=tuning)

    brokers = Seen("127.0.0.1:1")
    AckedProducer(brokers, "clicks")
    with RangeConsumer(brokers, "group", "clicks", [], stall_seconds=1):
        pass
    KafkaAdmin(brokers)
    assert seen - {"error_cb"} <= set(RESERVED)


def test_nor_when_it_is_the_password_that_breaks_a_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(Settings):
        elasticsearch_password: SecretStr = Field(SecretStr(""), min_length=30)

    monkeypatch.setenv("DATACO_ELASTICSEARCH_PASSWORD", "s3cr3t-horse")
    with pytest.raises(SettingsError) as caught:
        Strict.load()
    assert "DATACO_ELASTICSEARCH_PASSWORD=***: " in str(caught.value)
    assert "s3cr3t" not in str(caught.value)


def test_credentials_do_not_belong_in_the_url_and_are_not_shown_when_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"DATACO_ELASTICSEARCH_URL": "http://elastic:s3cr3t-h@rse@search:9200"})
    assert "DATACO_ELASTICSEARCH_URL='http://***@search:9200'" in told
    assert "s3cr3t" not in told
    assert "rse" not in told.replace("search", "")


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("DATACO_KAFKA_BOOTSTRAP_SERVER", "; did you mean DATACO_KAFKA_BOOTSTRAP_SERVERS?"),
        ("DATACO_HBASE_THRIF_PORT", "; did you mean DATACO_HBASE_THRIFT_PORT?"),
        ("DATACO_ELASTICSEARCH_PASSWORD_FIEL", "; did you mean DATACO_ELASTICSEARCH_PASSWORD_FILE?"),
        ("DATACO_STACK_DIRS", "; did you mean DATACO_STACK_DIR?"),
        ("DATACO_XYZZY", ""),
    ],
)
def test_a_variable_that_is_no_setting_is_refused_with_the_nearest_name(
    name: str, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = complaint(monkeypatch, {name: "s3cr3t"}).splitlines()
    assert lines[1] == f"  {name}: there is no such setting{hint}"
    assert len(lines) == 3


def test_unknown_variables_and_broken_rules_are_reported_together(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"DATACO_XYZZY": "1", "DATACO_INDEX_SHARDS": "0"})
    assert "DATACO_XYZZY: there is no such setting" in told
    assert "DATACO_INDEX_SHARDS='0'" in told


def test_variables_of_others_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    service_links = {
        "DATACO_SERVICE_HOST": "10.0.0.1",
        "DATACO_SERVICE_PORT_GRPC": "3030",
        "DATACO_PORT": "tcp://10.0.0.1:3030",
        "DATACO_PORT_3030_TCP_ADDR": "10.0.0.1",
    }
    assert load(monkeypatch, dict.fromkeys(OTHERS, "/some/folder") | service_links) == Settings.load()


def test_every_variable_of_the_repository_belongs_to_somebody() -> None:
    known = {variable(field) for field in Settings.model_fields} | set(OTHERS)
    folders = ("dataco_assets", "spark_resources", "local_stack", "docker", "docs")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*")]
    used = {
        name
        for file in files
        if file.is_file() and file.suffix in SUFFIXES
        for name in re.findall(r"DATACO_[A-Z0-9_]*[A-Z](?![A-Z0-9_])", file.read_text())
    }
    assert len(used) > 30
    assert {name for name in used - known if name.removesuffix("_FILE") not in known} == set()


@pytest.mark.parametrize("text", ["s3cr3t\n", "s3cr3t", "s3cr3t\r\n"])
def test_a_secret_is_read_from_a_file(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "password"
    file.write_bytes(text.encode())
    settings = load(monkeypatch, {"DATACO_ELASTICSEARCH_PASSWORD_FILE": str(file)})
    assert settings.elasticsearch_password.get_secret_value() == "s3cr3t"


def test_a_secret_has_one_source_that_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    told = complaint(monkeypatch, {"DATACO_ELASTICSEARCH_PASSWORD_FILE": "/no/such/file"})
    assert "DATACO_ELASTICSEARCH_PASSWORD_FILE='/no/such/file' cannot be read: No such file" in told
    told = complaint(monkeypatch, {"DATACO_ELASTICSEARCH_PASSWORD": "s3cr3t"})
    assert "are both set" in told
    assert "s3cr3t" not in told


def test_the_file_of_an_authority_must_hold_a_certificate_and_be_of_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = Authority.make("authority").write(tmp_path)
    secure = {"DATACO_ELASTICSEARCH_URL": "https://es:9200", "DATACO_ELASTICSEARCH_CA_FILE": str(file)}
    assert load(monkeypatch, secure).elasticsearch_ca_file == str(file)

    told = complaint(monkeypatch, {"DATACO_ELASTICSEARCH_URL": "http://es:9200"})
    assert "DATACO_ELASTICSEARCH_CA_FILE" in told
    assert "does not begin with https://" in told
    told = complaint(monkeypatch, secure | {"DATACO_ELASTICSEARCH_CA_FILE": str(tmp_path / "none.pem")})
    assert "cannot be read: No such file" in told
    file.write_text("no certificate")
    assert "must be a PEM file" in complaint(monkeypatch, secure)


@pytest.mark.parametrize("audience", ["clicks", "clicks-rebuilt", "clicks-2026.01", "clicks-20", "clicks-1999-x"])
def test_pages_and_audience_share_no_template(audience: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for one, other in (("clicks", audience), (audience, "clicks")):
        told = complaint(monkeypatch, {"DATACO_INDEX_ALIAS": one, "DATACO_AUDIENCE_ALIAS": other})
        assert "would share index templates" in told


@pytest.mark.parametrize("audience", ["", "clicks-audience", "clicks-visitors", "visitors", "clicks2026.01"])
def test_an_audience_s_alias_may_begin_like_the_pages(audience: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"DATACO_INDEX_ALIAS": "clicks", "DATACO_AUDIENCE_ALIAS": audience}
    assert load(monkeypatch, names).audience_alias == audience


@pytest.mark.parametrize(
    "value", ["local", "local[4]", "local[*, 2]", "spark://a:7077", "k8s://https://a:6443", "yarn"]
)
def test_masters_of_spark(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"DATACO_SPARK_MASTER": value}).spark_master == value


def test_the_first_hour_may_be_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, {"DATACO_PARTITIONS_START": "2026-01-01"}).partitions_start == "2026-01-01-00:00"


def test_settings_do_not_change_once_read() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings.load().clicks_topic = "other"  # pyright: ignore[reportAttributeAccessIssue]  # that is the point


@pytest.mark.parametrize("uri", ["s3://bucket", "s3a://bucket/folder", "hdfs://namenode:8020/folder"])
def test_aggregates_on_a_server_need_a_catalog_that_is_one(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = complaint(monkeypatch, {"DATACO_AGGREGATES_URI": uri, "DATACO_WEBHDFS_URL": "http://namenode:9870"})
    assert "DATACO_CATALOG_URI='': must be set, as DATACO_AGGREGATES_URI is no file:// folder" in said


def test_aggregates_on_hdfs_need_an_address_for_python(monkeypatch: pytest.MonkeyPatch) -> None:
    catalog = "postgresql://postgres:5432/dagster"
    given = {"DATACO_AGGREGATES_URI": "hdfs://namenode:8020/folder", "DATACO_CATALOG_URI": catalog}
    said = complaint(monkeypatch, given)
    assert "DATACO_WEBHDFS_URL='': must be set, like http://namenode:9870" in said


@pytest.mark.parametrize("uri", ["s3://bucket", "s3a://bucket/folder", "hdfs://namenode:8020/folder"])
def test_aggregates_can_be_on_s3_and_hdfs(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATACO_AGGREGATES_URI", uri)
    monkeypatch.setenv("DATACO_CATALOG_URI", "postgresql://postgres:5432/dagster?sslmode=require")
    monkeypatch.setenv("DATACO_WEBHDFS_URL", "http://namenode:9870")
    assert Settings.load().aggregates_uri == uri
