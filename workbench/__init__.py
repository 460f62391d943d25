"""MoE Workbench: load, capture, rank, steer, compare. Names are imported when first used, so a store opens without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workbench.anatomy import Anatomy as Anatomy
    from workbench.capture import capture as capture
    from workbench.compare import Comparison as Comparison
    from workbench.compare import compare as compare
    from workbench.errors import WorkbenchError as WorkbenchError
    from workbench.experts import ExpertRef as ExpertRef
    from workbench.experts import parse_experts as parse_experts
    from workbench.load import MoEModel as MoEModel
    from workbench.load import load as load
    from workbench.plan import Edit as Edit
    from workbench.plan import Plan as Plan
    from workbench.prompts import PromptSet as PromptSet
    from workbench.prompts import read_prompts as read_prompts
    from workbench.steer import steered as steered
    from workbench.store import Store as Store
    from workbench.store import open_store as open_store

__version__ = "0.1.0"

_HOME = {
    "Anatomy": "anatomy",
    "Comparison": "compare",
    "Edit": "plan",
    "ExpertRef": "experts",
    "MoEModel": "load",
    "Plan": "plan",
    "PromptSet": "prompts",
    "Store": "store",
    "WorkbenchError": "errors",
    "capture": "capture",
    "compare": "compare",
    "load": "load",
    "open_store": "store",
    "parse_experts": "experts",
    "read_prompts": "prompts",
    "steered": "steer",
}
__all__ = list(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"workbench has no '{name}'; it has {', '.join(sorted(_HOME))}.")
    # the submodules load, capture and compare share their function's name: bind the function, for good
    value = getattr(import_module(f"workbench.{_HOME[name]}"), name)
    globals()[name] = value
    return value
