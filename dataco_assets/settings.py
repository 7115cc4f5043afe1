"""Every setting of the platform: name, default, unit and rule, read from `DATACO_*` environment variables.

Belongs here: what an operator may set. Does not belong here: constants of the data formats (they live beside the
format they describe) and anything that talks to a server.

Each field's description is the one source of the settings table in docs/settings.md (a test compares the two).
"""

import difflib
import json
import os
import re
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from dataco_assets.certificates import check_certificates
from dataco_assets.clicks.bots import BotRule
from dataco_assets.errors import DatacoError
from dataco_assets.kafka_options import check_options
from dataco_assets.logs import LogFormat

PREFIX = "DATACO_"
PARTITION_FORMAT = "%Y-%m-%d-%H:%M"  # Dagster's own format of hourly partition keys

_CREDENTIALS = re.compile(r"//.*@")  # in a URL; they have variables of their own, which are never shown

_WEB_ADDRESS = re.compile(r"https?://[^/\s]+(/\S*)?")

OTHERS = {
    "DATACO_STACK_DIR": "`dataco stack`: the folder of the local servers",
    "DATACO_TEST_STACK_DIR": "the tests: a running stack to use",
    "DATACO_FAULT_STACK_DIR": "the fault tests: a running stack to use",
}
"""Variables with the platform's prefix that are no settings of it, and whose they are."""

_SERVICE_LINK = re.compile(r"_SERVICE_HOST$|_SERVICE_PORT(_\w+)?$|_PORT_\d+_(TCP|UDP|SCTP)(_\w+)?$")
"""Variables that Kubernetes sets in each pod for a service named dataco."""
_SERVICE_ADDRESS = re.compile(r"(tcp|udp|sctp)://")


def _rule(pattern: str, words: str) -> AfterValidator:
    """A rule about a text, which an error reports in words."""

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(words)
        return value

    return AfterValidator(check)


Name = Annotated[
    str, _rule(r"[a-zA-Z0-9._-]{1,200}", "must be 1 to 200 letters (a to z), digits, dots, underscores or hyphens")
]
OptionalName = Annotated[
    str,
    _rule(
        r"[a-zA-Z0-9._-]{0,200}", "must be at most 200 letters (a to z), digits, dots, underscores or hyphens, or empty"
    ),
]
TablePrefix = Annotated[
    str,
    _rule(
        r"([a-zA-Z0-9_][a-zA-Z0-9_.-]{0,63})?",
        "must be at most 64 letters (a to z), digits, dots, underscores or hyphens, not starting with a dot or hyphen",
    ),
]
_SERVER_URL = r"https?://[^/\s@]+/?"
_SERVER_URL_RULE = "must be http://host:port or https://host:port, without a path, user name or password"
ServerUrl = Annotated[str, _rule(_SERVER_URL, _SERVER_URL_RULE)]
OptionalServerUrl = Annotated[str, _rule(f"({_SERVER_URL})?", f"{_SERVER_URL_RULE}, or empty")]
RegistryUrl = Annotated[
    str,
    _rule(
        r"(https?://[^/\s@?#]+(/[^\s@?#]*)?)?",
        "must be http(s)://host:port, with a path where it has one, without user name or password, or empty",
    ),
]
IndexAlias = Annotated[
    str,
    _rule(
        r"[a-z0-9][a-z0-9._-]{0,99}",
        "must be 1 to 100 lower-case letters, digits, dots, underscores or hyphens, starting with a letter or digit",
    ),
]
OptionalIndexAlias = Annotated[
    str, _rule(r"([a-z0-9][a-z0-9._-]{0,99})?", "must be as DATACO_INDEX_ALIAS must be, or empty")
]
Uri = Annotated[
    str,
    _rule(
        r"file:///[^?#;]*|hdfs://[^/\s@?#;]+/[^?#;]*|s3a?://[^/\s@?#;]+(/[^?#;]*)?",
        "must be file:///folder, hdfs://namenode:port/folder or s3://bucket/folder, without the characters ? # ;",
    ),
]
CatalogUri = Annotated[
    str,
    _rule(
        r"|sqlite:////[^?#;]+|postgresql://[^/\s@]+/[^/\s@]+|https?://[^\s@]+",
        "must be sqlite:////path/of/a/file, postgresql://host:port/database or the http(s) address of a REST catalog, "
        "without user name and password, or empty",
    ),
]
CatalogName = Annotated[
    str, _rule(r"[a-z][a-z0-9_]{0,62}", "must be 1 to 63 lower-case letters, digits or underscores, first a letter")
]
SparkMaster = Annotated[
    str,
    _rule(
        r"local|local\[(\*|[1-9]\d*)(,\s*\d+)?\]|local-cluster\[[\d,\s]+\]|yarn|(spark|k8s)://\S+",
        "must be a Spark master: local, local[2], local[*], spark://host:7077, k8s://https://host:port or yarn",
    ),
]
Memory = Annotated[str, _rule(r"[1-9]\d*[mg]", "must be a whole number of m (MiB) or g (GiB), like 512m or 2g")]


