"""HBase's own PerformanceEvaluation: how fast one Java client puts rows of a click's shape.

It runs with the stack's configuration. Its rows have 12 cells in the same three families, encoded and split like the
clicks table, with values of a click's mean size. The values are random bytes, which cannot be compressed, so its table
is not: that would only slow it.
"""

import re
import subprocess
from pathlib import Path

from dataco_assets.clicks.row import COLUMNS, SALTS, TABLE_FAMILIES
from dataco_assets.errors import DatacoError
from local_stack import jars, java
from local_stack.servers.hdfs import OPENED
from local_stack.servers.hdfs import POM as HBASE_POM
from local_stack.stack import Stack

POM = Path(__file__).with_name("pom.xml")
VALUE_BYTES = 26
_SECONDS = 600
_MAIN = "org.apache.hadoop.hbase.PerformanceEvaluation"
_TIMING = re.compile(r"\[SequentialWriteTest duration \]\s+Min: \d+ms\s+Max: (\d+)ms")


class PerformanceEvaluationFailed(DatacoError):
    """HBase's benchmark did not end well."""


def rows_per_second(stack: Stack, rows: int, table: str, *, batch_rows: int = 2_000, clients: int = 1) -> float:
    """Rows per second of Java clients that send puts in batches, without the time to start them.

    Each client is a thread with a share of the rows; the last to end counts.

    Raises:
        PerformanceEvaluationFailed: it ended with an error.
    """
    class_path = [stack.folder / "conf" / "hbase", *jars.resolve(POM), *jars.resolve(HBASE_POM)]
    command = [
        *(str(java.checked_java()), "-Xmx1g", *OPENED, "-cp", ":".join(map(str, class_path)), _MAIN),
        *("--nomapred", f"--table={table}", f"--rows={rows // clients}", f"--presplit={SALTS}"),
        *(f"--families={len(TABLE_FAMILIES)}", f"--columns={len(COLUMNS) // len(TABLE_FAMILIES)}"),
        *(f"--valueSize={VALUE_BYTES}", "--blockEncoding=FAST_DIFF"),
        *(f"--multiPut={batch_rows}", "--autoFlush=true", "sequentialWrite", str(clients)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    timing = _TIMING.search(done.stdout + done.stderr)
    if done.returncode or timing is None:
        raise PerformanceEvaluationFailed(f"PerformanceEvaluation failed:\n{(done.stdout + done.stderr)[-2_000:]}")
    return rows / int(timing[1]) * 1000
