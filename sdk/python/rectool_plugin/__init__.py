"""What a rectool plugin in Python is written with.

A plugin is a class `Plugin` in `plugin.py`, a subclass of `Transform`, `Loss` or `Sampler`. Nothing
here needs Wasm: a plugin can be imported, tried and tested by any Python.
"""

from .columns import FLOAT32, INT64, MISSING_ID, TEXT, Column, ColumnType
from .kinds import Demands, Items, Loss, LossBatch, Refusal, Sampler, Transform
from .parameters import Parameter

__all__ = [
    "FLOAT32", "INT64", "MISSING_ID", "TEXT", "Column", "ColumnType", "Demands", "Items", "Loss",
    "LossBatch", "Parameter", "Refusal", "Sampler", "Transform",
]
