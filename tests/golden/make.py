"""Writes the golden numbers beside this file: what torch computes, for the tests to compare with.

    python -m venv venv && venv/bin/pip install torch==2.11.0 numpy
    venv/bin/python tests/golden/make.py

The files are committed; they change only if a case is added. Everything is computed in float64
from inputs that are exact in float32, and written with 9 digits.
"""

import json
import pathlib

import numpy as np
import torch
from torch import nn

HERE = pathlib.Path(__file__).parent


def numbers(values):
    """Nested lists of floats with the 9 digits that tell every float32 apart."""
    if isinstance(values, torch.Tensor):
        values = values.detach().tolist()
    if isinstance(values, list):
        return [numbers(value) for value in values]
    return float(f"{values:.9g}") if isinstance(values, float) else values


def write(name, content):
    text = json.dumps(content, separators=(",", ":"))
    (HERE / name).write_text(text.replace('},{"', '},\n{"') + "\n")


def draws(generator, *shape):
    """Normal numbers that are exact in float32, as float64."""
    return torch.randn(*shape, generator=generator, dtype=torch.float32).double()


def dense_optimizers():
    """Parameters [7] after each of 5 steps, with the gradients used."""
    cases = [
        ({"kind": "sgd", "learning_rate": 0.125}, torch.optim.SGD),
        ({"kind": "sgd", "learning_rate": 0.125, "momentum": 0.875, "weight_decay": 0.0625},
         torch.optim.SGD),
        ({"kind": "adagrad", "learning_rate": 0.125}, torch.optim.Adagrad),
        ({"kind": "adagrad", "learning_rate": 0.125, "epsilon": 0.001953125,
          "initial_accumulator": 0.25, "weight_decay": 0.0625}, torch.optim.Adagrad),
        ({"kind": "adam", "learning_rate": 0.0625}, torch.optim.Adam),
        ({"kind": "adam", "learning_rate": 0.0625, "beta1": 0.75, "beta2": 0.9375,
          "epsilon": 0.001953125, "weight_decay": 0.125}, torch.optim.Adam),
        ({"kind": "adam_w", "learning_rate": 0.0625, "weight_decay": 0.25}, torch.optim.AdamW),
    ]
    generator = torch.Generator().manual_seed(1)
    written = []
    for options, optimizer_class in cases:
        names = {"learning_rate": "lr", "epsilon": "eps",
                 "initial_accumulator": "initial_accumulator_value"}
        given = {names.get(k, k): v for k, v in options.items() if k not in ("kind", "beta1", "beta2")}
        if "beta1" in options:
            given["betas"] = (options["beta1"], options["beta2"])
        start = draws(generator, 7)
        gradients = draws(generator, 5, 7)
        gradients[:, 0] = 0.0  # a parameter that no sample touched
        param = nn.Parameter(start.clone())
        optimizer = optimizer_class([param], **given)
        after = []
        for gradient in gradients:
            param.grad = gradient.clone()
            optimizer.step()
            after.append(numbers(param))
        written.append({"options": options, "start": numbers(start),
                        "gradients": numbers(gradients), "after": after})
    write("dense_optimizers.json", written)


def embedding_optimizers():
    """A table of 6 rows of 4 values through 5 steps of pooled lookups.

    Gradients of a repeated row are summed before its one update; rows that a step does not touch
    do not change, whatever the weight decay. `ids` holds a bag per sample; `gradients` is the
    gradient of each bag's vector. SGD and Adagrad are those of torch on the rows touched;
    row-wise Adagrad keeps the mean square of a row's gradient in one accumulator per row.
    """
    bags = [
        [[0, 1], [1], []],
        [[2, 2, 2], [0], [5, 4]],
        [[1], [1], [1]],
        [[], [3, 1, 0], [2]],
        [[5], [0, 0, 1], [4]],
    ]
    generator = torch.Generator().manual_seed(2)
    written = []
    for kind in ("sgd", "adagrad", "rowwise_adagrad"):
        for pooling in ("sum", "mean"):
            for weight_decay in (0.0, 0.0625):
                rate, epsilon, initial = 0.125, 2.0**-20, 0.25
                table = draws(generator, 6, 4)
                start = numbers(table)
                gradients = draws(generator, 5, 3, 4)
                sums = torch.full((6, 4) if kind == "adagrad" else (6, 1), initial).double()
                after = []
                for ids, gradient in zip(bags, gradients):
                    weight = table.clone().requires_grad_()
                    flat = torch.tensor([row for bag in ids for row in bag])
                    ends = np.cumsum([0] + [len(bag) for bag in ids])
                    offsets = torch.tensor(ends[:-1].copy())
                    pooled = nn.functional.embedding_bag(flat, weight, offsets, mode=pooling)
                    pooled.backward(gradient)
                    rows = torch.unique(flat)
                    step = weight.grad[rows] + weight_decay * table[rows]
                    if kind == "sgd":
                        table[rows] -= rate * step
                    else:
                        square = step * step
                        if kind == "rowwise_adagrad":
                            square = square.mean(dim=1, keepdim=True)
                        sums[rows] += square
                        table[rows] -= rate * step / (sums[rows].sqrt() + epsilon)
                    after.append(numbers(table))
                written.append({"kind": kind, "pooling": pooling, "learning_rate": rate,
                                "weight_decay": weight_decay, "epsilon": epsilon,
                                "initial_accumulator": initial, "start": start, "ids": bags,
                                "gradients": numbers(gradients), "after": after})
    write("embedding_optimizers.json", written)


