"""The metrics that a recipe can name beside those that read answers, its own ones, and what is measured on each prompt set."""

from .recipe import Recipe
from .sections import NamedMetric, Role

CHOICE = ("choice", "choice_normalised", "choice_margin")
DIVERGENCE = ("kl", "kl_first")
JUDGE, NLL, SINK = "judge", "nll", "sink_share"


def metrics_of(recipe: Recipe, name: str) -> tuple[str, ...]:
    """What is measured on a prompt set, `nll` and `sink_share` of [measure] included."""
    given = recipe.prompts[name].metrics
    given += (NLL,) if recipe.measure.perplexity == name else ()
    return given + ((SINK,) if recipe.measure.sinks == name else ())


def text_metrics(recipe: Recipe, prompts: str) -> tuple[str, ...]:
    """The metrics of a prompt set that read answers."""
    others = (*CHOICE, *DIVERGENCE, NLL, SINK)
    return tuple(m for m in metrics_of(recipe, prompts) if m not in others)


def spelt_out(recipe: Recipe, metric: str) -> NamedMetric:
    """What a metric's name stands for: of the recipe's own what it says, of any other itself on every prompt."""
    return recipe.metrics.get(metric) or NamedMetric(metric=metric)


def role_of(recipe: Recipe, prompts: str, metric: str) -> Role:
    """Whether a metric on a prompt set is the behaviour or what should stay: its own role, else the set's."""
    of_set = recipe.prompts[prompts].role
    return of_set if of_set == "choosing" else spelt_out(recipe, metric).role or of_set


def generated(recipe: Recipe, ranking_set: str) -> int:
    """Tokens that are generated at most while a ranking set is captured."""
    own = recipe.prompts[ranking_set].generate
    return recipe.capture.generate if own is None else own
