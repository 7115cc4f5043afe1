"""HDFS: one NameNode and one DataNode, on HBase's class path. HBase's log is durable only here, not on `file://`."""

import json
import re
import urllib.error
import urllib.request
from pathlib import Path

from local_stack import jars
from local_stack.errors import NotReady, StackError
from local_stack.ports import LOOPBACK
from local_stack.programs import run
from local_stack.servers.base import (
    LOG4J2,
    ONE_COMPILER,
    PROBE_SECONDS,
    Context,
    Launch,
    Server,
    hadoop_xml,
    java_command,
    write_if_changed,
)
from local_stack.text import shown

POM = Path(__file__).parent.parent / "hbase" / "pom.xml"  # hbase-server brings the Hadoop it was built for
FORMAT_SECONDS = 120
# The DataNode fails on its own percent-encoding of a blank; a comma, and a colon on the class path, are separators.
_ODD = re.compile(r"[^\w/.+=@~-]")

# Hadoop and HBase use internals of the JDK, which Java 17 opens only by option.
OPENED = [
    *(
        f"--add-opens=java.base/{package}=ALL-UNNAMED"
        for package in (
            "java.lang",
            "java.nio",
            "sun.nio.ch",
            "java.lang.reflect",
            "java.util",
            "java.util.concurrent",
            "java.net",
            "jdk.internal.misc",
        )
    ),
    "--add-exports=java.base/jdk.internal.misc=ALL-UNNAMED",
    "--add-exports=java.security.jgss/sun.security.krb5=ALL-UNNAMED",
]


def uri(context: Context) -> str:
    """The file system's URI."""
    return f"hdfs://{context.address('namenode.rpc')}"


def client_settings(context: Context) -> dict[str, object]:
    """The settings of every client of this HDFS, HBase among them."""
    return {
        "fs.defaultFS": uri(context),
        "dfs.replication": 1,
        # With a single DataNode there is never another one to replace it in a write pipeline.
        "dfs.client.block.write.replace-datanode-on-failure.enable": "false",
        "ipc.client.connect.max.retries": 20,
        # A file can be closed once its last block has been reported to the NameNode, some ms later. By default the next
        # attempt comes after 400 ms, and a flush closes three files: HBase's memstores fill up meanwhile. Ten attempts
        # take 20 s.
        "dfs.client.block.write.locateFollowingBlock.initial.delay.ms": 20,
        "dfs.client.block.write.locateFollowingBlock.retries": 10,
    }


def hadoop_command(context: Context, name: str, heap: str, main: str, *more: str) -> list[str]:
    """Command line of a JVM on the Hadoop and HBase class path, with its own configuration folder in front."""
    conf = context.conf(name)
    write_if_changed(conf / "log4j2.properties", LOG4J2)
    options = [
        "-Xms64m",
        f"-Xmx{heap}",
        "-XX:+UseSerialGC" if heap.endswith("m") else "-XX:+UseG1GC",
        f"-Dlog4j2.configurationFile={conf / 'log4j2.properties'}",
        f"-Dhadoop.log.dir={context.logs()}",
        f"-Dhbase.log.dir={context.logs()}",
        *OPENED,
        *more,
    ]
    return java_command(context, name, [conf, *jars.resolve(POM)], options, main)


def _settings(context: Context) -> dict[str, object]:
    return {
        **client_settings(context),
        "hadoop.tmp.dir": context.data("hadoop-tmp"),
        "dfs.permissions.enabled": "false",
        "dfs.namenode.name.dir": (context.data("namenode")).as_uri(),
        "dfs.namenode.rpc-address": context.address("namenode.rpc"),
        "dfs.namenode.rpc-bind-host": LOOPBACK,
        "dfs.namenode.http-address": context.address("namenode.http"),
        "dfs.namenode.http-bind-host": LOOPBACK,
        "dfs.namenode.secondary.http-address": f"{LOOPBACK}:0",
        "dfs.namenode.safemode.extension": 0,
        "dfs.namenode.safemode.min.datanodes": 1,
        "dfs.namenode.handler.count": 8,
        "dfs.datanode.data.dir": (context.data("datanode")).as_uri(),
        "dfs.datanode.address": context.address("datanode.data"),
        "dfs.datanode.http.address": context.address("datanode.http"),
        "dfs.datanode.ipc.address": context.address("datanode.ipc"),
        "dfs.datanode.hostname": LOOPBACK,
        "dfs.namenode.datanode.registration.ip-hostname-check": "false",
        "dfs.heartbeat.interval": 1,
        "dfs.blockreport.initialDelay": 0,
    }


