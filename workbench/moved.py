"""What importing an old place of a module says: where its names are now. `docs/moved.md` is this table as a page.

A finder stands last in `sys.meta_path`, so it is asked only for what no other finder has, and the table costs nothing else.
"""

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import NamedTuple


class Moved(NamedTuple):
    """An old module, the module that offers its names now, and the names that people imported from it."""

    old: str
    new: str
    names: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.old} is {self.new} now: from {self.new} import {', '.join(self.names)}"


def _moved(old: str, new: str, *names: str) -> Moved:
    return Moved(old, new, names)


MOVED = (
    _moved("workbench.attention", "workbench.comparison", "decay", "sink_share"),
    _moved("workbench.choices", "workbench.comparison", "choose"),
    _moved(
        "workbench.classify",
        "workbench.responses",
        "ExactAnswer",
        "Refusal",
        "Response",
        "classify",
        "responses",
    ),
    _moved("workbench.divergence", "workbench.comparison", "divergence"),
    _moved("workbench.dose", "workbench.routing", "Dose"),
    _moved("workbench.durable", "workbench.storage", "sha256"),
    _moved("workbench.encoding", "workbench.prompts", "encode"),
    _moved("workbench.experts", "workbench.anatomy", "ExpertRef"),
    _moved("workbench.export", "workbench.store.export", "export"),
    _moved("workbench.finite", "workbench.shards", "said"),
    _moved("workbench.harness", "workbench.prompts", "read_task"),
    _moved("workbench.judge", "workbench.responses", "judge"),
    _moved("workbench.magnitude", "workbench.records", "routed_change"),
    _moved("workbench.metrics", "workbench.responses", "METRICS", "length", "refused", "revealed", "thinks"),
    _moved("workbench.model.load", "workbench", "load"),
    _moved("workbench.moment", "workbench.prompts", "moment"),
    _moved("workbench.pieces", "workbench.thinking", "pieces"),
    _moved("workbench.positions", "workbench.routing", "prompt_length"),
    _moved("workbench.reading", "workbench.thinking", "opened", "opened_in", "read"),
    _moved("workbench.respond", "workbench.answering", "answer", "decode", "encode_all"),
    _moved("workbench.roles", "workbench.prompts", "MarkedIds", "response_roles"),
    _moved("workbench.schema", "workbench.prompts", "ROLES"),
    _moved("workbench.seal", "workbench.shards.manifest", "sealed"),
    _moved("workbench.served", "workbench.backends", "store_served"),
    _moved("workbench.streaming", "workbench.answering", "stream"),
    _moved("workbench.thoughts", "workbench.thinking", "MARKERS"),
    _moved("workbench.tiny", "workbench.loading", "tiny_model", "tiny_tokenizer"),
    _moved("workbench.writing", "workbench.store", "write_store"),
    _moved("probes.groups", "probes.reading", "classes", "used_prompts"),
    _moved("probes.markers", "probes.reading", "find_marker"),
    _moved("probes.scores", "probes.ranking", "ExpertScores"),
    _moved("probes.selection", "probes.reading", "select"),
    _moved("probes.usage", "probes.utilisation", "co_selection"),
    _moved("workbench_app.dashboard.answering", "workbench_app.dashboard.steer.answering", "Answering"),
    _moved("workbench_app.dashboard.catalog", "workbench_app.dashboard.session", "catalog_from"),
    _moved("workbench_app.dashboard.chips", "workbench_app.dashboard.widgets", "Chip"),
    _moved("workbench_app.dashboard.edits", "workbench_app.dashboard.steer.edits", "as_command"),
    _moved("workbench_app.experiments.folder", "workbench_app.experiments.engine", "run_recipe_of"),
    _moved("workbench_app.experiments.running", "workbench_app.experiments.run", "plan_run", "run_recipe"),
    _moved(
        "workbench_app.experiments.schema", "workbench_app.experiments.tables", "TABLES", "read_table", "read_tables"
    ),
)
"""Every module that README, docs, notebooks or reported cases imported from and that is elsewhere now."""

_SAID = {row.old: str(row) for row in MOVED}


class _OldPlaces:
    """A finder that finds nothing, and says where the names of an old place are."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """None for every name that is no old place; for an import of one raises `ModuleNotFoundError` with the new one."""
        if (
            name in _SAID and sys._getframe(2).f_code.co_name == "_find_and_load_unlocked"
        ):  # `importlib.util.find_spec` asks only
            raise ModuleNotFoundError(
                f"{_SAID[name]}."
            )  # without name=: `from workbench import attention` would hide it
        return None


def moved_to(old: str) -> str | None:
    """The sentence for an old place; None for a name that never was one."""
    return f"{_SAID[old]}." if old in _SAID else None


def answer_for_old_places() -> None:
    """Old places are answered for from now on; called once, when `workbench` is imported."""
    if _OldPlaces not in sys.meta_path:
        sys.meta_path.append(_OldPlaces)
