#!/usr/bin/env python3
"""Writes <plugin>/cases.jsonl: what each standard plugin must give, from a second implementation.

Losses and their gradients are torch's, in double precision; hashes are those of the xxhash package.

    pip install numpy torch xxhash
    ./cases.py
"""

import json
import math
import pathlib

import torch
import torch.nn.functional as F
import xxhash

HERE = pathlib.Path(__file__).resolve().parent
MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def write(plugin, cases):
    lines = [json.dumps(case, ensure_ascii=False) for case in cases]
    (HERE / plugin / "cases.jsonl").write_text("\n".join(lines) + "\n")


# --- hashes and random streams

def mix(key):
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & MASK
    return key ^ (key >> 31)


def text_id(text):
    return xxhash.xxh3_64_intdigest(text.encode()) | 1 << 63


def key_of(value):
    return MASK if value is None else text_id(value) if isinstance(value, str) else value & MASK


def bucket(value, buckets, seed=0):
    return buckets if value is None else mix(key_of(value) ^ mix(seed)) * buckets >> 64


def cross(values, buckets, seed=0):
    state = mix(seed)
    for value in values:
        state = mix((state * GOLDEN + key_of(value)) & MASK)
    return buckets if all(value is None for value in values) else state * buckets >> 64


class Stream:
    def __init__(self, seed, row):
        start = mix((seed + GOLDEN) & MASK)
        self.state = mix(((start * GOLDEN) & MASK) ^ ((row + GOLDEN) & MASK))

    def bits(self):
        self.state = (self.state + GOLDEN) & MASK
        return mix(self.state)

    def below(self, n):
        return self.bits() * n >> 64

    def below_except(self, n, skipped):
        if skipped is None:
            return self.below(n)
        drawn = self.below(n - 1)
        return drawn + (drawn >= skipped)

    def f32(self):
        return (self.bits() >> 40) / 2**24


# --- transforms

def column(name, kind, values, members=None):
    made = {"name": name, "type": kind}
    return made | ({"members": members} if members else {}) | {"values": values}


def case(name, parameters, inputs, outputs, **more):
    return {"name": name, "parameters": parameters, "inputs": inputs, "outputs": outputs} | more


def failing(name, parameters, inputs, error):
    return {"name": name, "parameters": parameters, "inputs": inputs, "error": error}


def each(f, values):
    return [[f(value) for value in row] if isinstance(row, list) else f(row) for row in values]


WORDS = ["shoes", None, "", "Straße", "a text of more than sixteen bytes", "x" * 300]
IDS = [0, 1, None, -2, 1 << 40, -(1 << 63)]
FLOATS = column("price", "f32[1]", [1.0, 2.0])
NAMES = column("name", "text[1]", ["a", "b"])