CanaryUrl = Annotated[
    str,
    _rule(
        r"https?://[a-z0-9.-]+(:\d+)?(/[\w./~-]*)?",
        "must be an http(s) address without parameters, its host in lower case, like https://canary.invalid",
    ),
]
_ADDRESS = r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w.-]+"
OptionalAddress = Annotated[
    str, _rule(f"(?a:({_ADDRESS})?)", "must be an address like dataco@example.com, in ASCII, or empty")
]
Addresses = Annotated[
    str,
    _rule(
        rf"(?a:({_ADDRESS}(\s*,\s*{_ADDRESS})*)?)",
        "must be addresses like ann@example.com, in ASCII, comma-separated, or empty",
    ),
]


Agents = Annotated[
    str,
    _rule(
        r"([^,\x00-\x1f\x7f]{1,100}(,[^,\x00-\x1f\x7f]{1,100})*)?",
        "must be browser or device families of 1 to 100 characters, comma-separated, or empty",
    ),
]


class SmtpTls(StrEnum):
    """How the connection to a mail server is encrypted."""

    STARTTLS = "starttls"
    TLS = "tls"
    NONE = "none"


CheckpointUri = Annotated[
    str,
    _rule(
        r"file:///[^?#;*{}\[\]]*|hdfs://[^/\s@?#;]+/[^?#;*{}\[\]]*",
        "must be file:///folder or hdfs://namenode:port/folder, without the characters ? # ; * { } [ ]",
    ),
]


def _local_checkpoints() -> str:
    return (Path.cwd() / ".dataco" / "live").as_uri()


def _local_aggregates() -> str:
    return (Path.cwd() / ".dataco" / "aggregates").as_uri()


class SettingsError(DatacoError):
    """A setting is missing or breaks its rule; the message names each variable, its value and its rule."""


