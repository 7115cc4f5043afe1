"""Whether the clicks table has the row keys that this code writes.

The drain reaches HBase by the Thrift gateway alone, which knows no table metadata; so the keys of stored rows are
compared with what the code computes from their cells.
"""

from dataco_assets.clicks.event import MAX_TIMESTAMP_MS
from dataco_assets.clicks.row import KEY_COLUMNS, KEY_VERSION, key_problem, key_ranges
from dataco_assets.clients.hbase import HBase
from dataco_assets.errors import DatacoError


class OtherKeys(DatacoError):
    """The clicks table holds rows whose keys this code would not write."""


def require_current_keys(hbase: HBase, table: str) -> None:
    """Makes sure that the first row of each salt has a key of the current version; an empty table has.

    Raises:
        OtherKeys: a row has another key.
        HBaseUnavailable, HBaseRefused
    """
    for start, stop in key_ranges(0, MAX_TIMESTAMP_MS + 1):
        for key, stored in hbase.scan(table, start, stop, columns=KEY_COLUMNS, page_rows=1):
            if problem := key_problem(key, stored):
                raise OtherKeys(
                    f"HBase table {table} holds a row {key[:60]!r} that this version would not write: {problem}. "
                    f"Nothing was stored. `dataco setup --rekey-clicks` gives every row a key of version {KEY_VERSION} "
                    "(docs/operations.md, Upgrades); DATACO_HBASE_TABLE_PREFIX chooses another table."
                )
            break
