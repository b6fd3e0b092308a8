"""FBGEMM's table-batched embedding on the CPU, with fused row-wise Adagrad, for the `embedding` bench.

    fbgemm_tbe.py FOLDER DIM THREADS BATCH BATCHES LEARNING_RATE EPSILON ROWS...

FOLDER holds `ids`, int64 [batches, tables, batch], and `gradient`, float32 [batch, tables * dim].
Says `ready`, then takes as many steps as each line on stdin says and prints their
milliseconds, on the clock and of all processors; after
`end` the sum of the magnitudes of the last output. Weights begin at zero. Needs fbgemm-gpu-cpu and the
torch it was built for.
"""

import json
import pathlib
import sys
import time

import numpy as np
import torch
from fbgemm_gpu.split_embedding_configs import EmbOptimType
from fbgemm_gpu.split_table_batched_embeddings_ops_common import EmbeddingLocation
from fbgemm_gpu.split_table_batched_embeddings_ops_training import (
    ComputeDevice,
    SplitTableBatchedEmbeddingBagsCodegen,
)

folder = pathlib.Path(sys.argv[1])
dim, threads, batch, batches = map(int, sys.argv[2:6])
learning_rate, epsilon = map(float, sys.argv[6:8])
rows = list(map(int, sys.argv[8:]))
torch.set_num_threads(threads)

ids = torch.from_numpy(np.fromfile(folder / "ids", np.int64).reshape(batches, -1))
gradient = torch.from_numpy(np.fromfile(folder / "gradient", np.float32).reshape(batch, -1))
offsets = torch.arange(ids.shape[1] + 1)
tables = SplitTableBatchedEmbeddingBagsCodegen(
    [(count, dim, EmbeddingLocation.HOST, ComputeDevice.CPU) for count in rows],
    optimizer=EmbOptimType.EXACT_ROWWISE_ADAGRAD, learning_rate=learning_rate, eps=epsilon)
for weights in tables.split_embedding_weights():
    weights.zero_()

print("ready", flush=True)
at, out = 0, None
for line in sys.stdin:
    if line.strip() == "end":
        print(float(out.detach().double().abs().sum()), flush=True)
        break
    times = []
    for _ in range(int(line)):
        batch_ids = ids[at % batches]
        start, start_cpu = time.perf_counter(), time.process_time()
        out = tables(batch_ids, offsets)
        out.backward(gradient)
        now, now_cpu = time.perf_counter(), time.process_time()
        times.append([(now - start) * 1e3, (now_cpu - start_cpu) * 1e3])
        at += 1
    print(json.dumps(times), flush=True)
