"""An experiment as one frozen value, out of a file, with everything about it that needs no model and no results.

In reading order: sections (the tables of a recipe and their keys), recipe (the whole), metrics (what can be measured), grid
(its plans, numbered), consistency and mistakes (what is wrong with it, as a sentence), reading (from a file or by name),
prompt_sets (its prompts, held apart), metric_words (how a metric's numbers are written).
"""

from .grid import Cell, CellPart, cells, chosen
from .metric_words import NOTHING, change, interval, level, levels, p_value, said, unit_of
from .metrics import CHOICE, DIVERGENCE, JUDGE, NLL, SINK, metrics_of, text_metrics
from .prompt_sets import read_sets
from .reading import find_recipe, read_recipe, recipe_from
from .recipe import Recipe
from .sections import Claim, ModelSource, Ranking, Statistics

__all__ = [
    "CHOICE", "DIVERGENCE", "JUDGE", "NLL", "NOTHING", "SINK", "Cell", "CellPart", "Claim", "ModelSource", "Ranking",
    "Recipe", "Statistics", "cells", "change", "chosen", "find_recipe", "interval", "level", "levels", "metrics_of",
    "p_value", "read_recipe", "read_sets", "recipe_from", "said", "text_metrics", "unit_of",
]  # fmt: skip
