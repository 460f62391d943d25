"""A recipe: a whole experiment as one frozen value, written to TOML with its defaults filled in."""

from typing import Annotated

from pydantic import BeforeValidator, Field

from .sections import (
    Capture,
    Choice,
    Claim,
    Controls,
    Judge,
    Measure,
    ModelSource,
    Name,
    NamedMetric,
    Natural,
    Paper,
    Plans,
    Prompts,
    Ranking,
    Reference,
    Section,
    Several,
    Statistics,
    as_source,
)  # fmt: skip

Source = Annotated[ModelSource, BeforeValidator(as_source)]


class Recipe(Section):
    """A whole experiment. Everything is crossed: models, plans, and the prompt sets that are measured."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,59}$")]
    """Of the folder under runs/: letters, digits, _ . -"""
    title: str = ""
    """The report's title."""
    question: str = ""
    """What the experiment asks, in one sentence."""
    seed: Natural = 0
    """Of every draw: random experts, resamples, sign flips."""
    batch_tokens: Annotated[int, Field(ge=1, strict=True)] = 4096
    """Tokens that go through the model together, padding and answers included."""
    models: Annotated[tuple[Source, ...], Several, Field(min_length=1)]
    """The models: names, or tables with source, dtype, device, device_map, revision."""
    prompts: dict[Name, Prompts] = Field(min_length=1)
    """Named prompt sets."""
    metrics: dict[Name, NamedMetric] = Field(default_factory=dict)
    """Measures of the recipe's own."""
    capture: Capture = Capture()
    """Options of `capture` for the ranking sets."""
    rankings: tuple[Ranking, ...] = ()
    """How experts are ranked."""
    plans: Annotated[tuple[Plans, ...], Field(min_length=1)]
    """What is done to them."""
    controls: Controls = Controls()
    """What every plan is set beside."""
    statistics: Statistics = Statistics()
    """Intervals, tests, correction."""
    measure: Measure = Measure()
    """What is measured beside the answers."""
    judge: Judge | None = None
    """The endpoint of the metric judge."""
    claims: tuple[Claim, ...] = ()
    """Statements to be judged."""
    choice: Choice | None = None
    """On what the plan of a claim was chosen."""
    paper: Paper | None = None
    """Whose claims these are."""
    references: tuple[Reference, ...] = ()
    """The paper's values for single experts."""

    def measured(self) -> dict[str, Prompts]:
        """The prompt sets that arms are measured on, in the recipe's order; one of role choosing is among them."""
        return {name: spec for name, spec in self.prompts.items() if spec.role != "ranking"}

    def to_toml(self) -> str:
        """The recipe with every default filled in, as TOML that runs again by itself."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))
