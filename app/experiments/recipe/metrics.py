"""The metrics that a recipe can name beside those that read answers, and what is measured on each of its prompt sets."""

from .recipe import Recipe

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
