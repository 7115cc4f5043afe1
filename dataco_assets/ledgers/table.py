"""The HBase table under each ledger: its families and its creation."""

from collections.abc import Mapping
from typing import ClassVar

from dataco_assets.clients.hbase import HBase


class LedgerTable:
    """A small HBase table of one region; subclasses add what its rows mean.

    Every method raises what `dataco_assets.clients.hbase` raises.

    Args:
        hbase: Client.
        table: Name of the table.
    """

    FAMILIES: ClassVar[Mapping[str, Mapping[str, object]]]
    """Column families and their options, as the Thrift gateway takes them."""

    def __init__(self, hbase: HBase, table: str) -> None:
        self._hbase = hbase
        self._table = table

    @property
    def name(self) -> str:
        """Name of the table."""
        return self._table

    def create(self) -> bool:
        """Creates the table; returns False when it exists already."""
        return self._hbase.create_table(self._table, self.FAMILIES)
