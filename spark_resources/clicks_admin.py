"""Creates, describes and replaces the HBase table of clicks, through HBase's Java client in Spark's JVM.

The Thrift gateway cannot do this: it has no split keys, table metadata or snapshots.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from pyspark.sql import SparkSession

from dataco_assets.clicks.row import KEY_VERSION, SALTS, TABLE_FAMILIES, split_keys
from spark_resources.hbase_client import ClicksTableError, configuration, explained, jvm

_KEY_VERSION, _SALTS = "dataco.key_version", "dataco.salts"
_COMPRESSION = "GZ"  # the one codec every HBase has without native libraries; at major compactions only
_ENCODING = "FAST_DIFF"
_BLOOM = "ROW"


class ClicksTableMissing(ClicksTableError):
    """There is no such table."""


@dataclass(frozen=True)
class ClicksTable:
    """The properties of an existing clicks table.

    Attributes:
        families: Column families, sorted.
        ttl_seconds: Time to live by family.
        max_versions: Versions kept by family.
        split_points: First keys of its regions, except the first region's; sorted.
        key_version: Version of its row keys; None if the table was created before versions were recorded.
        salts: Number of salts of its row keys; None likewise.
        read_only: Whether HBase refuses every write to it.
    """

    families: tuple[str, ...]
    ttl_seconds: dict[str, int]
    max_versions: dict[str, int]
    split_points: tuple[bytes, ...]
    key_version: int | None
    salts: int | None
    read_only: bool


class ClicksAdmin:
    """Administers clicks tables; see `clicks_admin`.

    Every method raises ClicksTableError when HBase cannot be reached or refuses.
    """

    def __init__(self, spark: SparkSession, admin: Any) -> None:
        self._spark = spark
        self._admin = admin
        self._client = jvm(spark).org.apache.hadoop.hbase.client

    def exists(self, table: str) -> bool:
        """Whether there is a table of that name."""
        with explained(f"look for the table {table!r}"):
            return bool(self._admin.tableExists(self._name(table)))

    def create(self, table: str, *, ttl_seconds: int) -> bool:
        """Creates a clicks table, split at the salts, with the version of its keys in its metadata.

        Args:
            table: HBase table.
            ttl_seconds: How long a cell is kept after it was stored.

        Returns:
            False when there is a table of that name already; `describe` returns its properties.
        """
        if self.exists(table):
            return False
        with explained(f"create the table {table!r}"):
            builder = self._client.TableDescriptorBuilder.newBuilder(self._name(table))
            builder.setValue(_KEY_VERSION, str(KEY_VERSION))
            builder.setValue(_SALTS, str(SALTS))
            for family in TABLE_FAMILIES:
                builder.setColumnFamily(_family(self._spark, family, ttl_seconds))
            self._admin.createTable(builder.build(), _key_array(self._spark, split_keys()))
        return True

    def create_like(self, source: str, table: str) -> None:
        """Creates an empty table for keys of this version that is otherwise like another one, split points included.

        Args:
            source: The table to copy from; its metadata of keys and salts and its read-only mode are not copied.
            table: Name of the new table.
        """
        with explained(f"create the table {table!r}"):
            descriptor = self._admin.getDescriptor(self._name(source))
            builder = self._client.TableDescriptorBuilder.newBuilder(
                self._client.TableDescriptorBuilder.copy(self._name(table), descriptor)
            )
            builder.setValue(_KEY_VERSION, str(KEY_VERSION))
            builder.setValue(_SALTS, str(SALTS))
            builder.setReadOnly(False)
            splits = sorted({*split_keys(), *self.describe(source).split_points})
            self._admin.createTable(builder.build(), _key_array(self._spark, splits))

    def describe(self, table: str) -> ClicksTable:
        """The properties of the table.

        Raises:
            ClicksTableMissing: there is no such table.
        """
        if not self.exists(table):
            raise ClicksTableMissing(f"HBase has no table {table!r}. `dataco setup` creates it.")
        with explained(f"describe the table {table!r}"):
            name = self._name(table)
            descriptor = self._admin.getDescriptor(name)
            families = list(descriptor.getColumnFamilies())
            starts = sorted(bytes(region.getStartKey()) for region in self._admin.getRegions(name))
            return ClicksTable(
                families=tuple(sorted(family.getNameAsString() for family in families)),
                ttl_seconds={family.getNameAsString(): family.getTimeToLive() for family in families},
                max_versions={family.getNameAsString(): family.getMaxVersions() for family in families},
                split_points=tuple(start for start in starts if start),
                key_version=_number(descriptor.getValue(_KEY_VERSION)),
                salts=_number(descriptor.getValue(_SALTS)),
                read_only=bool(descriptor.isReadOnly()),
            )

    def make_read_only(self, table: str) -> None:
        """Makes HBase refuse all further writes to the table; its regions reopen, which takes seconds."""
        with explained(f"make the table {table!r} read-only"):
            descriptor = self._admin.getDescriptor(self._name(table))
            builder = self._client.TableDescriptorBuilder.newBuilder(descriptor)
            self._admin.modifyTable(builder.setReadOnly(True).build())

    def delete(self, table: str) -> None:
        """Disables and deletes the table, if it exists."""
        with explained(f"delete the table {table!r}"):
            name = self._name(table)
            if not self._admin.tableExists(name):
                return
            if not self._admin.isTableDisabled(name):
                self._admin.disableTable(name)
            self._admin.deleteTable(name)

    def snapshots(self) -> set[str]:
        """Names of all complete snapshots."""
        with explained("list the snapshots"):
            return {snapshot.getName() for snapshot in self._admin.listSnapshots()}

    def take_snapshot(self, table: str, snapshot: str) -> None:
        """Takes a snapshot of the table, which becomes visible when it is complete."""
        with explained(f"take a snapshot of the table {table!r}"):
            self._admin.snapshot(snapshot, self._name(table))

    def restore(self, snapshot: str, table: str) -> None:
        """Creates a table from a snapshot, with its metadata and the times of its cells; copies no data."""
        with explained(f"create the table {table!r} from the snapshot {snapshot!r}"):
            self._admin.cloneSnapshot(snapshot, self._name(table))

    def delete_snapshot(self, snapshot: str) -> None:
        """Deletes a snapshot."""
        with explained(f"delete the snapshot {snapshot!r}"):
            self._admin.deleteSnapshot(snapshot)

    def _name(self, table: str) -> Any:
        return jvm(self._spark).org.apache.hadoop.hbase.TableName.valueOf(table)


@contextmanager
def clicks_admin(spark: SparkSession) -> Iterator[ClicksAdmin]:
    """Opens a connection of HBase's Java client, and closes it at the end.

    Args:
        spark: A session made with `spark_resources.session.spark_conf`.

    Raises:
        ClicksTableError: HBase cannot be reached.
    """
    with explained("connect"):
        connection = jvm(spark).org.apache.hadoop.hbase.client.ConnectionFactory.createConnection(configuration(spark))
    try:
        admin = connection.getAdmin()
        try:
            yield ClicksAdmin(spark, admin)
        finally:
            admin.close()
    finally:
        connection.close()


def _number(value: str | None) -> int | None:
    return None if value is None else int(value)


def _family(spark: SparkSession, family: str, ttl_seconds: int) -> Any:
    hbase = jvm(spark).org.apache.hadoop.hbase
    builder = hbase.client.ColumnFamilyDescriptorBuilder.newBuilder(family.encode())
    builder.setMaxVersions(1)
    builder.setTimeToLive(ttl_seconds)
    builder.setDataBlockEncoding(hbase.io.encoding.DataBlockEncoding.valueOf(_ENCODING))
    # A flush that compresses takes as much CPU as storing the clicks does, and refreshes read what was stored
    # recently. Most of a month's bytes are compressed nevertheless, when HBase rewrites a store as a whole.
    builder.setMajorCompactionCompressionType(hbase.io.compress.Compression.Algorithm.valueOf(_COMPRESSION))
    builder.setBloomFilterType(hbase.regionserver.BloomType.valueOf(_BLOOM))
    return builder.build()


def _key_array(spark: SparkSession, keys: Sequence[bytes]) -> Any:
    context: Any = spark.sparkContext
    array = context._gateway.new_array(jvm(spark).byte, len(keys), len(keys[0]))
    for position, key in enumerate(keys):
        array[position] = key
    return array
