"""What a plugin says about its parameters."""

from dataclasses import dataclass, field


@dataclass
class Parameter:
    """A parameter that a recipe may set. The host checks type, range and choices."""

    name: str
    """Lower case, words joined by `_`."""
    type: str
    """boolean, integer, number, text, booleans, integers, numbers or texts."""
    help: str
    """What it does, in one line."""
    default: object = None
    """Taken where the recipe says nothing; without one it must."""
    min: float | None = None
    max: float | None = None
    choices: list[str] = field(default_factory=list)
    unit: str = ""
