"""Repairs and speeds up the processes in which Spark runs Python functions, for micro-batches of a second.

Found by measuring with pyspark 3.5 and Python 3.11:

    * With a group's state come the places of its rows, as whole numbers in a column that ends with nulls. pandas makes
      such numbers floats, and slicing by a float has been an error since Python 3.10. So columns are read without
      pandas' types and names, which is quicker, too.
    * Each task reads the directories of all zip archives on the path again (pyspark itself is one): half of the time of
      a small task. They do not change while a process lives.
    * Each task ends with a full garbage collection, which looks at every module. What is there when a process begins
      stays, so it is left out of that.
"""

import gc
import zipimport
from typing import Any

import pyarrow as pa


class RepairsWorker:
    """Repairs the process in which it is unpickled; a function that Spark sends to its workers takes one along."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Is called by pickle; what it names is called by the worker."""
        return _repaired, ()


_done: list[bool] = []


def _repaired() -> RepairsWorker:
    if not _done:
        _done.append(True)
        import pandas as pd
        from pyspark.sql.pandas.serializers import ApplyInPandasWithStateSerializer

        def arrow_to_pandas(self: Any, arrow_column: pa.ChunkedArray) -> Any:  # noqa: ARG001  # Spark's name for it
            return pd.Series(arrow_column.to_pylist(), dtype=object)

        ApplyInPandasWithStateSerializer.arrow_to_pandas = arrow_to_pandas
        zipimport.zipimporter.invalidate_caches = lambda self: None  # noqa: ARG005  # zipimport's name for it
        gc.freeze()
    return RepairsWorker()