def transforms():
    present = lambda f: lambda x: None if x is None else f(x)  # noqa: E731
    dense = column("dense", "f32[2]", [[0.0, 1.0], [None, -3.5], [1e-8, 3e38]], ["I1", "I2"])
    log1p = present(lambda x: math.log1p(max(x, 0)))
    signed = present(lambda x: math.copysign(math.log1p(abs(x)), x))
    lists = column("l", "f32 list", [[0.5, None], [], [1e6]])
    write("log1p", [
        case("negatives become 0", {}, [dense], [dense | {"values": each(log1p, dense["values"])}]),
        case("symmetric", {"negative": "symmetric"}, [dense],
             [dense | {"values": each(signed, dense["values"])}]),
        case("lists", {}, [lists], [lists | {"values": each(log1p, lists["values"])}]),
        case("no rows", {}, [column("x", "f32[1]", [])], [column("x", "f32[1]", [])]),
        failing("texts are refused", {}, [NAMES], "column `name` is text[1], expected floats"),
    ])
    write("clip", [
        case("both ends", {"min": 0, "max": 2.5}, [column("x", "f32[1]", [-1.0, 2.0, 3.0, None])],
             [column("x", "f32[1]", [0.0, 2.0, 2.5, None])]),
        case("one end", {"max": 1}, [column("x", "f32[2]", [[-3e38, 5.0]])],
             [column("x", "f32[2]", [[-3e38, 1.0]])]),
        case("lists", {"min": 1}, [column("x", "f32 list", [[0.5, 7.0], []])],
             [column("x", "f32 list", [[1.0, 7.0], []])]),
        failing("no range", {"min": 2, "max": 1}, [FLOATS], "`max` is less than `min`"),
        failing("ids are refused", {}, [column("id", "i64[1]", [1])], "expected floats"),
    ])
    write("standardize", [
        case("per value", {"means": [1, 10], "stds": [2, 0.5]},
             [column("d", "f32[2]", [[3.0, 10.0], [None, 11.0]])],
             [column("d", "f32[2]", [[1.0, 0.0], [None, 2.0]])]),
        case("one for all", {"means": [1], "stds": [2]}, [column("d", "f32[2]", [[3.0, None]])],
             [column("d", "f32[2]", [[1.0, None]])]),
        case("lists", {"means": [1], "stds": [2]}, [column("d", "f32 list", [[], [3.0, 5.0]])],
             [column("d", "f32 list", [[], [1.0, 2.0]])]),
        failing("too many", {"means": [1, 2], "stds": [1, 1]}, [FLOATS],
                "2 `means` for column `price`, expected 1 or 1"),
        failing("unlike", {"means": [1, 2], "stds": [1]}, [FLOATS], "2 `means` and 1 `stds`"),
        failing("no deviation", {"means": [1], "stds": [0]}, [FLOATS], "stds"),
    ])
    prices = column("price", "f32[1]", [-1.0, 0.0, 9.5, 10.0, 1e9, None])
    many = [float(at) for at in range(100)]
    write("bucketize", [
        case("fixed", {"boundaries": [0, 10, 100]}, [prices],
             [column("price", "i64[1]", [0, 1, 1, 2, 3, 4])]),
        case("quantiles", {"sample": [4, 1, 3, 2, 5], "quantiles": 4},
             [column("x", "f32[2]", [[0.0, 2.0], [3.5, 4.0], [5.0, None]])],
             [column("x", "i64[2]", [[0, 1], [2, 3], [3, 4]])]),
        case("equal quantiles are one", {"sample": [1, 1, 1, 1, 2], "quantiles": 4},
             [column("x", "f32[1]", [0.0, 1.0, 2.0])], [column("x", "i64[1]", [0, 1, 1])]),
        case("many boundaries", {"boundaries": many}, [column("x", "f32 list", [[-0.5, 41.5], [], [None]])],
             [column("x", "i64 list", [[0, 42], [], [101]])]),
        failing("nothing given", {}, [prices], "give `boundaries` or a `sample`"),
        failing("not ascending", {"boundaries": [1, 1]}, [prices], "do not ascend"),
    ])
    hashed = lambda values, **more: each(lambda value: bucket(value, **more), values)  # noqa: E731
    write("hash", [
        case("ids", {"buckets": 1000}, [column("id", "i64[1]", IDS)],
             [column("id", "i64[1]", hashed(IDS, buckets=1000))]),
        case("texts", {"buckets": 4294967295}, [column("t", "text[2]", [WORDS[:2], WORDS[2:4], WORDS[4:]])],
             [column("t", "i64[2]", hashed([WORDS[:2], WORDS[2:4], WORDS[4:]], buckets=4294967295))]),
        case("another seed", {"buckets": 1000, "seed": -5}, [column("id", "i64 list", [IDS, []])],
             [column("id", "i64 list", [hashed(IDS, buckets=1000, seed=-5 & MASK), []])]),
        case("lists of texts", {"buckets": 7}, [column("t", "text list", [WORDS, [], ["a"]])],
             [column("t", "i64 list", hashed([WORDS, [], ["a"]], buckets=7))]),
        case("one bucket", {"buckets": 1}, [column("id", "i64[1]", [5, None])],
             [column("id", "i64[1]", [0, 1])]),
        failing("floats are refused", {"buckets": 5}, [FLOATS], "expected ids or texts"),
        failing("buckets are needed", {}, [column("id", "i64[1]", [5])], "buckets"),
    ])
    users, items = column("u", "i64[1]", [1, None, None]), column("i", "text[1]", ["x", "x", None])
    rows = list(zip(users["values"], items["values"]))
    packed = column("c", "i64[3]", [[1, 2, 3], [None, 2, 3]])
    write("hash-cross", [
        case("two columns", {"buckets": 100000}, [users, items],
             [column("u_x_i", "i64[1]", [cross(row, 100000) for row in rows])]),
        case("a packed column", {"buckets": 50, "seed": 3, "output": "all"}, [packed],
             [column("all", "i64[1]", [cross(row, 50, 3) for row in packed["values"]])]),
        case("no rows", {"buckets": 5}, [column("a", "i64[1]", []), column("b", "i64[1]", [])],
             [column("a_x_b", "i64[1]", [])]),
        failing("one value", {"buckets": 5}, [users], "1 value per row, expected 2 or more"),
        failing("lists", {"buckets": 5}, [users, column("l", "i64 list", [[1], [2], []])],
                "column `l` is i64 list, expected ids or texts of fixed width"),
    ])
    dates(rows)
    grams()
    write("truncate", [
        case("the last", {"max": 2}, [column("h", "i64 list", [[1, 2, 3], [4], [], [5, 6]])],
             [column("h", "i64 list", [[2, 3], [4], [], [5, 6]])]),
        case("the first", {"max": 2, "keep": "first"}, [column("h", "f32 list", [[1.0, None, 3.0], []])],
             [column("h", "f32 list", [[1.0, None], []])]),
        case("texts", {"max": 1}, [column("t", "text list", [["a", "é"], [None, "b"], ["c", None]])],
             [column("t", "text list", [["é"], ["b"], [None]])]),
        case("two columns", {"max": 1},
             [column("a", "i64 list", [[1, 2]]), column("b", "i64 list", [[3, 4]])],
             [column("a", "i64 list", [[2]]), column("b", "i64 list", [[4]])]),
        failing("fixed width", {"max": 1}, [FLOATS], "column `price` is f32[1], expected a list"),
    ])
    words = ["red", "green", ""]
    known = lambda x: 7 if x is None else 4 + words.index(x) if x in words else bucket(x, 4)  # noqa: E731
    texts = [["red", "blue"], ["", None], ["Red", "green"]]
    write("vocabulary", [
        case("words", {"words": words}, [column("t", "text[1]", ["green", "blue", None])],
             [column("t", "i64[1]", [2, 0, 4])]),
        case("ids", {"ids": [30, -7]}, [column("id", "i64 list", [[30, -7, 31], [None], []])],
             [column("id", "i64 list", [[1, 2, 0], [3], []])]),
        case("buckets for the unknown", {"words": words, "oov_buckets": 4}, [column("t", "text[2]", texts)],
             [column("t", "i64[2]", each(known, texts))]),
        failing("twice", {"words": ["a", "b", "a"]}, [NAMES], "`words` has `a` twice"),
        failing("of another type", {"ids": [1]}, [NAMES], "expected the type of `ids`"),
        failing("nothing known", {}, [NAMES], "give `words` or `ids`"),
    ])


