"""The three kinds of plugins."""

from dataclasses import dataclass, field

from .columns import Column, ColumnType
from .parameters import Parameter


class Refusal(Exception):
    """Why a configuration or a batch is refused; `row` of this call, from 0, where one is to blame."""

    def __init__(self, message: str, row: int | None = None):
        super().__init__(message)
        self.row = row


class Plugin:
    """What every plugin says about itself."""

    name: str
    """Lower case, words joined by `-`."""
    version = "0.1.0"
    summary: str
    """What it does, in one line."""
    parameters: list[Parameter] = []


class Transform(Plugin):
    """Computes columns from columns."""

    def configure(self, parameters: dict, inputs: list[ColumnType]) -> list[ColumnType]:
        """Called once: says which columns `apply` will make of these."""
        raise NotImplementedError

    def apply(self, rows: int, columns: list[Column]) -> list[Column]:
        """Called once per batch."""
        raise NotImplementedError


@dataclass
class Demands:
    """What a loss asks of training."""

    prediction: str = "logit"
    """logit, value, log-rate or score: what a logit stands for."""
    labels: str = "binary"
    """binary, non-negative or any."""
    columns: list[str] = field(default_factory=list)


@dataclass
class LossBatch:
    """The rows that a loss is asked about."""

    logits: list[float]
    labels: list[float]
    weights: list[float] | None
    """None where every row weighs 1."""
    columns: list[Column]


class Loss(Plugin):
    """An objective."""

    def configure(self, parameters: dict) -> Demands:
        """Called once."""
        raise NotImplementedError

    def bind(self, columns: list[ColumnType]) -> None:
        """Called once with the types of the columns that `configure` asked for."""

    def evaluate(self, batch: LossBatch) -> tuple[list[float], list[float]]:
        """Called once per batch: losses and gradients, [B] both, multiplied by the weights."""
        raise NotImplementedError


@dataclass
class Items:
    """What a sampler knows of the items, one entry per item."""

    ids: list[int]
    """Ascending."""
    counts: list[int]
    last_rows: list[int]
    scores: list[float]
    """Empty where the recipe names no score column."""


class Sampler(Plugin):
    """Draws items that a row did not choose."""

    def configure(self, parameters: dict, items: Items) -> None:
        """Called once."""
        raise NotImplementedError

    def sample(self, positives: list[int], count: int, seed: int) -> tuple[list[int], list[float]]:
        """Called once per batch: `count` ids and log-probabilities per positive, [B, K] both.

        Random numbers come from the seed alone: `random.Random(seed)`, never `random` itself.
        """
        raise NotImplementedError
