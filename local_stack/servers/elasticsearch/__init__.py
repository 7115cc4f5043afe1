"""Elasticsearch: one node, from the distribution on Maven Central, with a plugin for the `GET /` that it lacks."""

import json
import shutil
import tempfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from local_stack import jars, java
from local_stack.errors import NotReady
from local_stack.ports import LOOPBACK
from local_stack.programs import run
from local_stack.servers.base import (
    ONE_COMPILER,
    PROBE_SECONDS,
    Context,
    Launch,
    Server,
    listening,
    write_if_changed,
)
from local_stack.servers.elasticsearch import account

POM = Path(__file__).with_name("pom.xml")
PLUGIN_SOURCE = Path(__file__).parent / "root_plugin" / "RestRootPlugin.java"
HEAP = "512m"
COMPILE_SECONDS = 120

_DESCRIPTOR = """\
description=Answers GET and HEAD on /
version=1
name=rest-root
classname=dataco.stack.RestRootPlugin
java.version=17
elasticsearch.version={version}
"""

_JVM_OPTIONS = """\
-XX:+UseG1GC
-XX:+ExitOnOutOfMemoryError
-Djava.io.tmpdir=${ES_TMPDIR}
-Djna.tmpdir=${ES_TMPDIR}
"""

_LOG4J2 = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p [%c{1.}] %m%consoleException%n
rootLogger.level = info
rootLogger.appenderRef.console.ref = console
"""


def home() -> Path:
    """The folder of the unpacked server with the plugin; unpacks it the first time.

    Raises:
        StackError: Maven cannot fetch it, or the plugin does not compile.
    """
    (archive,) = jars.resolve(POM)
    folder = jars.cache_folder() / f"{archive.stem}-{jars.digest(POM, PLUGIN_SOURCE)}"
    if not folder.is_dir():
        _unpack(archive, folder)
    return folder


def _unpack(archive: Path, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=jars.cache_folder()) as staging:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(staging)
        unpacked = Path(staging) / archive.stem
        _add_plugin(unpacked, version=archive.stem.removeprefix("elasticsearch-"))
        try:
            unpacked.rename(folder)  # atomic
        except OSError:
            if not folder.is_dir():  # unless another process was faster
                raise


def _add_plugin(unpacked: Path, version: str) -> None:
    plugin = unpacked / "modules" / "rest-root"
    classes = unpacked / "plugin-classes"
    plugin.mkdir()
    command = [str(java.tool("javac")), "-nowarn", "--release", "17", "-cp", f"{unpacked}/lib/*", "-d", str(classes)]
    run(f"elasticsearch: compiling {PLUGIN_SOURCE.name}", [*command, str(PLUGIN_SOURCE)], seconds=COMPILE_SECONDS)
    shutil.make_archive(str(plugin / "rest-root"), "zip", classes)
    (plugin / "rest-root.zip").rename(plugin / "rest-root.jar")
    shutil.rmtree(classes)
    (plugin / "plugin-descriptor.properties").write_text(_DESCRIPTOR.format(version=version))


def _fetch(_folder: Path) -> None:
    _account(home())


def _account(unpacked: Path) -> account.Account:
    return account.unprivileged(must_read=unpacked / "modules" / "rest-root" / "plugin-descriptor.properties")


def _prepare(context: Context) -> Launch:
    conf, data = context.conf("elasticsearch"), context.data("elasticsearch")
    temporary = context.data("elasticsearch-tmp")
    write_if_changed(conf / "elasticsearch.yml", _yaml(_settings(context, data)))
    write_if_changed(conf / "jvm.options", _JVM_OPTIONS)
    write_if_changed(conf / "log4j2.properties", _LOG4J2)
    unpacked = home()
    chosen = _account(unpacked)
    account.give_folders_to(chosen, [conf, data, temporary])
    command = [
        str(context.java),
        "-Xms4m",
        "-Xmx64m",
        "-XX:+UseSerialGC",
        "-Dcli.name=server",
        "-Dcli.script=elasticsearch",
        "-Dcli.libs=lib/tools/server-cli",
        f"-Des.path.home={unpacked}",
        f"-Des.path.conf={conf}",
        "-Des.distribution.type=zip",
        "-Des.java.type=JAVA_HOME",
        "-cp",
        f"{unpacked}/lib/*:{unpacked}/lib/cli-launcher/*",
        "org.elasticsearch.launcher.CliToolLauncher",
    ]
    environment = {
        "ES_JAVA_OPTS": " ".join([f"-Xms{HEAP}", f"-Xmx{HEAP}", *([ONE_COMPILER] if context.short_lived else [])]),
        "ES_TMPDIR": str(temporary),
        "HOME": str(temporary),
    }
    return Launch([*chosen.prefix, *command], environment, directory=unpacked)


def _settings(context: Context, data: Path) -> dict[str, object]:
    return {
        "cluster.name": "dataco-stack",
        "node.name": "stack",
        "discovery.type": "single-node",
        "network.host": LOOPBACK,
        "http.port": context.ports["elasticsearch.http"],
        "transport.port": context.ports["elasticsearch.transport"],
        "path.data": str(data),
        "path.logs": str(context.data("elasticsearch-tmp")),
        # On loopback, for one developer.
        "xpack.security.enabled": False,
        # The platform creates its indices itself, from its template: a write to a missing one is a mistake.
        "action.auto_create_index": "-dataco-*,+*",
        # A developer's disk is often nearly full; the index would silently become read-only.
        "cluster.routing.allocation.disk.threshold_enabled": False,
    }


def _yaml(settings: dict[str, object]) -> str:
    return "".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items())  # JSON scalars are YAML


def _probe(context: Context, _started: float) -> None:
    listening(context, "elasticsearch.http")
    base = f"http://{context.address('elasticsearch.http')}"
    health = _get(f"{base}/_cluster/health")
    if health.get("status") not in ("green", "yellow") or health.get("initializing_shards"):
        raise NotReady(
            f"the cluster is {health.get('status')}, {health.get('initializing_shards')} shards initializing"
        )
    if "version" not in _get(f"{base}/"):
        raise NotReady("the answer to GET / has no version")


def _get(url: str) -> dict[str, object]:
    try:
        with urllib.request.urlopen(url, timeout=PROBE_SECONDS) as answer:  # noqa: S310 -- always http, on loopback
            return json.load(answer)
    except (OSError, urllib.error.URLError, ValueError) as error:
        raise NotReady(f"{url}: {error}") from error


ELASTICSEARCH = Server(
    name="elasticsearch",
    ports={"elasticsearch.http": 9200, "elasticsearch.transport": 9300},
    needs=(),
    fetch=_fetch,
    prepare=_prepare,
    probe=_probe,
    ready_seconds=240,
    stop_seconds=20,
    has_launcher=True,
)