def dates(_):
    import datetime as dt
    names = ["minute", "hour", "weekday", "hour_of_week", "weekend", "day", "day_of_year", "month",
             "quarter", "year"]

    def parts(when):
        when = dt.datetime.fromtimestamp(when, dt.UTC) if isinstance(when, int) else when
        return [when.minute, when.hour, when.weekday(), when.weekday() * 24 + when.hour,
                int(when.weekday() > 4), when.day, when.timetuple().tm_yday, when.month,
                (when.month + 2) // 3, when.year]

    times = [0, 1709204709, -86400 * 400, 4102444799]
    texts = ["2024-02-29", "1999-12-31T23:59:59Z", "2024-06-01 00:30:00+02:00"]
    parsed = [dt.datetime.fromisoformat(text) for text in texts]
    utc = [when if when.tzinfo is None else when.astimezone(dt.UTC) for when in parsed]
    write("date-parts", [
        case("every part", {"parts": names}, [column("t", "i64[1]", [*times, None])],
             [column("t_parts", "i64[10]", [*map(parts, times), [None] * 10], [f"t_{n}" for n in names])]),
        case("texts", {"parts": names, "output": "when"}, [column("t", "text[1]", [*texts, None])],
             [column("when", "i64[10]", [*map(parts, utc), [None] * 10], [f"t_{n}" for n in names])]),
        case("milliseconds, ahead of UTC", {"parts": ["hour"], "unit": "milliseconds", "offset": 90},
             [column("t", "i64[1]", [81_000_000, 80_999_999])],
             [column("t_parts", "i64[1]", [0, 23], ["t_hour"])]),
        case("what is no date is missing", {"parts": ["year"], "invalid": "missing"},
             [column("t", "text[1]", ["soon", "2024-02-30", "2024-02-28"])],
             [column("t_parts", "i64[1]", [None, None, 2024], ["t_year"])]),
        failing("what is no date is a fault", {}, [column("t", "text[1]", ["2024-01-01", "soon"])],
                "column `t` is `soon`, expected a date"),
        failing("floats are refused", {}, [FLOATS], "expected ids or texts"),
    ])


def grams():
    def ngrams(text, low, high, unit, buckets, lowercase=True):
        words = "".join(c if c.isalnum() else " " for c in text or "").split()
        words = [word.lower() for word in words] if lowercase else words
        units = words if unit == "word" else list(" ".join(words))
        glue = " " if unit == "word" else ""
        return [bucket(glue.join(units[at:at + n]), buckets)
                for n in range(low, high + 1) for at in range(len(units) - n + 1)]

    texts = ["Red, red SHOES!", None, "", "für Öl — 42"]
    rows = [["Ab c", "D"], [], [None]]
    write("ngrams", [
        case("words", {"buckets": 1000}, [column("t", "text[1]", texts)],
             [column("t", "i64 list", [ngrams(t, 1, 1, "word", 1000) for t in texts])]),
        case("pairs and triples", {"buckets": 1 << 30, "n_min": 2, "n_max": 3}, [column("t", "text[1]", texts)],
             [column("t", "i64 list", [ngrams(t, 2, 3, "word", 1 << 30) for t in texts])]),
        case("characters", {"buckets": 97, "n_min": 1, "n_max": 3, "unit": "char", "lowercase": False},
             [column("t", "text[1]", texts)],
             [column("t", "i64 list", [ngrams(t, 1, 3, "char", 97, False) for t in texts])]),
        case("lists of texts", {"buckets": 1000, "n_max": 2}, [column("t", "text list", rows)],
             [column("t", "i64 list", [sum((ngrams(t, 1, 2, "word", 1000) for t in row), []) for row in rows])]),
        failing("no range", {"buckets": 10, "n_min": 3, "n_max": 2}, [NAMES], "`n_max` is 2"),
        failing("ids are refused", {"buckets": 10}, [column("id", "i64[1]", [1])], "expected texts"),
    ])


# --- losses

def loss_case(name, parameters, logits, labels, f, weights=None, columns=None, **more):
    z = torch.tensor(logits, dtype=torch.float32).double().requires_grad_()
    y = torch.tensor(labels, dtype=torch.float32).double()
    w = torch.ones_like(z) if weights is None else torch.tensor(weights, dtype=torch.float32).double()
    losses = f(z, y) * w
    (gradients,) = torch.autograd.grad(losses.sum(), z)
    made = {"name": name, "parameters": parameters, "logits": logits, "labels": labels}
    made |= {"weights": weights} if weights else {}
    made |= {"columns": columns} if columns else {}
    return made | {"losses": losses.tolist(), "gradients": gradients.tolist()} | more


def focal(gamma, alpha):
    def f(z, y):
        p = torch.where(y > 0.5, z.sigmoid(), (-z).sigmoid())
        factor = torch.where(y > 0.5, alpha, 1 - alpha) if alpha is not None else 1.0
        return factor * (1 - p) ** gamma * F.binary_cross_entropy_with_logits(z, y, reduction="none")
    return f


def grouped(groups, pair_loss):
    def f(z, y):
        rows = [torch.zeros((), dtype=torch.float64) for _ in groups]
        for at, group in enumerate(groups):
            negatives = [j for j, other in enumerate(groups) if other == group and y[j] < 0.5]
            if group is not None and y[at] > 0.5 and negatives:
                rows[at] = pair_loss(at, negatives, z)
        return torch.stack(rows)
    return f


def losses():
    z, y = [-30.0, -2.5, -0.1, 0.0, 0.7, 3.0, 25.0, -1.5], [0, 1, 0, 1, 0, 1, 0, 1]
    w = [1.0, 2.0, 0.5, 0.0, 3.0, 1.0, 0.25, 1.5]
    bce = lambda z, y: F.binary_cross_entropy_with_logits(z, y, reduction="none")  # noqa: E731
    none = {"logits": [], "labels": [], "losses": [], "gradients": []}
    short = {"logits": [1.0], "labels": [1.0]}
    write("bce", [
        loss_case("rows", {}, z, y, bce),
        loss_case("weights", {}, z, y, bce, w),
        loss_case("great logits", {}, [1e4, -1e4, 1e4, -1e4], [1, 1, 0, 0], bce),
        {"name": "no rows", "parameters": {}} | none,
        {"name": "unknown parameter", "parameters": {"gamma": 1}, "error": "gamma"} | short,
    ])
    weighted = lambda p: lambda z, y: F.binary_cross_entropy_with_logits(  # noqa: E731
        z, y, pos_weight=torch.tensor(p, dtype=torch.float64), reduction="none")
    write("weighted-bce", [
        loss_case("heavier", {"pos_weight": 7.5}, z, y, weighted(7.5)),
        loss_case("lighter, with weights", {"pos_weight": 0.25}, z, y, weighted(0.25), w),
        loss_case("as bce", {}, z, y, bce),
        {"name": "no rows", "parameters": {}} | none,
        {"name": "below 0", "parameters": {"pos_weight": -1}, "error": "pos_weight"} | short,
    ])
    write("focal", [
        loss_case("as published", {}, z, y, focal(2.0, 0.25)),
        loss_case("weights", {"gamma": 0.5, "alpha": 0.9}, z, y, focal(0.5, 0.9), w),
        loss_case("without alpha", {"gamma": 3, "balance": False}, z, y, focal(3.0, None)),
        loss_case("as bce", {"gamma": 0, "balance": False}, z, y, bce),
        {"name": "no rows", "parameters": {}} | none,
        {"name": "alpha above 1", "parameters": {"alpha": 1.5}, "error": "alpha"} | short,
    ])
    hinge = lambda m, n: lambda z, y: F.relu(m - (2 * y - 1) * z) ** n  # noqa: E731
    write("hinge", [
        loss_case("margin 1", {}, z, y, hinge(1.0, 1)),
        loss_case("squared, weights", {"squared": True, "margin": 0.5}, z, y, hinge(0.5, 2), w),
        {"name": "no rows", "parameters": {}} | none,
        {"name": "below 0", "parameters": {"margin": -1}, "error": "margin"} | short,
    ])
    values = [-3.0, 0.5, 4.25, 0.0, -1.0, 2.5, 100.0, -0.75]
    huber = lambda d: lambda z, y: F.huber_loss(z, y, delta=d, reduction="none")  # noqa: E731
    write("huber", [
        loss_case("delta 1", {}, z, values, huber(1.0)),
        loss_case("weights", {"delta": 2.5}, z, values, huber(2.5), w),
        {"name": "no rows", "parameters": {}} | none,
        {"name": "no delta", "parameters": {"delta": 0}, "error": "delta"} | short,
    ])
    counts, rates = [0, 1, 3, 0, 12, 2, 5, 1], [-30.0, -2.5, -0.1, 0.0, 0.7, 3.0, 8.0, -1.5]
    poisson = lambda full: lambda z, y: F.poisson_nll_loss(z, y, full=full, reduction="none")  # noqa: E731
    write("poisson", [
        loss_case("log-rates", {}, rates, counts, poisson(False)),
        loss_case("with ln y!, weights", {"full": True}, rates, counts, poisson(True), w),
        {"name": "no rows", "parameters": {}} | none,
        {"name": "of another type", "parameters": {"full": 3}, "error": "full"} | short,
    ])
    users, named = [7, 7, 7, 9, 9, 7, None, 8], ["a", "a", "a", "b", "b", "a", None, "c"]
    scores, labels = [0.5, -1.0, 2.0, 0.25, 1.5, -0.75, 3.0, 1.0], [1, 0, 0, 1, 0, 1, 1, 1]
    pair = lambda at, others, z: F.softplus(z[others] - z[at]).mean()  # noqa: E731

    def weigh(f):
        weights = torch.tensor(w, dtype=torch.float64)
        return lambda z, y: f(z, y) * weights

    def with_weights(name, parameters, f, columns):
        made = loss_case(name, parameters, scores, labels, weigh(f), None, columns)
        return made | {"weights": w}

    ids, texts = column("user", "i64[1]", users), column("user", "text[1]", named)
    first = grouped(users, lambda at, others, z: F.softplus(z[others[at // 5 % len(others)]] - z[at]))
    write("bpr", [
        loss_case("pairs", {"group": "user"}, scores, labels, grouped(users, pair), None, [ids]),
        with_weights("weights, texts", {"group": "user"}, grouped(users, pair), [texts]),
        loss_case("one pair each", {"group": "user", "pairs_max": 1}, scores, labels, first, None, [ids]),
        {"name": "no rows", "parameters": {"group": "user"},
         "columns": [column("user", "i64[1]", [])]} | none,
        {"name": "lists do not group", "parameters": {"group": "user"}, "logits": [1.0], "labels": [1.0],
         "columns": [column("user", "i64 list", [[1]])], "error": "expected i64[1] or text[1]"},
    ])
    q = [-1.0, -2.0, -0.5, -3.0, -0.25, -1.5, 0.0, 0.0]

    def softmax(temperature, log_q):
        taken = torch.tensor(log_q, dtype=torch.float64)

        def choice(at, others, z):
            corrected = z / temperature - taken
            return torch.logsumexp(corrected[[at, *others]], 0) - corrected[at]
        return grouped(users, choice)

    corrected, sampled = {"group": "user", "log_q": "q"}, column("q", "f32[1]", q)
    write("sampled-softmax", [
        loss_case("corrected", corrected, scores, labels, softmax(1.0, q), None, [ids, sampled]),
        with_weights("weights, temperature", corrected | {"temperature": 0.5}, softmax(0.5, q), [ids, sampled]),
        loss_case("uncorrected", {"group": "user"}, scores, labels, softmax(1.0, [0.0] * 8), None, [texts]),
        {"name": "no rows", "parameters": {"group": "user"}, "columns": [column("user", "i64[1]", [])]} | none,
        {"name": "a missing probability", "parameters": corrected, "logits": [1.0, 2.0], "labels": [1.0, 0.0],
         "columns": [column("user", "i64[1]", [1, 1]), column("q", "f32[1]", [0.0, None])],
         "error": "the sampling probability is missing"},
    ])


# --- samplers

def samplers():
    items = {"ids": [2, 3, 5, 7, 11], "counts": [1, 4, 100, 9, 30], "last_rows": [90, 10, 99, 89, 95],
             "scores": [0.5, 2.0, None, 2.0, -1.0]}
    ids, positives, count = items["ids"], [5, 3, -1], 4

    def drawn(name, parameters, among, seed):
        made, logs = [], []
        for row, positive in enumerate(positives):
            stream, skipped = Stream(seed, row), among.index(positive) if positive in among else None
            made += [among[stream.below_except(len(among), skipped)] for _ in range(count)]
            logs += [-math.log(len(among) - (skipped is not None))] * count
        return {"name": name, "parameters": parameters, "items": items, "positives": positives,
                "count": count, "seed": seed, "ids": made, "log_probabilities": logs}

    def other(name, parameters, **more):
        return {"name": name, "parameters": parameters, "items": items, "positives": positives,
                "count": count, "seed": 1} | more

    only = {"ids": [4], "counts": [3], "last_rows": [0], "scores": [1.0]}
    nothing = {"ids": [], "counts": [], "last_rows": [], "scores": []}
    alone = {"items": only, "positives": [9, 4], "error": "no item but the chosen one"}
    write("uniform", [
        drawn("draws", {}, ids, 1), drawn("another seed", {}, ids, (1 << 63) + 5),
        other("nothing asked", {}, count=0, ids=[], log_probabilities=[]),
        other("only the chosen one", {}, **alone),
        other("no items", {}, items=nothing, error="there are no items"),
    ])
    recent = [2, 5, 11]
    write("recent-window", [
        drawn("ten rows", {"window": 10}, recent, 1), drawn("all rows", {"window": 1000}, ids, 7),
        other("one row", {"window": 1}, positives=[3], ids=[5] * 4, log_probabilities=[0.0] * 4),
        other("only the chosen one", {"window": 1}, error="the window has no item but the chosen one"),
        other("no window", {"window": 0}, error="window"),
    ])
    pair = {"ids": [3, 8], "counts": [1, 99], "last_rows": [0, 1], "scores": []}
    write("popularity", [
        other("equally popular", {"alpha": 0}, items=items | {"counts": [3] * 5}, positives=[5],
              log_probabilities=[-math.log(4)] * 4),
        other("the rare one is left", {}, items=pair, positives=[8], ids=[3] * 4,
              log_probabilities=[0.0] * 4, tolerance=1e-5),
        other("nothing asked", {}, count=0, ids=[], log_probabilities=[]),
        other("only the chosen one", {}, **alone),
        other("alpha below 0", {"alpha": -1}, error="alpha"),
    ])

    def hard(top, mix, seed):
        made, logs = [], []
        places = [ids.index(item) for item in top]
        for row, positive in enumerate(positives):
            stream, skipped = Stream(seed, row), ids.index(positive) if positive in ids else None
            skipped_top = top.index(positive) if positive in top else None
            others, harder = len(ids) - (skipped is not None), len(top) - (skipped_top is not None)
            for _ in range(count):
                if stream.f32() < mix:
                    place = places[stream.below_except(len(top), skipped_top)]
                else:
                    place = stream.below_except(len(ids), skipped)
                made.append(ids[place])
                logs.append(math.log(mix / harder * (ids[place] in top) + (1 - mix) / others))
        return {"ids": made, "log_probabilities": logs}

    write("hard", [
        other("two hard items", {"top": 2, "mix": 0.5}, **hard([3, 7], 0.5, 1)),
        other("three hard items, mostly", {"top": 3, "mix": 0.9}, **hard([2, 3, 7], 0.9, 1)),
        other("no hard item left", {"top": 1, "mix": 1}, positives=[3], log_probabilities=[-math.log(4)] * 4),
        other("no scores", {}, items=items | {"scores": []}, error="items have no scores"),
        other("only the chosen one", {}, **alone),
    ])


transforms()
losses()
samplers()