def table_optimizers():
    """A table of 5 rows of 3 values through 6 steps of torch's own optimizers.

    By `how` the optimizer sees the table:
    * "rows": each row is a parameter, without a gradient where a step leaves it out;
    * "sparse": one parameter with sparse gradients;
    * "dense": one parameter; a row left out has a gradient of zero. `values_count` says whether the
      values are to be compared: dense Adam also moves rows that are left out, so that only the
      moments of touched rows are the same unless every step touches all rows.
    Row-wise Adam has no counterpart in torch: its formula is written out. `gradients` are those of
    `ids`, one row each; a repeated id's are summed. After each step come the values of all rows and
    the state of the touched ones, [2, D] or [1, D] each.
    """
    rate, l2 = 0.0625, 0.125
    adam = {"learning_rate": rate, "beta1": 0.75, "beta2": 0.9375, "epsilon": 2.0**-9}
    some = [[0, 1, 1], [2, 0, 4], [1, 1, 1], [3, 1, 0], [4, 0, 2], [2, 3, 1]]
    every = [[4, 3, 2, 1, 0, row] for row in (0, 1, 1, 4, 2, 3)]
    torch_adam = {"lr": rate, "betas": (0.75, 0.9375), "eps": 2.0**-9}
    cases = [
        ({"kind": "sgd", "learning_rate": rate, "momentum": 0.875, "weight_decay": l2}, "rows", some,
         lambda p: torch.optim.SGD(p, lr=rate, momentum=0.875, weight_decay=l2)),
        ({"kind": "adagrad", "learning_rate": rate, "epsilon": 2.0**-9, "initial_accumulator": 0.25,
          "weight_decay": l2}, "rows", some,
         lambda p: torch.optim.Adagrad(p, lr=rate, eps=2.0**-9, initial_accumulator_value=0.25,
                                       weight_decay=l2)),
        ({"kind": "adam", "decay": "lazy", **adam}, "sparse", some,
         lambda p: torch.optim.SparseAdam(p, **torch_adam)),
        ({"kind": "adam", "decay": "exact", "weight_decay": l2, **adam}, "dense", every,
         lambda p: torch.optim.Adam(p, weight_decay=l2, **torch_adam)),
        ({"kind": "adam_w", "decay": "exact", "weight_decay": l2, **adam}, "dense", every,
         lambda p: torch.optim.AdamW(p, weight_decay=l2, **torch_adam)),
        ({"kind": "adam", "decay": "exact", **adam}, "dense", some,
         lambda p: torch.optim.Adam(p, **torch_adam)),
        ({"kind": "row_wise_adam", "decay": "exact", "weight_decay": l2, **adam}, "formula", every,
         None),
    ]
    generator = torch.Generator().manual_seed(4)
    written = []
    for options, how, steps, make in cases:
        start = draws(generator, 5, 3)
        gradients = draws(generator, len(steps), len(steps[0]), 3)
        table = start.clone()
        params = [nn.Parameter(r.clone()) for r in table] if how == "rows" else [nn.Parameter(table)]
        optimizer = make(params) if make else None
        second = torch.zeros(5, 1).double()
        first = torch.zeros(5, 3).double()
        after, states = [], []
        for at, (ids, gradient) in enumerate(zip(steps, gradients)):
            touched = sorted(set(ids))
            total = torch.zeros(5, 3).double().index_add(0, torch.tensor(ids), gradient)
            if how == "rows":
                for row, param in enumerate(params):
                    param.grad = total[row].clone() if row in touched else None
            elif how == "sparse":
                index = torch.tensor([touched])
                params[0].grad = torch.sparse_coo_tensor(index, total[touched], (5, 3))
            else:
                params[0].grad = total
            if optimizer:
                optimizer.step()
            else:
                with torch.no_grad():
                    step = total + l2 * params[0]
                    first = 0.75 * first + 0.25 * step
                    second = 0.9375 * second + 0.0625 * (step * step).mean(dim=1, keepdim=True)
                    root = (second / (1 - 0.9375 ** (at + 1))).sqrt() + 2.0**-9
                    params[0] -= rate * first / (1 - 0.75 ** (at + 1)) / root
            after.append(numbers(torch.stack([p.detach() for p in params]) if how == "rows"
                                 else params[0]))
            names = ("momentum_buffer", "sum", "exp_avg", "exp_avg_sq")
            if how == "rows":
                kept = [optimizer.state[params[row]] for row in touched]
                states.append([numbers([one[n] for n in names if n in one][0]) for one in kept])
            elif optimizer:
                kept = optimizer.state[params[0]]
                states.append([numbers(kept["exp_avg"][row]) + numbers(kept["exp_avg_sq"][row])
                               for row in touched])
            else:
                states.append([numbers(first[row]) + numbers(second[row]) for row in touched])
        written.append({"options": options, "how": how,
                        "values_count": how != "dense" or steps is every,
                        "start": numbers(start), "ids": steps, "gradients": numbers(gradients),
                        "after": after, "states": states})
    write("table_optimizers.json", written)


