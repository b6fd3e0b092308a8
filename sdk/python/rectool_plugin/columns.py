"""Columns of a batch, as Python lists."""

from dataclasses import dataclass, field
from itertools import accumulate, pairwise

FLOAT32 = "float32"
INT64 = "int64"
TEXT = "text"

MISSING_ID = -1
"""Stands for a missing id. A missing float is NaN, a missing text is None."""


@dataclass
class ColumnType:
    """A column's name and type."""

    name: str
    element: str
    """FLOAT32, INT64 or TEXT."""
    jagged: bool = False
    """Any number of values in a row."""
    width: int = 1
    """Values in each row, unless jagged."""
    members: list[str] = field(default_factory=list)
    """Names of the values of a packed column, or none."""


@dataclass
class Column:
    """The values of a column, row after row: floats, ints, or texts (None where one is missing).

    Work on the whole list: a comprehension costs far less than a call per value.
    """

    element: str
    values: list
    offsets: list[int] | None = None
    """Of a jagged column: row i is values[offsets[i]:offsets[i + 1]]."""

    def replaced(self, values: list) -> "Column":
        """The same rows with other values of the same type."""
        return Column(self.element, values, self.offsets)

    def rows(self, width: int = 1) -> list[list]:
        """The values of each row; `width` is that of the column's type."""
        if self.offsets is None:
            return [self.values[i:i + width] for i in range(0, len(self.values), width)]
        return [self.values[start:end] for start, end in pairwise(self.offsets)]

    @staticmethod
    def of_rows(element: str, rows: list[list]) -> "Column":
        """A jagged column."""
        values = [value for row in rows for value in row]
        return Column(element, values, list(accumulate(map(len, rows), initial=0)))


def unpack_texts(offsets, data: bytes, validity: bytes) -> list:
    """Texts from their packed form."""
    text = data.decode()
    if text.isascii():  # characters are bytes: one decoding for all
        texts = [text[start:end] for start, end in pairwise(offsets)]
    else:
        texts = [data[start:end].decode() for start, end in pairwise(offsets)]
    if validity:
        texts = [t if validity[i >> 3] >> (i & 7) & 1 else None for i, t in enumerate(texts)]
    return texts


def pack_texts(texts: list) -> tuple[list[int], bytes, bytes]:
    """Offsets, bytes and validity of texts."""
    encoded = [b"" if text is None else text.encode() for text in texts]
    offsets = list(accumulate(map(len, encoded), initial=0))
    if None not in texts:
        return offsets, b"".join(encoded), b""
    validity = bytearray((len(texts) + 7) // 8)
    for i, text in enumerate(texts):
        if text is not None:
            validity[i >> 3] |= 1 << (i & 7)
    return offsets, b"".join(encoded), bytes(validity)
