"""What is said of a probe: what it asks, what it needs of a store, how its score reads, what it answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Literal, NamedTuple

from workbench.errors import WorkbenchError, suggestion

Need = Literal[
    "labels",
    "labels or responses",
    "pairs",
    "norms",
    "residual",
    "logits",
    "outputs",
    "inner",
    "matrices",
    "routers",
    "directions",
]
Kind = Literal["ExpertScores", "LayerTable", "PairTable", "SetTable", "TokenTable"]


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
    """What it returns: a ranking, or a table of `probes.ranking`."""
    ahead: bool = False
    """Whether it says what it takes before it starts; `probes.structure.ahead` has it say that alone."""
    readings: tuple[Reading, ...] = ()
    units: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The unit by the value of an option, where that is another."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What a form says of an option whose name does not say enough."""

    def load(self) -> Callable[..., Any]:
        """The function."""
        module, _, name = self.function.partition(":")
        return getattr(import_module(f"{__package__}.{module}"), name)

    def unit_of(self, options: Mapping[str, Any]) -> str:
        """The unit of an answer with these options."""
        for reading in self.readings:
            if all(options.get(name) == value for name, value in reading.options.items()):
                return reading.unit
        return next((of[options[name]] for name, of in self.units.items() if options.get(name) in of), self.unit)

    @property
    def ranks(self) -> bool:
        """Whether it ranks every expert, as recipes and plans need it."""
        return self.answers == "ExpertScores"


def asked_of(asked: Mapping[str, Method], name: str) -> Method:
    """The one of this name among `asked`; `WorkbenchError` with the names that exist when there is none."""
    if name not in asked:
        raise WorkbenchError(
            f"There is no method '{name}'{suggestion(name, list(asked)) or ';'} use {', '.join(asked)}."
        )
    return asked[name]


def ranking(method: Method, rankers: Mapping[str, Method]) -> Method:
    """The method, when it ranks; `WorkbenchError` with those that do when it answers something else."""
    if not method.ranks:
        raise WorkbenchError(
            f"The probe '{method.name}' answers a {method.answers} and ranks no experts; rank by one of {', '.join(rankers)}."
        )
    return method
