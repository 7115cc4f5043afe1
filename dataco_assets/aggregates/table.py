"""The tables of the aggregates: their names and properties, and how Spark and Python reach their catalog.

Belongs here: names, and the properties of Iceberg's catalogs. Does not belong here: how files are reached
(`storage.py`), reading (`reading.py`) and writing (`spark_resources/aggregates_table.py`).

Each aggregate has an Apache Iceberg table: Parquet files, each of one hour; lists of them (manifests) with statistics
of each file; and a catalog, which names the current list. A commit replaces that name, so readers see all of a run's
hours as they were before it, or all as they are after it.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from dataco_assets.aggregates import storage
from dataco_assets.aggregates.columns import PAGES, Aggregate

if TYPE_CHECKING:
    from dataco_assets.settings import Settings

NAMESPACE: Final = "clickstream"
PARTITION: Final = "hour_hour"
"""Name of the partition field, hours(hour), as Spark would name it."""
_PROPERTIES: Final = {
    "format-version": "2",
    # Two runs that commit at once do so one after the other: the second builds its commit again on that of the first.
    "commit.retry.num-retries": "10",
    # A large hour is written by several tasks.
    "write.spark.advisory-partition-size-bytes": str(32 * 1024 * 1024),
    # Each commit writes the table's metadata anew. Earlier versions are not needed.
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    "write.metadata.compression-codec": "gzip",
    # About 1,500 hours: a look-up of one hour reads one such list, and a commit rewrites one (docs/performance.md).
    "commit.manifest.target-size-bytes": str(64 * 1024),
}
_SQLITE_FILE: Final = "catalog.db"
_SQLITE_WAIT_MS: Final = 30_000


@dataclass(frozen=True)
class TablePlace:
    """Which table it is, and where.

    Attributes:
        warehouse: URI of the folder of its files.
        catalog_uri: `sqlite:////path`, `postgresql://host/database` or `http(s)://host` (a REST catalog); empty: a
            SQLite file in the warehouse, which then is a `file://` folder.
        catalog_name: Name of the catalog in Spark and, in a database, of the rows that belong to it.
        username: For the catalog; empty: none.
        password: That user's password.
        s3_endpoint: Address of an S3 server that is not Amazon's; empty: Amazon's.
        webhdfs_url: HTTP address of HDFS's NameNode, for Python.
        aggregate: Whose table it is.
    """

    warehouse: str
    catalog_uri: str = ""
    catalog_name: str = "dataco"
    username: str = ""
    password: str = field(default="", repr=False)
    s3_endpoint: str = ""
    webhdfs_url: str = ""
    aggregate: Aggregate = PAGES

    @classmethod
    def of(cls, settings: "Settings", aggregate: Aggregate = PAGES) -> Self:
        """The place that the settings name for an aggregate's table."""
        return cls(
            warehouse=settings.aggregates_uri,
            catalog_uri=settings.catalog_uri,
            catalog_name=settings.catalog_name,
            username=settings.catalog_username,
            password=settings.catalog_password.get_secret_value(),
            s3_endpoint=settings.s3_endpoint,
            webhdfs_url=settings.webhdfs_url,
            aggregate=aggregate,
        )

    @property
    def identifier(self) -> str:
        """The table's name in the catalog."""
        return f"{NAMESPACE}.{self.aggregate.name}"

    @property
    def table_properties(self) -> dict[str, str]:
        """Properties of the table."""
        # Text from clicks stays out of the metadata: no reader selects files by it. Nor does any by histograms and
        # sketches, which would be most of the metadata.
        metrics = dict.fromkeys(self.aggregate.group, "counts")
        for column in self.aggregate.columns:
            if column.type in ("histogram", "sketch"):
                metrics |= {number.name: "none" for number in column.numbers}
        return _PROPERTIES | {f"write.metadata.metrics.column.{name}": kept for name, kept in metrics.items()}

    @property
    def location(self) -> str:
        """The warehouse as Iceberg writes it: not percent-encoded."""
        return unquote(self.warehouse).rstrip("/")

    @property
    def table_location(self) -> str:
        """The table's folder."""
        return f"{self.location}/{NAMESPACE}/{self.aggregate.name}"

    @property
    def catalog(self) -> str:
        """Address of the catalog, without user name and password."""
        return self.catalog_uri or f"sqlite:///{urlsplit(self.location).path}/{_SQLITE_FILE}"

    @property
    def sqlite_file(self) -> str | None:
        """The embedded catalog's file; None for a catalog that is a server."""
        scheme, _, path = self.catalog.partition(":///")
        return path if scheme == "sqlite" else None

    @property
    def name_in_spark(self) -> str:
        """The table's name in Spark SQL, with its catalog."""
        return f"{self.catalog_name}.{self.identifier}"

    @property
    def catalog_server(self) -> str:
        """The catalog and its address, as an error names it."""
        return f"The aggregates' catalog {self.catalog[:200]} (DATACO_CATALOG_URI)"

    @property
    def storage_server(self) -> str:
        """The storage and its address, as an error names it."""
        server = {"hdfs": ("DATACO_WEBHDFS_URL", self.webhdfs_url), "s3": ("DATACO_S3_ENDPOINT", self.s3_endpoint)}
        variable, address = server.get(urlsplit(self.warehouse).scheme.removesuffix("a"), ("", ""))
        at = f", {variable}={address}" if address else ""
        return f"The aggregates' storage {self.warehouse[:200]} (DATACO_AGGREGATES_URI{at})"

    def __str__(self) -> str:
        return f"the table {self.identifier} at {self.warehouse[:200]} (catalog {self.catalog[:200]})"

    def python_properties(self) -> dict[str, str]:
        """Properties of pyiceberg's catalog."""
        if self.is_rest:
            own = {"py-catalog-impl": "dataco_assets.aggregates.rest.TimedRestCatalog"} | self._rest_properties()
        else:
            # A pooled connection is tested before use: the database may have been restarted.
            own = {"type": "sql", "uri": self._sqlalchemy_url(), "pool_pre_ping": "true"}
        files = storage.python_properties(self.location, s3_endpoint=self.s3_endpoint, webhdfs_url=self.webhdfs_url)
        return own | {"warehouse": self.location} | files

    def spark_properties(self) -> dict[str, str]:
        """Spark's configuration of the catalog."""
        if self.is_rest:
            own = self._rest_properties() | {
                "type": "rest",
                "rest.client.connection-timeout-ms": str(storage.CONNECT_SECONDS * 1000),
                "rest.client.socket-timeout-ms": str(storage.ANSWER_SECONDS * 1000),
                "rest.client.max-retries": "2",  # the default of 5 doubles its wait each time, up to a minute
            }
        else:
            own = {
                "catalog-impl": "org.apache.iceberg.jdbc.JdbcCatalog",
                "uri": f"jdbc:{self.catalog}" if self.sqlite_file is None else f"jdbc:sqlite:{self.sqlite_file}",
                "jdbc.schema-version": "V1",
                # Python creates the catalog's tables. When Java looks for them, it leaves a query open, which locks
                # the whole SQLite file against commits of other processes.
                "jdbc.init-catalog-tables": "false",
            }
            if self.sqlite_file is not None:
                own["jdbc.busy_timeout"] = str(_SQLITE_WAIT_MS)
            else:
                own |= {
                    "jdbc.connectTimeout": str(storage.CONNECT_SECONDS),
                    "jdbc.socketTimeout": str(storage.ANSWER_SECONDS),
                }
            if self.username:
                own |= {"jdbc.user": self.username, "jdbc.password": self.password}
        # Read from the catalog each time: another run may have committed.
        own |= {"warehouse": self.location, "cache-enabled": "false"}
        own |= storage.spark_properties(self.location, s3_endpoint=self.s3_endpoint)
        catalog = f"spark.sql.catalog.{self.catalog_name}"
        return {catalog: "org.apache.iceberg.spark.SparkCatalog"} | {
            f"{catalog}.{name}": value for name, value in own.items()
        }

    @property
    def is_rest(self) -> bool:
        """Whether the catalog is a server that speaks Iceberg's REST protocol."""
        return self.catalog.startswith("http")

    def _rest_properties(self) -> dict[str, str]:
        """Properties of a REST catalog, which Spark and Python name alike."""
        own = {"uri": self.catalog}
        return own | {"credential": f"{self.username}:{self.password}"} if self.username else own

    def _sqlalchemy_url(self) -> str:
        if self.sqlite_file is not None:
            path = self.sqlite_file.replace("%", "%25")  # SQLAlchemy decodes it
            return f"sqlite:///{path}?timeout={_SQLITE_WAIT_MS // 1000}"
        parts = urlsplit(self.catalog)
        user = f"{quote(self.username, safe='')}:{quote(self.password, safe='')}@" if self.username else ""
        timeouts = f"connect_timeout={storage.CONNECT_SECONDS}&tcp_user_timeout={storage.ANSWER_SECONDS * 1000}"
        query = f"{parts.query}&{timeouts}" if parts.query else timeouts
        return urlunsplit(("postgresql+psycopg2", f"{user}{parts.netloc}", parts.path, query, ""))
