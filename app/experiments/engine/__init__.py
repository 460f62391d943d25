"""What a run does with a model: rank experts, make arms of plans and controls, measure them unit by unit, resumable.

In reading order: least (the ends of a ranking that a plan prunes), freed (parameters that a plan would free), arms (plans and
controls with experts in them), units (the work in pieces), unit_files (a piece on disk),
abilities (what the model's engine must be able to do),
planning (how much and how long), folder (what a run was begun with), ranking (captures and rankings), measuring (a piece).
"""

from .arms import MATCHES, Arm, arms_of, arms_path, plan_path, read_arms, write_arms, write_plans
from .folder import PLAN, begin, begun, check_decoding, check_model, is_finished, run_recipe_of
from .freed import Sizes
from .measuring import METRIC, Measuring
from .planning import ModelPlan, lowered, plan_model, planned_cost, ranking_sets, token_counts, unit_cost
from .ranking import captured, rank, read_scores, residuals_path, write_residuals
from .unit_files import about_unit, read_unit
from .units import Piece, Unit, base_path, outcomes, pieces, stand_ins, units_of

__all__ = [
    "MATCHES", "METRIC", "PLAN", "Arm", "Measuring", "ModelPlan", "Piece", "Sizes", "Unit", "about_unit", "arms_of",
    "arms_path", "base_path", "begin", "begun", "captured", "check_decoding", "check_model", "is_finished", "lowered",
    "outcomes", "pieces", "plan_model", "plan_path", "planned_cost", "rank", "ranking_sets", "read_arms",
    "read_scores", "read_unit", "residuals_path", "run_recipe_of", "stand_ins", "token_counts", "unit_cost",
    "units_of", "write_arms", "write_plans", "write_residuals",
]  # fmt: skip
