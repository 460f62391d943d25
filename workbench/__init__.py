"""MoE Workbench: load, capture, rank, steer, compare.

In reading order, each floor on those before it: errors, progress, resample, version, moved; bundled, paths, engine_words;
thinking/; anatomy/, prompts/, records/, storage/; plan/, model/, shards/; routing/, store/; generation/, survey/, responses/,
parameters/, factorization/; hooks/; backends/, checkpoints/; serving/; loading/, answering/, capturing/; comparison/,
attribution/, replicas/.

Names are imported when first used, so that a store opens without torch. A module never shares its function's name:
`from workbench import load` must mean the function whatever was imported before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from workbench.moved import answer_for_old_places, moved_to
from workbench.version import __version__ as __version__

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy as Anatomy
    from workbench.anatomy import ExpertRef as ExpertRef
    from workbench.anatomy import parse_experts as parse_experts
    from workbench.capturing import capture as capture
    from workbench.comparison import Comparison as Comparison
    from workbench.comparison import compare as compare
    from workbench.errors import WorkbenchError as WorkbenchError
    from workbench.hooks import steered as steered
    from workbench.loading import load as load
    from workbench.model import MoEModel as MoEModel
    from workbench.plan import Edit as Edit
    from workbench.plan import Plan as Plan
    from workbench.prompts import PromptSet as PromptSet
    from workbench.prompts import read_prompts as read_prompts
    from workbench.store import Store as Store
    from workbench.store import open_store as open_store

_HOME = {
    "Anatomy": "anatomy",
    "Comparison": "comparison",
    "Edit": "plan",
    "ExpertRef": "anatomy",
    "MoEModel": "model",
    "Plan": "plan",
    "PromptSet": "prompts",
    "Store": "store",
    "WorkbenchError": "errors",
    "capture": "capturing",
    "compare": "comparison",
    "load": "loading",
    "open_store": "store",
    "parse_experts": "anatomy",
    "read_prompts": "prompts",
    "steered": "hooks",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]
answer_for_old_places()


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        has = f"workbench has no '{name}'; it has {', '.join(sorted(_HOME))}."
        raise AttributeError(moved_to(f"workbench.{name}") or has)
    return getattr(import_module(f"workbench.{_HOME[name]}"), name)
