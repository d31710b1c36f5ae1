"""Data sets with a named train, validation and test part, and everything that a model is fed."""

from kvae.data.columns import Column
from kvae.data.loading import Data, from_arrays, load
from kvae.data.shard_writing import write_shards
from kvae.data.sources import folder
from kvae.data.splits import Split
from kvae.data.support import BINARY, BYTE, OPEN_UNIT, POSITIVE, REAL, UNIT, Support
from kvae.data.tables import Table, table

__all__ = [
    "BINARY",
    "BYTE",
    "OPEN_UNIT",
    "POSITIVE",
    "REAL",
    "UNIT",
    "Column",
    "Data",
    "Split",
    "Support",
    "Table",
    "folder",
    "from_arrays",
    "load",
    "table",
    "write_shards",
]
