"""What a recipe asks of the engine that runs a model: what that cannot do is refused before anything is written."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from workbench.backends import backend_of, check_decoding, check_keep, check_scoring
from workbench.capturing import Options, usual
from workbench.generation import decoding_of

from ..recipe import Recipe
from .arms import empty_arms
from .units import pieces

if TYPE_CHECKING:
    from workbench import MoEModel

_SCORED = {
    "distributions": "measure.distributions (or a metric kl or kl_first)",
    "choice": "multiple choice",
    "perplexity": "measure.perplexity",
}


def kept(recipe: Recipe, model: "MoEModel") -> Collection[str]:
    """What captures of the recipe keep: what it says, or what is usual, as far as the model's engine shows it."""
    asked = recipe.capture.keep
    return usual(backend_of(model).can.keep) if asked is None else asked


def check_abilities(recipe: Recipe, model: "MoEModel") -> None:
    """Raises `WorkbenchError` for a measurement or a capture that the model's engine cannot do.

    Plans with edits that it cannot make become arms with the reason, as those that the model cannot do.
    """
    backend, asked = backend_of(model), {piece.what for piece in pieces(recipe, empty_arms(recipe))}
    for what, key in _SCORED.items():
        if what in asked:
            check_scoring(backend, key)
    if "sinks" in asked:
        _ = model.hf  # attention is read off the transformers model itself
    if recipe.rankings:
        check_keep(backend, Options(keep=kept(recipe, model)).recorded)
        check_decoding(backend, decoding_of(model, 1, recipe.capture.temperature))
