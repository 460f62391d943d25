"""What is said of a probe: what it asks, what it needs of a store, how its score reads, what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, NamedTuple

Need = Literal["labels or responses", "pairs", "norms", "residual", "logits", "outputs", "matrices", "routers"]
Kind = Literal["ExpertScores", "LayerTable", "PairTable", "SetTable", "TokenTable", "DataFrame", "ExpertRefs"]


class Reading(NamedTuple):
    """Another measure that the same probe offers."""

    name: str
    options: Mapping[str, Any]
    unit: str


@dataclass(frozen=True)
class Method:
    """One probe. A name is what `from probes import NAME`, the command line and recipes say."""

    name: str
    function: str
    """Module and name below `probes`, imported when it is used."""
    title: str
    sentence: str
    """Goes on after the title: "fTRI: selected more in ..."."""
    score: str
    """What the score is called on a chart."""
    unit: str
    range: tuple[float, float]
    needs: tuple[Need, ...] = ()
    """What it needs of a store beside routing."""
    classes: tuple[str, ...] = ()
    """Names of the arguments that take classes of responses: the one looked for, then the one compared with."""
    goes_with: tuple[str, ...] = ()
    """Names of the arguments of which one says what experts may go with."""
    beside: str = ""
    """Name of the argument that takes another store; empty where it asks one store alone."""
    paired: bool = False
    """Whether the classes are meant to be the two sides of pairs of prompts."""
    negative_end: str = ""
    """What an expert of the negative end does; empty where no score is negative."""
    paper: str = ""
    answers: Kind = "ExpertScores"
    """What it returns: a ranking; a table of `probes.ranking`; or a plain value, which Python alone can ask for."""
    readings: tuple[Reading, ...] = ()
    words: Mapping[str, str] = field(default_factory=dict)
    """What a form says of an option whose name does not say enough."""

    def load(self) -> Callable[..., Any]:
        """The function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(f"{__package__}.{module}"), name)

    @property
    def ranks(self) -> bool:
        """Whether it ranks every expert, as recipes and plans need it."""
        return self.answers == "ExpertScores"
