"""Repairs how Spark's Python workers read state, which pyspark 3.5 and Python 3.11 do not agree about.

With a group's state come the places of its rows, as whole numbers in a column that ends with nulls. pyarrow makes such
numbers floats, and slicing by a float has been an error since Python 3.10. So the column is read without pandas.
"""

from typing import Any

import pyarrow as pa


class RepairsWorker:
    """Repairs the process in which it is unpickled; a function that Spark sends to its workers takes one along."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Is called by pickle; what it names is called by the worker."""
        return _repaired, ()


def _repaired() -> RepairsWorker:
    import pandas as pd
    from pyspark.sql.pandas.serializers import ApplyInPandasWithStateSerializer, ArrowStreamPandasUDFSerializer

    def arrow_to_pandas(self: ApplyInPandasWithStateSerializer, arrow_column: pa.ChunkedArray) -> Any:
        if pa.types.is_struct(arrow_column.type):
            return pd.Series(arrow_column.to_pylist(), dtype=object)
        return ArrowStreamPandasUDFSerializer.arrow_to_pandas(self, arrow_column)

    ApplyInPandasWithStateSerializer.arrow_to_pandas = arrow_to_pandas
    return RepairsWorker()