def bce():
    logits = [-200.0, -88.0, -20.0, -7.5, -1.0, -0.125, 0.0, 0.0009765625, 0.5, 3.0, 16.5, 90.0, 200.0]
    logits = torch.tensor([z for z in logits for _ in range(3)], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0.0, 1.0, 0.25] * (len(logits) // 3), dtype=torch.float64)
    losses = nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    losses.sum().backward()
    write("bce.json", {"logits": numbers(logits), "labels": numbers(labels),
                       "losses": numbers(losses), "gradients": numbers(logits.grad)})


def interaction():
    """The first vector and the products of all pairs, with the gradient of a weighted sum."""
    generator = torch.Generator().manual_seed(3)
    written = []
    shapes = [(2, 5, 3, False), (2, 5, 3, True), (2, 9, 8, False), (1, 27, 16, False)]
    for samples, features, width, own in shapes:
        vectors = draws(generator, samples, features, width).requires_grad_()
        products = vectors @ vectors.transpose(1, 2)
        row, column = torch.tril_indices(features, features, offset=0 if own else -1)
        out = torch.cat([vectors[:, 0], products[:, row, column]], dim=1)
        d_out = draws(generator, *out.shape)
        out.backward(d_out)
        written.append({"features": features, "width": width, "self_dots": own,
                        "vectors": numbers(vectors.flatten()), "out": numbers(out.flatten()),
                        "d_out": numbers(d_out.flatten()),
                        "d_vectors": numbers(vectors.grad.flatten())})
    write("interaction.json", written)


# What the README of the reference DLRM (facebookresearch/dlrm) prints for
#     python dlrm_s_pytorch.py --mini-batch-size=2 --data-size=6 --debug-mode
# [dense] of each batch is drawn; the ids of its three tables are:
REFERENCE_IDS = [
    [[[1], [0, 1]], [[0], [1]], [[1], [0]]],
    [[[1], [0, 2, 3]], [[1], [1, 2]], [[1], [1]]],
    [[[2], [0, 1, 2]], [[1], [2]], [[1], [1]]],
]
REFERENCE_LOSSES = [0.451893, 0.402002, 0.275460]
REFERENCE_AFTER = [
    0.0543, -0.1112, 0.42513, 0.34167, -0.14283, -0.45679, -0.19532, -0.10197,
    0.23667, 0.57199, -0.1666, 0.30285, 0.10751, 0.22124,
    -0.49338, -0.14301, -0.36664, -0.22164,
    0.51313, 0.66663, 0.10591, 0.1309, 0.32196, 0.66154, 0.84649, 0.55324,
    0.85444, 0.38482, 0.31677, 0.35425,
    0.17109, 0.82907, 0.33863,
    0.55238, 0.57857, 0.52154, 0.00265, 0.98825, 0.90528,
    0.20764, 0.29244,
    0.51996, 0.90184, 0.98368, 0.25752, 0.56436, 0.807, 0.39437, 0.73107,
    0.16096, 0.60055, 0.86596, 0.98348, 0.07938, 0.42842, 0.20453, 0.45064,
    0.5476, 0.0931, 0.29701, 0.92752, 0.56902, 0.45752, 0.75351, 0.74187,
    0.04849, 0.70857, 0.83933, 0.1659, 0.78101, 0.2866, 0.30646, 0.66526,
    0.11137, 0.66482, 0.88778, 0.69627,
    0.44029, 0.43816, 0.76502, 0.56561, 0.08485, 0.5826, 0.81474, 0.33702,
    0.92754, 0.75067,
    0.57379, 0.7514,
    0.07908,
]


def dlrm_reference():
    """Three steps of the reference DLRM, checked against what its README prints.

    The README prints 5 digits, but all its numbers come from one stream of uniform draws of numpy
    with seed 123, so they are had in full: first the dense values and ids of each batch, then the
    targets, tables, bottom layers and top layers. The loss is the mean square error of the
    probability, the optimizer SGD with rate 0.01, on the tables too.
    """
    stream = np.random.RandomState(123).rand(400)
    dense = [stream[at:at + 8].reshape(2, 4) for at in (0, 26, 52)]
    targets = [stream[at:at + 2] for at in (76, 78, 80)]
    at = 82

    def take(*shape, spread=None):
        nonlocal at
        values = stream[at:at + int(np.prod(shape))].reshape(shape)
        at += values.size
        if spread is not None:
            values = (2 * values - 1) * spread
        return nn.Parameter(torch.tensor(values.astype(np.float32)).double())

    tables = [take(rows, 2, spread=np.sqrt(1 / rows)) for rows in (4, 3, 2)]
    bottom = [(take(3, 4), take(3)), (take(2, 3), take(2))]
    top = [(take(4, 8), take(4)), (take(2, 4), take(2)), (take(1, 2), take(1))]
    params = tables + [param for layer in bottom + top for param in layer]
    dense = [torch.tensor(values.astype(np.float32)).double() for values in dense]
    targets = [torch.tensor(values.astype(np.float32)).double() for values in targets]
    content = {
        "learning_rate": 0.01, "loss": "mean square error of the probability",
        "batches": [{"dense": numbers(x), "ids": ids, "targets": numbers(y)}
                    for x, ids, y in zip(dense, REFERENCE_IDS, targets)],
        "start": layers(tables, bottom, top),
    }
    optimizer = torch.optim.SGD(params, lr=0.01)
    logits, losses = [], []
    for x, ids, y in zip(dense, REFERENCE_IDS, targets):
        for weight, bias in bottom:
            x = torch.relu(x @ weight.T + bias)
        pooled = [torch.stack([table[bag].sum(dim=0) for bag in bags])
                  for table, bags in zip(tables, ids)]
        vectors = torch.stack([x, *pooled], dim=1)
        row, column = torch.tril_indices(4, 4, offset=-1)
        z = torch.cat([x, (vectors @ vectors.transpose(1, 2))[:, row, column]], dim=1)
        for weight, bias in top[:-1]:
            z = torch.relu(z @ weight.T + bias)
        z = (z @ top[-1][0].T + top[-1][1]).squeeze(1)
        loss = ((torch.sigmoid(z) - y) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logits.append(numbers(z))
        losses.append(numbers(loss.item()))
    content |= {"logits": logits, "losses": losses, "after": layers(tables, bottom, top)}
    found = np.concatenate([param.detach().numpy().ravel() for param in params])
    np.testing.assert_allclose(losses, REFERENCE_LOSSES, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, REFERENCE_AFTER, rtol=0, atol=1e-5)
    write("dlrm_reference.json", content)


def layers(tables, bottom, top):
    pairs = {"bottom": bottom, "top": top}
    named = {name: [{"weight": numbers(weight), "bias": numbers(bias)} for weight, bias in layer]
             for name, layer in pairs.items()}
    return {"tables": [numbers(table) for table in tables], **named}


if __name__ == "__main__":
    dense_optimizers()
    embedding_optimizers()
    table_optimizers()
    bce()
    interaction()
    dlrm_reference()
