"""The interface between the stack and its servers, and what all of them share: ports, folders, Java command lines."""

import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local_stack.errors import NotReady
from local_stack.ports import LOOPBACK

PROBE_SECONDS = 3
ONE_COMPILER = "-XX:TieredStopAtLevel=1"
"""Leaves out a JVM's second compiler, whose own work takes CPU and pays off only after minutes of load."""

LOG4J2 = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p [%t] %c{1}: %m%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
logger.zookeeper.name = org.apache.zookeeper
logger.zookeeper.level = warn
logger.blockstate.name = BlockStateChange
logger.blockstate.level = warn
"""


@dataclass(frozen=True)
class Context:
    """The stack that a server runs in.

    Attributes:
        folder: The stack's folder.
        ports: Its ports by name.
        java: Path of `java`.
        short_lived: Its servers run for minutes: they start with less CPU, but reach a lower throughput.
    """

    folder: Path
    ports: Mapping[str, int]
    java: Path
    short_lived: bool = False

    def conf(self, name: str) -> Path:
        """The folder of a server's configuration files; created when missing."""
        return _made(self.folder / "conf" / name)

    def data(self, name: str) -> Path:
        """The folder of a server's data; created when missing."""
        return _made(self.folder / "data" / name)

    def logs(self) -> Path:
        """The folder of all logs; created when missing."""
        return _made(self.folder / "logs")

    def address(self, port: str) -> str:
        """`host:port` of a named port."""
        return f"{LOOPBACK}:{self.ports[port]}"


@dataclass(frozen=True)
class Launch:
    """How a server is started."""

    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None


@dataclass(frozen=True)
class Server:
    """One server of the stack.

    Attributes:
        name: its name on the command line.
        ports: name of each port → the well-known number; names are `server.purpose`.
        needs: servers that must be ready first.
        fetch: given the stack's folder, downloads its jars and checks that it can run, before anything starts.
        prepare: writes its configuration (always), formats its storage (the first time), and returns how to start it.
        probe: sends it a real request; raises NotReady. The second argument is the start of its process, epoch seconds.
        ready_seconds: how long it may take to answer.
        stop_seconds: how long it may take to stop; then it is killed.
        restarts_with: servers whose restart it does not survive, so that it has to be restarted after them.
        has_launcher: the process that is started is a launcher, which runs the server as its child.
    """

    name: str
    ports: Mapping[str, int]
    needs: Sequence[str]
    fetch: Callable[[Path], None]
    prepare: Callable[[Context], Launch]
    probe: Callable[[Context, float], None]
    ready_seconds: float
    stop_seconds: float
    restarts_with: Sequence[str] = ()
    has_launcher: bool = False


def listening(context: Context, port: str) -> None:
    """Checks that something listens on a port: the cheap first step of every probe.

    Raises:
        NotReady: nothing listens on the port.
    """
    address = (LOOPBACK, context.ports[port])
    try:
        with socket.create_connection(address, timeout=PROBE_SECONDS):
            return
    except OSError as error:
        raise NotReady(f"nothing listens on {context.address(port)} ({error})") from error


def java_command(
    context: Context, name: str, classpath: Sequence[Path], options: Sequence[str], main: str
) -> list[str]:
    """`java @file main`: the long class path goes to an argument file, so that process lists stay readable."""
    arguments = context.conf(name) / "java.args"
    joined = ":".join(str(path) for path in classpath)
    lines = ["-cp", joined, "-Djava.net.preferIPv4Stack=true", *options]
    if context.short_lived:
        lines.append(ONE_COMPILER)
    arguments.write_text("".join(f"{_quoted(line)}\n" for line in lines))
    return [str(context.java), f"@{arguments}", main]


def write_if_changed(path: Path, text: str) -> None:
    """Writes a configuration file unless an identical one exists."""
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def properties(values: Mapping[str, object]) -> str:
    """A Java properties file."""
    return "".join(f"{key}={_java_escaped(str(value))}\n" for key, value in values.items())


def hadoop_xml(values: Mapping[str, object]) -> str:
    """A Hadoop configuration file."""
    from xml.sax.saxutils import escape

    rows = "".join(
        f"  <property><name>{escape(key)}</name><value>{escape(str(value))}</value></property>\n"
        for key, value in values.items()
    )
    return f'<?xml version="1.0"?>\n<configuration>\n{rows}</configuration>\n'


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _quoted(argument: str) -> str:
    escaped = argument.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _java_escaped(value: str) -> str:
    return value.replace("\\", "\\\\")
