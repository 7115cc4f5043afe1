"""HBase on HDFS: master, region server and ZooKeeper in one JVM, and the Thrift 1 gateway in another."""

from typing import TYPE_CHECKING

from local_stack.errors import NotReady
from local_stack.ports import LOOPBACK
from local_stack.servers import hdfs
from local_stack.servers.base import (
    PROBE_SECONDS,
    Context,
    Launch,
    Server,
    hadoop_xml,
    listening,
    write_if_changed,
)
from local_stack.servers.hbase import zookeeper

if TYPE_CHECKING:
    import happybase

# A region server aborts when its ZooKeeper session expires. A long session survives a stopped JVM (SIGSTOP, a closed
# laptop), and does not delay recovery from a crash: the new region server registers with the same address, which ends
# the old session.
SESSION_MS = 40_000


def _settings(context: Context) -> dict[str, object]:
    return {
        **hdfs.client_settings(context),
        "hbase.rootdir": f"{hdfs.uri(context)}/hbase",
        "hbase.cluster.distributed": "false",
        "hbase.tmp.dir": context.data("hbase-tmp"),
        "hbase.zookeeper.quorum": LOOPBACK,
        "hbase.zookeeper.property.clientPort": context.ports["hbase.zookeeper"],
        "hbase.zookeeper.property.clientPortAddress": LOOPBACK,
        "hbase.zookeeper.property.dataDir": context.data("zookeeper"),
        "zookeeper.session.timeout": SESSION_MS,
        "zookeeper.session.timeout.localHBaseCluster": SESSION_MS,
        # When HBase stops, its ZooKeeper stops first; by default the region server then tries to deregister for 20 s.
        "zookeeper.recovery.retry": 1,
        "zookeeper.recovery.retry.intervalmill": 200,
        "hbase.master.hostname": "localhost",
        "hbase.master.ipc.address": LOOPBACK,
        "hbase.master.port": context.ports["hbase.master"],
        "hbase.master.info.port": -1,
        "hbase.master.wait.on.regionservers.mintostart": 1,
        "hbase.master.wait.on.regionservers.maxtostart": 1,
        "hbase.regionserver.hostname": "localhost",
        "hbase.regionserver.ipc.address": LOOPBACK,
        "hbase.regionserver.port": context.ports["hbase.regionserver"],
        "hbase.regionserver.info.port": -1,
        "hbase.regionserver.handler.count": 12,
        # Each store (family of a region) allocates chunks of its own, which stay nearly empty here: at the default of
        # 2 MB, the stores of a few tables would fill this heap.
        "hbase.hregion.memstore.mslab.chunksize": 256 * 1024,
        "hbase.hregion.memstore.mslab.max.allocation": 64 * 1024,
        # Forced flushes begin at this share of the memstores' limit. HBase's default of 0.95 leaves 40 MB until writes
        # are blocked: too little with this heap, where they were blocked a fifth of the time under load.
        "hbase.regionserver.global.memstore.size.lower.limit": 0.85,
        # A store is compacted when it has five files instead of three: under load, compaction costs HBase as much as
        # storing the clicks does.
        "hbase.hstore.compaction.min": 5,
        # How long to wait for the lease of a log that a crash left open. With one DataNode, it comes at once or never.
        "hbase.lease.recovery.first.pause": 1_000,
        "hbase.lease.recovery.dfs.timeout": 5_000,
        "hbase.lease.recovery.pause": 500,
    }


def _configure(context: Context, name: str, settings: dict[str, object]) -> None:
    conf = context.conf(name)
    write_if_changed(conf / "hbase-site.xml", hadoop_xml(settings))
    write_if_changed(conf / "core-site.xml", hadoop_xml(hdfs.client_settings(context)))


def _prepare_hbase(context: Context) -> Launch:
    _configure(context, "hbase", _settings(context))
    command = hdfs.hadoop_command(context, "hbase", "2g", "org.apache.hadoop.hbase.master.HMaster")
    return Launch([*command, "start"])


def _prepare_thrift(context: Context) -> Launch:
    settings = {**_settings(context), "hbase.thrift.info.port": -1}
    _configure(context, "thrift", settings)
    # The gateway's objects live for one batch: with a large young generation, hardly any of them is ever copied.
    young = ("-Xms384m", "-Xmn256m")
    command = hdfs.hadoop_command(context, "thrift", "384m", "org.apache.hadoop.hbase.thrift.ThriftServer", *young)
    return Launch([*command, "start", "-b", LOOPBACK, "-p", str(context.ports["thrift.rpc"])])


def _probe_hbase(context: Context, started: float) -> None:
    # A crash leaves the old region server's node behind, so only one that started with this process counts.
    listening(context, "hbase.zookeeper")
    address = (LOOPBACK, context.ports["hbase.zookeeper"])
    servers = zookeeper.children(address, "/hbase/rs", PROBE_SECONDS)
    if not any(int(name.split(",")[-1]) >= started * 1000 - 1000 for name in servers):
        raise NotReady("no region server is online")
    listening(context, "hbase.master")
    listening(context, "hbase.regionserver")


def _probe_thrift(context: Context, _started: float) -> None:
    import happybase
    from thriftpy2.thrift import TException

    listening(context, "thrift.rpc")
    connection = None
    try:
        connection = happybase.Connection(LOOPBACK, context.ports["thrift.rpc"], timeout=10_000)
        _read_every_region(connection)
    except (OSError, TException) as error:
        raise NotReady(f"it does not reach all of HBase: {error!r}") from error
    finally:
        if connection is not None:
            connection.close()


def _read_every_region(connection: "happybase.Connection") -> None:
    """Reads a row of every region; after a crash they come back one by one, and HBase has recovered when all answer."""
    names = [b"hbase:meta", *(name for name in connection.tables() if connection.is_table_enabled(name))]
    for name in names:
        table = connection.table(name)
        for region in table.regions():
            start, stop = region["start_key"], region["end_key"] or None
            for _ in table.scan(row_start=start, row_stop=stop, limit=1, batch_size=1):
                break


HBASE = Server(
    name="hbase",
    ports={"hbase.zookeeper": 2181, "hbase.master": 16000, "hbase.regionserver": 16020},
    needs=("namenode", "datanode"),
    fetch=hdfs.fetch,
    prepare=_prepare_hbase,
    # After an outage of HDFS it still answers, but aborts at the next write to a log that broke in the meantime.
    restarts_with=("namenode", "datanode"),
    probe=_probe_hbase,
    ready_seconds=300,
    stop_seconds=30,
)

THRIFT = Server(
    name="thrift",
    ports={"thrift.rpc": 9090},
    needs=("hbase",),
    fetch=hdfs.fetch,
    prepare=_prepare_thrift,
    probe=_probe_thrift,
    ready_seconds=300,
    stop_seconds=10,
)