def _configure(context: Context, name: str) -> None:
    conf = context.conf(name)
    text = hadoop_xml(_settings(context))
    write_if_changed(conf / "core-site.xml", text)
    write_if_changed(conf / "hdfs-site.xml", text)
    # Both servers need a web application that is not in the jars; an empty one is enough.
    for application in ("hdfs", "datanode"):
        web = conf / "webapps" / application / "WEB-INF"
        web.mkdir(parents=True, exist_ok=True)
        write_if_changed(web / "web.xml", "<web-app/>\n")


def fetch(folder: Path) -> None:
    """Fetches the jars of HDFS and HBase.

    Raises:
        StackError: Maven fails, or Hadoop cannot keep data in a folder of this name.
    """
    odd = sorted(set(_ODD.findall(str(folder))))
    if odd:
        raise StackError(
            f"Hadoop cannot keep its data below {shown(str(folder))}: its name has {' '.join(map(repr, odd))}. "
            "Choose another folder with --dir."
        )
    jars.resolve(POM)


# Both servers do little on a local stack: the JVM's second compiler would take more CPU than their work.
def _prepare_namenode(context: Context) -> Launch:
    _configure(context, "namenode")
    main = "org.apache.hadoop.hdfs.server.namenode.NameNode"
    command = hadoop_command(context, "namenode", "256m", main, ONE_COMPILER)
    if not (context.data("namenode") / "current" / "VERSION").is_file():
        _format(command)
    return Launch(command)


def _format(command: list[str]) -> None:
    run("namenode: formatting its storage", [*command, "-format", "-nonInteractive", "-force"], seconds=FORMAT_SECONDS)


def _prepare_datanode(context: Context) -> Launch:
    _configure(context, "datanode")
    main = "org.apache.hadoop.hdfs.server.datanode.DataNode"
    return Launch(hadoop_command(context, "datanode", "256m", main, ONE_COMPILER))


def _attribute(context: Context, port: str, bean: str, name: str) -> str:
    url = f"http://{context.address(port)}/jmx?qry=Hadoop:{bean}"
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as answer:
            beans = json.load(answer)["beans"]
    except (OSError, urllib.error.URLError, ValueError, KeyError) as error:
        raise NotReady(f"{url}: {error}") from error
    if not beans or name not in beans[0]:  # while it starts, a server answers with some of its attributes only
        raise NotReady(f"{url} does not have {name} yet")
    return str(beans[0][name])


def _probe_namenode(context: Context, _started: float) -> None:
    # Safe mode ends only when the DataNode has reported, so the DataNode's probe waits for that.
    state = _attribute(context, "namenode.http", "service=NameNode,name=NameNodeStatus", "State")
    if state != "active":
        raise NotReady(f"its state is {shown(state)}")


def _probe_datanode(context: Context, _started: float) -> None:
    actors = json.loads(
        _attribute(context, "datanode.http", "service=DataNode,name=DataNodeInfo", "BPServiceActorInfo")
    )
    if not actors or any(actor.get("ActorState") != "RUNNING" for actor in actors):
        raise NotReady("it has not registered with the NameNode")
    safe_mode = _attribute(context, "namenode.http", "service=NameNode,name=NameNodeInfo", "Safemode")
    if safe_mode:
        raise NotReady(f"the NameNode is in safe mode: {shown(safe_mode)}")


NAMENODE = Server(
    name="namenode",
    ports={"namenode.rpc": 8020, "namenode.http": 9870},
    needs=(),
    fetch=fetch,
    prepare=_prepare_namenode,
    probe=_probe_namenode,
    ready_seconds=240,
    stop_seconds=15,
)

DATANODE = Server(
    name="datanode",
    ports={"datanode.data": 9866, "datanode.http": 9864, "datanode.ipc": 9867},
    needs=("namenode",),
    fetch=fetch,
    prepare=_prepare_datanode,
    probe=_probe_datanode,
    ready_seconds=240,
    stop_seconds=15,
)