class Settings(BaseSettings):
    """The platform's settings, validated as a whole when they are read."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    # Kafka
    kafka_bootstrap_servers: str = Field(
        "127.0.0.1:9092", min_length=1, description="Kafka brokers, `host:port`, comma-separated."
    )
    kafka_options: SecretStr = Field(
        SecretStr(""),
        description="Further options of the Kafka clients (librdkafka's names) as a JSON object, like "
        '`{"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512"}`. Never shown: it may hold secrets.',
    )
    clicks_topic: Name = Field("clicks", description="Topic the clicks arrive on.")
    rejected_topic: Name = Field(
        "clicks.rejected", description="Topic that keeps every rejected click, bytes unchanged."
    )
    restatements_topic: OptionalName = Field(
        "", description="Topic that each restatement of a final hour is also sent to, as JSON; empty: none."
    )
    kafka_group: Name = Field(
        "dataco-raw-clicks", description="Consumer group whose offsets other tools see; the offset ledger is the truth."
    )
    topic_partitions: int = Field(4, ge=1, le=10_000, description="Partitions of topics that `dataco setup` creates.")
    topic_replication: int = Field(1, ge=1, le=32, description="Replicas of topics that `dataco setup` creates.")
    rejected_retention_hours: int = Field(
        336, ge=1, description="Hours a rejected click is kept: it is raw personal data."
    )

    # Avro
    schema_registry_url: RegistryUrl = Field(
        "",
        description="Schema registry of clicks in Avro, as `http(s)://host:port`, with the path of its API where it "
        "has one; empty: none.",
    )
    schema_registry_username: str = Field("", description="User name for the registry; empty: none.")
    schema_registry_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    schema_registry_token: SecretStr = Field(
        SecretStr(""), description="Bearer token for the registry, in place of user name and password."
    )
    schema_registry_ca_file: str = Field(
        "",
        description="PEM file with the certificate of the authority that signed the registry's, for `https://`; empty: "
        "an authority that Python knows.",
    )
    schema_registry_retry_seconds: float = Field(
        30.0, ge=0, description="How long a registry that does not answer is asked again, in seconds."
    )
    writer_schemas: str = Field(
        "",
        description="Folder with the schemas (`*.avsc`) of producers that send Avro's single-object encoding; empty: "
        "only the contract's own.",
    )

    # HBase
    hbase_thrift_host: str = Field("127.0.0.1", min_length=1, description="Host of the HBase Thrift 1 gateway.")
    hbase_thrift_port: int = Field(9090, ge=1, le=65_535, description="Port of the HBase Thrift 1 gateway.")
    hbase_thrift_timeout_seconds: float = Field(
        30.0, gt=0, description="Timeout of one Thrift call, in seconds; its connection is then closed."
    )
    hbase_retry_seconds: float = Field(
        120.0, ge=0, description="How long a failing HBase call is retried before the run fails, in seconds."
    )
    hbase_zookeeper_quorum: str = Field(
        "127.0.0.1:2181",
        min_length=1,
        description="ZooKeeper servers through which Spark finds HBase, `host:port`, comma-separated.",
    )
    hbase_table_prefix: TablePrefix = Field(
        "",
        description="Prefix of every HBase table name, so that several platforms can share a cluster.",
    )
    clicks_ttl_days: int = Field(
        90, ge=1, le=24_855, description="Days a click is kept in HBase, counted from its arrival."
    )

    # Elasticsearch
    elasticsearch_url: ServerUrl = Field(
        "http://127.0.0.1:9200",
        description="Elasticsearch, as `http(s)://host:port`.",
    )
    elasticsearch_username: str = Field("", description="User name; empty: no authentication.")
    elasticsearch_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    elasticsearch_ca_file: str = Field(
        "",
        description="PEM file with the certificate of the authority that signed Elasticsearch's, for `https://`; "
        "empty: Python and Java must both know the authority.",
    )
    index_alias: IndexAlias = Field(
        "dataco-url-country",
        description="Alias that readers search; its indices are named alias-YYYY.MM.",
    )
    audience_alias: OptionalIndexAlias = Field(
        "",
        description="Alias of the audience (clicks by country, city, browser, operating system, device and referrer's "
        "host); empty: that of the pages (`DATACO_INDEX_ALIAS`) and `-audience`.",
    )
    index_shards: int = Field(1, ge=1, le=1024, description="Primary shards of each monthly index.")
    index_replicas: int = Field(1, ge=0, le=16, description="Replicas of each monthly index.")

    # Spark and the aggregates
    aggregates_uri: Uri = Field(
        default_factory=_local_aggregates,
        description="Folder of the aggregates' table (the Iceberg warehouse), one that every Spark worker and Dagster "
        "run sees: `file:///folder`, `hdfs://namenode:port/folder` or `s3://bucket/folder` (`s3a://` is the same). "
        "Default: `.dataco/aggregates` under the working directory.",
    )
    catalog_uri: CatalogUri = Field(
        "",
        description="Iceberg catalog of the table: `sqlite:////path` (runs on one machine only), "
        "`postgresql://host:port/database`, or the address of a REST catalog. Empty: the SQLite file `catalog.db` in "
        "the folder of the aggregates, which then is a `file://` one.",
        validate_default=True,
    )
    catalog_name: CatalogName = Field(
        "dataco", description="Name of the catalog in Spark and in the database; platforms that share one differ in it."
    )
    catalog_username: str = Field("", description="User name for the catalog; empty: none.")
    catalog_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    s3_endpoint: OptionalServerUrl = Field(
        "",
        description="S3 server of aggregates on `s3://`, as `http(s)://host:port`; empty: Amazon's. Region and "
        "credentials come from `AWS_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and Amazon's other ways.",
    )
    webhdfs_url: OptionalServerUrl = Field(
        "",
        description="WebHDFS of aggregates on `hdfs://`, as `http(s)://host:port`: the active NameNode's HTTP "
        "address, or an HttpFS gateway's. Spark does not need it, Python does.",
        validate_default=True,
    )
    snapshot_retention_hours: int = Field(
        24,
        ge=1,
        description="Hours for which the table keeps what a commit replaced, for readers of an earlier snapshot.",
    )
    orphan_retention_days: int = Field(
        3,
        ge=2,
        description="Days after which a file in the table's folder that no commit refers to is removed; longer than "
        "any run takes.",
    )
    bot_agents: Agents = Field(
        "",
        description="Further browser or device families whose clicks count as of bots (`bot_clicks`), comma-separated, "
        "written as in the clicks (`dataco top --by browser`); empty: only those of the maintained list. Before you "
        "change it, `dataco rules diff --agents …` tells which hours would change.",
    )
    bot_clicks_per_minute: int = Field(
        60,
        ge=0,
        le=1_000_000,
        description="Clicks of a user within a minute of the clock from which all of them count as of a bot; 0: no "
        "number does. Before you change it, `dataco rules diff --clicks-per-minute N` tells which hours would change.",
    )
    spark_master: SparkMaster = Field(
        "local[*]", description="Spark master: `local[*]`, `spark://host:7077`, `k8s://…` or `yarn`."
    )
    spark_driver_memory: Memory = Field("2g", description="Driver heap, e.g. `2g`.")
    spark_driver_idle_seconds: int = Field(
        120,
        ge=0,
        le=86_400,
        description="Seconds for which a driver's JVM waits for the next run on this machine, which then starts within "
        "a second; it keeps its heap meanwhile. 0: each run starts a JVM of its own, as in a pod that ends with it.",
    )
    spark_shuffle_partitions: int = Field(
        8, ge=1, le=10_000, description="Tasks of a shuffle; few on purpose, because an hour is a small table."
    )
    spark_conf: SecretStr = Field(
        SecretStr(""),
        description='Further Spark configuration as a JSON object, like `{"spark.executor.memory": "4g"}`; overrides '
        "what the platform sets. Never shown: it may hold secrets.",
    )
    connector_jars: str = Field(
        "",
        description="Folder of the Spark connector jars; empty: the user's cache folder, filled by Maven when needed.",
    )

    # Ingest
    ingest_max_clicks: int = Field(2_000_000, ge=1, description="Maximum number of clicks that one run drains.")
    ingest_checkpoint_clicks: int = Field(
        200_000, ge=1_000, le=1_000_000, description="Clicks between two checkpoints."
    )
    ingest_connections: int = Field(
        2, ge=1, le=64, description="Number of Thrift connections over which one run writes."
    )
    ingest_max_rejected_share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Maximum share of rejected clicks among at least 1,000 messages of a checkpoint or run; a larger "
        "one fails the run.",
    )

    connect_url: OptionalServerUrl = Field(
        "",
        description="REST interface of a Kafka Connect worker that runs the sink, as `http(s)://host:port`; empty: the "
        "connector's state is not shown.",
    )
    connect_connector: Name = Field("dataco-clicks", description="Name of that connector.")

    # Live
    live_checkpoint_uri: CheckpointUri = Field(
        default_factory=_local_checkpoints,
        description="Folder in which `dataco live` keeps its state, one that every Spark worker sees: "
        "`file:///folder` or `hdfs://namenode:port/folder`. Default: `.dataco/live` under the working directory.",
    )
    live_hours: int = Field(
        3,
        ge=1,
        le=168,
        description="Number of hours, up to the running one, that `dataco live` keeps up to date; clicks that are "
        "later reach readers by the batch.",
    )
    live_interval_seconds: float = Field(
        1.0, ge=0, description="Least time between the starts of two micro-batches of `dataco live`, in seconds."
    )
    live_max_clicks: int = Field(50_000, ge=1, description="Most records in a micro-batch of `dataco live`.")
    live_partitions: int = Field(
        2,
        ge=1,
        le=10_000,
        description="Tasks of a micro-batch of `dataco live` by user; another number begins a new live run.",
    )
    live_max_behind_seconds: float = Field(
        60.0,
        ge=20,  # Spark reports every 10 s when no click comes
        description="Once `dataco live` has not kept up for so long, readers get all hours from the batch until it "
        "has caught up, in seconds.",
    )
    live_jars: str = Field(
        "",
        description="Folder of the jars of `dataco live`; empty: the user's cache folder, filled by Maven from the "
        "sources when needed.",
    )

    # Partitions and sensors
    partitions_start: str = Field(
        "2026-01-01-00:00",
        description="First hour, UTC, as `YYYY-MM-DD` or `YYYY-MM-DD-HH:00`. Older clicks are rejected.",
    )
    lag_min_clicks: int = Field(1_000, ge=1, description="Lag, in clicks, at which the Kafka lag sensor starts a run.")
    lag_max_age_seconds: float = Field(
        1.0,
        ge=0,
        description="Start a run once the oldest pending click is this old, in seconds, regardless of lag.",
    )
    live_lag_max_age_seconds: float = Field(
        30.0,
        ge=0,
        description="The same age while readers get the running hour from `dataco live`, in seconds, if it is the "
        "longer one: readers then do not wait for the ingest.",
    )
    sensor_interval_seconds: int = Field(
        4,
        ge=1,
        description="Minimum interval between evaluations of each sensor, in seconds. Dagster's daemon evaluates every "
        "5 s: at 5, a sensor often just misses a tick and so runs every 10 s.",
    )
    hours_per_run: int = Field(
        168, ge=1, le=8_760, description="Maximum number of hours that `dirty_hours_sensor` puts into one run."
    )
    running_hour_refresh_seconds: int = Field(
        5, ge=0, description="Minimum interval between refreshes of the running hour, in seconds."
    )
    follow_seconds: int = Field(
        600,
        ge=0,
        description="How long a run that stores clicks and refreshes the running hour does both again as clicks come, "
        "in seconds; 0: it does so once. Each new run has to start a process, for which clicks wait.",
    )
    live_refresh_seconds: int = Field(
        600,
        ge=0,
        description="The same interval while readers get the running hour from `dataco live`, in seconds. The batch "
        "then only keeps the other aggregates of that hour, and takes it over if live ends.",
    )
    newest_hours: int = Field(
        3,
        ge=1,
        le=168,
        description="Number of hours, up to the running one, that are refreshed in runs of their own, which a backlog "
        "of older hours does not delay.",
    )
    late_refresh_percent: float = Field(
        5.0,
        ge=0,
        le=100,
        description="How long late clicks of an hour are collected before the hour is refreshed again, from its last "
        "refresh on: this percentage of the hour's age at that time. 0: not at all.",
    )
    late_refresh_max_seconds: float = Field(
        86_400.0, ge=0, description="Maximum time for which late clicks of an hour are collected, in seconds."
    )
    restatement_retention_days: int = Field(
        365,
        ge=7,
        description="Days for which a restatement is kept, from when it was noted. It always stays while its hour "
        "shows as restated, which is until the hour's clicks have expired (`DATACO_CLICKS_TTL_DAYS`).",
    )
    run_retention_days: int = Field(
        30,
        ge=1,
        description="Days for which Dagster keeps finished runs of ingest and refresh. The last materialisation of "
        "each partition stays.",
    )

    # What people are told
    log_format: LogFormat = Field(
        LogFormat.TEXT,
        description="Form of the log on standard error: `text`, or `json` for one JSON object on each line.",
    )
    canary_seconds: int = Field(
        0,
        ge=0,
        le=300,
        description="How often `dataco metrics` sends a click of its own to measure how long it takes to readers, in "
        "seconds; 0: never.",
    )
    canary_url: CanaryUrl = Field(
        "https://canary.invalid",
        description="What the pages of those clicks begin with; each process adds a name of its own.",
    )
    webhook_url: SecretStr = Field(
        SecretStr(""),
        description="Webhook that receives a JSON message when work is parked and when it is resumed, and about runs "
        "that fail; empty: none.",
    )
    smtp_host: str = Field(
        "",
        description="Mail server (SMTP) through which people receive the same messages; empty: no mail is sent.",
    )
    smtp_port: int = Field(587, ge=1, le=65_535, description="Port of the mail server.")
    smtp_tls: SmtpTls = Field(
        SmtpTls.STARTTLS,
        description="Encryption: `starttls` (usual on port 587), `tls` from the first byte (usual on port 465), or "
        "`none`, which permits no log-in.",
    )
    smtp_ca_file: str = Field(
        "",
        description="PEM file with the certificate of the authority that signed the mail server's; empty: an authority "
        "that Python knows.",
    )
    smtp_username: str = Field("", description="User name for the mail server; empty: no log-in.")
    smtp_password: SecretStr = Field(SecretStr(""), description="Password of that user.")
    smtp_from: OptionalAddress = Field("", description="Address of the mail's sender.")
    smtp_to: Addresses = Field("", description="Addresses that receive the mail, comma-separated.")

    @field_validator("webhook_url")
    @classmethod
    def _web_address(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and not _WEB_ADDRESS.fullmatch(value.get_secret_value()):
            raise ValueError("must be an address like https://hooks.example.com/services/…, or empty")
        return value

    @field_validator("catalog_uri")
    @classmethod
    def _catalog_of_its_own(cls, value: str, info: ValidationInfo) -> str:
        if not value and not info.data.get("aggregates_uri", "file://").startswith("file://"):
            raise ValueError("must be set, as DATACO_AGGREGATES_URI is no file:// folder, which could hold a catalog")
        return value

    @field_validator("webhdfs_url")
    @classmethod
    def _way_to_hdfs(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("aggregates_uri", "").startswith("hdfs://"):
            raise ValueError("must be set, like http://namenode:9870, as DATACO_AGGREGATES_URI is on hdfs://")
        return value

    @field_validator("partitions_start")
    @classmethod
    def _whole_hour(cls, value: str) -> str:
        hour = f"{value}-00:00" if re.fullmatch(r"\d{4}-\d{2}-\d{2}", value) else value
        try:
            start = datetime.strptime(hour, PARTITION_FORMAT).replace(tzinfo=UTC)
        except ValueError:
            raise ValueError("must look like 2026-01-01 or 2026-01-01-00:00 (UTC)") from None
        if start.minute:
            raise ValueError("must be a whole hour, like 2026-01-01-00:00 (UTC)")
        if start > datetime.now(UTC):
            raise ValueError("must not lie in the future: every click would be rejected")
        return start.strftime(PARTITION_FORMAT)

    @field_validator("connector_jars", "live_jars", "writer_schemas")
    @classmethod
    def _folder(cls, value: str) -> str:
        if value and not Path(value).is_dir():
            raise ValueError("must be a folder that exists, or empty")
        return value

    @field_validator("elasticsearch_ca_file", "schema_registry_ca_file", "smtp_ca_file")
    @classmethod
    def _certificates(cls, value: str) -> str:
        if value:
            check_certificates(value)
        return value

    @field_validator("spark_conf")
    @classmethod
    def _spark_names(cls, value: SecretStr) -> SecretStr:
        if not all(name.startswith("spark.") for name in _object_of_texts(value)):
            raise ValueError("must hold names that begin with spark., like spark.executor.memory")
        return value

    @field_validator("kafka_options")
    @classmethod
    def _kafka_names(cls, value: SecretStr) -> SecretStr:
        check_options(_object_of_texts(value))
        return value

    @property
    def kafka_client_options(self) -> dict[str, str]:
        """Further options of the Kafka clients."""
        return _object_of_texts(self.kafka_options)

    @property
    def spark_options(self) -> dict[str, str]:
        """Further Spark configuration."""
        return _object_of_texts(self.spark_conf)

    @model_validator(mode="after")
    def _authority_with_tls(self) -> Self:
        if self.elasticsearch_ca_file and not self.elasticsearch_url.startswith("https://"):
            raise SettingsError(
                f"DATACO_ELASTICSEARCH_CA_FILE is set, but DATACO_ELASTICSEARCH_URL={self.elasticsearch_url} does not "
                "begin with https://: nothing would be encrypted."
            )
        return self

    @model_validator(mode="after")
    def _separate_aliases(self) -> Self:
        pages, audience = self.index_alias, self.audience_alias
        # An index `<alias>-YYYY.MM` of one must match no template of the other, nor a template have the other's name.
        for one, other in ((pages, audience), (audience, pages)):
            if re.fullmatch(rf"{re.escape(one)}(-rebuilt|-live|-(19|20|21|live-).*)?", other):
                raise SettingsError(
                    f"DATACO_AUDIENCE_ALIAS={audience} and DATACO_INDEX_ALIAS={pages} would share index templates. "
                    "Choose names of which none begins with the other and a year or -live; empty, it is the other with "
                    "-audience."
                )
        return self

    @model_validator(mode="after")
    def _one_way_into_the_registry(self) -> Self:
        if self.schema_registry_ca_file and not self.schema_registry_url.startswith("https://"):
            raise SettingsError(
                f"DATACO_SCHEMA_REGISTRY_CA_FILE is set, but DATACO_SCHEMA_REGISTRY_URL={self.schema_registry_url} "
                "does not begin with https://: nothing would be encrypted."
            )
        if self.schema_registry_username and self.schema_registry_token.get_secret_value():
            raise SettingsError(
                "DATACO_SCHEMA_REGISTRY_USERNAME and DATACO_SCHEMA_REGISTRY_TOKEN are both set: keep one of them."
            )
        return self

    @model_validator(mode="after")
    def _whole_mail(self) -> Self:
        if self.smtp_host and not (self.smtp_from and self.smtp_to):
            raise SettingsError("DATACO_SMTP_HOST is set: DATACO_SMTP_FROM and DATACO_SMTP_TO must be, too.")
        if self.smtp_username and self.smtp_tls is SmtpTls.NONE:
            raise SettingsError(
                "DATACO_SMTP_USERNAME is set, but DATACO_SMTP_TLS=none: the password would be sent unencrypted."
            )
        return self

    @model_validator(mode="before")
    @classmethod
    def _from_secret_files(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Fills secrets from the files that `DATACO_…_FILE` variables name, as container platforms mount them."""
        for field in _secrets(cls):
            if file := os.environ.get(f"{variable(field)}_FILE"):
                values = values | {field: _read_secret(field, file, already=values.get(field))}
        return values

    @property
    def smtp_recipients(self) -> tuple[str, ...]:
        """Addresses that receive mail."""
        return tuple(listed(self.smtp_to))

    @property
    def bot_rule(self) -> BotRule:
        """Which clicks count as of bots."""
        return BotRule.of(listed(self.bot_agents), self.bot_clicks_per_minute)

    @property
    def partitions_start_ms(self) -> int:
        """Start of the first hour, epoch milliseconds."""
        start = datetime.strptime(self.partitions_start, PARTITION_FORMAT).replace(tzinfo=UTC)
        return int(start.timestamp()) * 1000

    @property
    def clicks_table(self) -> str:
        """HBase table of the clicks."""
        return f"{self.hbase_table_prefix}clicks"

    @property
    def offsets_table(self) -> str:
        """HBase table of the offset ledger."""
        return f"{self.hbase_table_prefix}ingest_offsets"

    @property
    def hours_table(self) -> str:
        """HBase table of the hour ledger."""
        return f"{self.hbase_table_prefix}click_hours"

    @property
    def suppressed_table(self) -> str:
        """HBase table of the erased users."""
        return f"{self.hbase_table_prefix}suppressed_users"

    @classmethod
    def load(cls) -> Self:
        """Reads the settings from the environment.

        Raises:
            SettingsError: with every variable that breaks its rule, or is none.
        """
        problems = _unknown_variables(cls)
        try:
            read = cls()  # pyright: ignore[reportCallIssue]  # every field has a default, which pyright cannot see
        except ValidationError as error:
            problems += _broken_rules(error)
        else:
            if not problems:
                return read
        lines = ["The settings cannot be used:", *problems]
        raise SettingsError("\n".join([*lines, "docs/settings.md lists every variable with its default and unit."]))


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The settings of this process, read once."""
    return Settings.load()


def listed(text: str) -> list[str]:
    """The parts of a comma-separated text, without spaces around them; empty ones are left out."""
    return [part for each in text.split(",") if (part := each.strip())]


def variable(field: str) -> str:
    """The environment variable that sets a field."""
    return f"{PREFIX}{field.upper()}"


def _object_of_texts(value: SecretStr) -> dict[str, str]:
    """A JSON object of texts and numbers; the message of what is wrong quotes nothing, for it may be secret."""
    text = value.get_secret_value()
    if not text:
        return {}
    try:
        found = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be a JSON object, but at character {error.pos} it is no JSON") from None
    if not isinstance(found, dict) or not all(isinstance(each, str | int | float) for each in found.values()):
        raise ValueError('must be a JSON object of texts and numbers, like {"name": "value"}')
    return {name: str(each).lower() if isinstance(each, bool) else str(each) for name, each in found.items()}


def _broken_rules(error: ValidationError) -> list[str]:
    lines: list[str] = []
    for problem in error.errors():
        name = variable(str(problem["loc"][0])) if problem["loc"] else PREFIX + "*"
        field = Settings.model_fields.get(str(problem["loc"][0])) if problem["loc"] else None
        secret = field is not None and field.annotation is SecretStr
        shown = "***" if secret else repr(_CREDENTIALS.sub("//***@", os.environ.get(name, str(problem["input"]))))[:120]
        lines.append(f"  {name}={shown}: {problem['msg'].removeprefix('Value error, ')}")
    return lines


def _unknown_variables(model: type[Settings]) -> list[str]:
    """A line for each variable of the environment that has the platform's prefix and that nothing reads."""
    known = {variable(field) for field in model.model_fields} | {f"{variable(field)}_FILE" for field in _secrets(model)}
    lines: list[str] = []
    for name, value in sorted(os.environ.items()):
        upper = name.upper()
        if not upper.startswith(PREFIX) or upper in known or upper in OTHERS or _is_service_link(upper, value):
            continue
        nearest = difflib.get_close_matches(upper, known | set(OTHERS), n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        lines.append(f"  {ascii(name)[1:-1][:120]}: there is no such setting{hint}")
    return lines


def _is_service_link(name: str, value: str) -> bool:
    return bool(_SERVICE_LINK.search(name)) or (name.endswith("_PORT") and bool(_SERVICE_ADDRESS.match(value)))


def _secrets(model: type[Settings]) -> list[str]:
    return [name for name, field in model.model_fields.items() if field.annotation is SecretStr]


def _read_secret(field: str, file: str, *, already: object) -> str:
    """The content of a secret's file, without the line end that editors put there.

    Raises:
        SettingsError: The file cannot be read, or the secret is set by both variables.
    """
    name = variable(field)
    if already:
        raise SettingsError(f"{name} and {name}_FILE are both set: keep one of them.")
    try:
        return Path(file).read_text(encoding="utf-8").removesuffix("\n").removesuffix("\r")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{name}_FILE={ascii(file)[:120]} cannot be read: {why}.") from None
