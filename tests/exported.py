"""Compares a table's exported files with its part, value by value; run by tests/ckpt.rs."""
import json
import struct

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def arrow(path):
    return pa.ipc.open_file(path).read_all()


def safetensors(path):
    """The format is simple enough to be read as its description says."""
    data = open(path, "rb").read()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    assert header.pop("__metadata__") == {"format": "rectool-table", "table": "C1"}
    body = data[8 + length :]
    types = {"U64": np.uint64, "U32": np.uint32, "F32": np.float32}
    tensors, end = {}, 0
    for name, entry in header.items():
        first, last = entry["data_offsets"]
        assert first == end and (8 + length + first) % 4 == 0
        end = last
        tensors[name] = np.frombuffer(body[first:last], types[entry["dtype"]]).reshape(entry["shape"])
    assert end == len(body)
    return tensors


def column(table, name):
    values = table[name].combine_chunks()
    if pa.types.is_fixed_size_list(values.type) or pa.types.is_list(values.type):
        return values.flatten().to_numpy().reshape(len(values), -1)
    return values.to_numpy()


part = arrow("one/tables/C1/part-00000.arrow")
assert part.num_rows > 3 and part.schema.names == ["key", "values", "state", "last_seen", "count"]
tensors = safetensors("C1.safetensors")
for table in [arrow("C1.arrow"), pq.read_table("C1.parquet")]:
    assert table.schema.names == part.schema.names, table.schema
    for name in part.schema.names:
        expected = column(part, name)
        for found in [column(table, name), tensors[name]]:
            assert found.dtype == expected.dtype and found.shape == expected.shape, name
            assert found.tobytes() == expected.tobytes(), name
assert pq.read_table("C1.values.parquet").schema.names == ["key", "values"]
assert column(part, "last_seen").max() <= 100 and column(part, "count").min() >= 1
