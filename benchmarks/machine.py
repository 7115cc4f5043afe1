"""The machine that a benchmark runs on: its hardware and versions, without its name, and the memory of a process."""

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from local_stack import java
from local_stack.servers.hdfs import POM as HBASE_POM

_PACKAGES = ("dagster", "pyspark", "confluent-kafka", "happybase", "msgspec", "elasticsearch")


def facts() -> dict[str, str]:
    """Machine and versions."""
    return {
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.machine()}",
        "Java": _java(),
        "Python": platform.python_version(),
        "HBase": _hbase(),
        **{name: version(name) for name in _PACKAGES},
    }


def peak_rss_bytes(pid: int | None = None) -> int:
    """The most memory a process has held, by default this one; unlike `ru_maxrss`, without that of its parent."""
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def _java() -> str:
    output = subprocess.run([java.tool("java"), "-version"], capture_output=True, text=True, check=False).stderr
    found = re.search(r'(\w+) version "([^"]+)"', output)
    return f"{found[1]} {found[2]}" if found else "unknown"


def _hbase() -> str:
    found = re.search(r"<artifactId>hbase-server</artifactId>\s*<version>([^<]+)<", HBASE_POM.read_text())
    return found[1] if found else "unknown"
