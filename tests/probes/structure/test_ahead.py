"""What a probe takes, asked for without starting it: the sentence that it says itself, and its refusals."""

from inspect import unwrap
from pathlib import Path

import numpy as np
import pytest

from probes.catalogue import ASKED
from probes.structure import ahead, similarity, work
from tests.probes.oracle.cases import Case
from tests.probes.structure.made import routed
from tests.probes.structure.test_router_span import routers
from workbench.errors import WorkbenchError

ROOT = Path(work.__file__).parents[1]
AHEAD = [method for method in ASKED.values() if method.ahead]


def case(name: str) -> Case:
    """A store that the probe can read."""
    paths = [[[0], [1]], [[1], [0]]]
    return routers(np.eye(8)) if name in ("similarity", "router_span") else routed([paths, paths, paths], (2, 2))


def options(name: str) -> dict[str, int]:
    return {"clusters": 2} if name == "path_clusters" else {}


def test_the_entries_say_which_probes_say_it() -> None:
    modules = {method.function.partition(":")[0] for method in AHEAD}
    calls = {p for p in ROOT.rglob("*.py") if " begun(" in p.read_text(encoding="utf-8") and p.name != "work.py"}
    assert {".".join(p.relative_to(ROOT).with_suffix("").parts) for p in calls} == modules
    assert len(modules) == len(AHEAD) == 5


@pytest.mark.parametrize("name", [method.name for method in AHEAD])
def test_it_is_the_sentence_that_the_probe_says_before_it_starts(name, monkeypatch, capsys) -> None:
    monkeypatch.setattr(work, "SMALL", 0)
    probe, store = ASKED[name].load(), case(name).store
    said = ahead(probe, store, **options(name))
    assert capsys.readouterr().err == ""
    assert said.endswith(" of memory and about 1 s.")
    probe(store, **options(name))
    assert capsys.readouterr().err == f"{said}\n"


def test_of_what_is_done_at_once_nothing_is_said() -> None:
    assert ahead(similarity, case("similarity").store) == ""


def test_nothing_is_compared_for_it(monkeypatch) -> None:
    store = case("similarity").store
    monkeypatch.setitem(unwrap(similarity).__globals__, "of_routers", None)
    ahead(similarity, store)
    with pytest.raises(TypeError):
        similarity(store)


def test_what_the_probe_refuses_by_then_is_refused() -> None:
    store = case("similarity").store
    with pytest.raises(WorkbenchError, match=r"^28 pairs of experts: .* which is over limit_mb=0; capture fewer"):
        ahead(similarity, store, limit_mb=0)
    with pytest.raises(WorkbenchError, match="compare no experts"):
        ahead(similarity, store, threshold=2.0)
    assert similarity(store).frame.shape[0] == 28  # and afterwards it runs through


def test_a_probe_that_never_says_it_is_a_mistake_of_its_entry() -> None:
    with pytest.raises(TypeError, match="usage answered and never said what it takes"):
        ahead(ASKED["usage"].load(), case("pathways").store)
