"""An experiment as one frozen value, out of a file, with everything about it that needs no model and no results.

In reading order: sections (the tables of a recipe and their keys), recipe (the whole), metrics (what can be measured), grid
(its plans, numbered), answer_metrics (what reads answers, as functions), consistency and mistakes (what is wrong with it, as a
sentence), reading (from a file or by name), prompt_sets (its prompts, held apart), metric_words (how a metric's numbers are
written).
"""

from .answer_metrics import answer_metrics, applies, own_metric
from .grid import Cell, CellPart, cells, chosen
from .metric_words import NOTHING, called, change, interval, level, levels, p_value, said, unit_of
from .metrics import CHOICE, DIVERGENCE, JUDGE, NLL, SINK, generated, metrics_of, role_of, spelt_out, text_metrics
from .prompt_sets import ranked_on, read_sets
from .reading import find_recipe, read_recipe, recipe_from
from .recipe import Recipe
from .sections import Claim, ModelSource, Ranking, Role, Statistics

__all__ = [
    "CHOICE", "DIVERGENCE", "JUDGE", "NLL", "NOTHING", "SINK", "Cell", "CellPart", "Claim", "ModelSource", "Ranking",
    "Recipe", "Role", "Statistics", "answer_metrics", "applies", "called", "cells", "change", "chosen", "find_recipe",
    "generated", "interval", "level", "levels", "metrics_of", "own_metric", "p_value", "ranked_on",
    "read_recipe", "read_sets", "recipe_from", "role_of", "said", "spelt_out", "text_metrics", "unit_of",
]  # fmt: skip
