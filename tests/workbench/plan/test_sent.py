"""A plan that somebody sends is read by a grammar without files: every hostile one is refused, at once, in one sentence."""

import sys
from collections.abc import Iterator
from pathlib import Path
from time import thread_time
from typing import Any

import pytest

from tests.workbench.plan.hostile import drawn, faults
from workbench import Plan, WorkbenchError, load
from workbench.anatomy import Anatomy
from workbench.plan import sent_plan
from workbench.plan.sent import LARGEST, MOST_BYTES, MOST_EDITS, MOST_RANGES

OPENED: list[str] = []
WATCHING = [False]


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return load("demo", check=False).anatomy


@pytest.fixture
def opened() -> Iterator[list[str]]:
    """Paths that this process opens meanwhile. A hook cannot be taken out again, so one is put in for all."""
    if not hasattr(sys, "_workbench_watched"):
        sys.addaudithook(lambda event, args: OPENED.append(str(args[0])) if WATCHING[0] and event == "open" else None)
        sys._workbench_watched = True  # type: ignore[attr-defined]
    OPENED.clear()
    WATCHING[0] = True
    yield OPENED
    WATCHING[0] = False


def test_every_hostile_plan_is_refused_at_once_and_no_file_is_opened(
    anatomy: Anatomy, tmp_path: Path, opened: list[str]
) -> None:
    plans = list(drawn(tmp_path, 3 * len(faults(tmp_path)), seed=1))
    opened.clear()
    slowest: tuple[float, Any] = (0.0, "")
    for fault, plan in plans:
        began = thread_time()
        assert refusal(plan, anatomy).strip(), fault
        slowest = max(slowest, (thread_time() - began, fault))
    assert opened == []
    assert slowest[0] < 1, f"{slowest[1]} took {slowest[0]:.2f} s of this thread"


def refusal(plan: Any, anatomy: Anatomy) -> str:
    try:
        sent_plan(plan, anatomy)
    except WorkbenchError as error:
        return str(error)
    raise AssertionError(f"{plan!r:.90} was taken for a plan")


def test_there_are_enough_kinds_and_a_watched_file_is_seen(tmp_path: Path, opened: list[str]) -> None:
    assert len(faults(tmp_path)) >= 25
    opened.clear()
    Plan.parse(f"off @{tmp_path / 'plan.json'}")
    assert opened == [str(tmp_path / "plan.json")]


@pytest.mark.parametrize(
    "text",
    [
        "off L2E8; off L2E20",
        " off L2E* in prompt at 0-3,7-",
        'mute L1E2 between "a b" <end>',
        f"scale L1E4={LARGEST!r}; scale L1E4=0.5 in generated; bias L1E2=-1e38",
        "nothing",
        "",
    ],
)
def test_what_is_possible_is_the_plan_that_parse_makes(text: str, anatomy: Anatomy) -> None:
    plan = (
        Plan.parse("; ".join(f"off L2E{n} in prompt at 0-3,7-" for n in range(28))) if "*" in text else Plan.parse(text)
    )
    if "*" in text:
        text = text.replace("L2E*", "L2E0-27")
    assert sent_plan(text, anatomy) == plan.for_model(anatomy)
    assert sent_plan(plan.for_model(anatomy).to_json(), anatomy) == plan.for_model(anatomy)


def test_the_borders(anatomy: Anatomy) -> None:
    just = "off L2E8" + " " * (MOST_BYTES - 8)
    assert len(sent_plan(just, anatomy)) == 1
    with pytest.raises(WorkbenchError, match=r"65,537 bytes, and a plan that is sent has at most 65,536"):
        sent_plan(just + " ", anatomy)
    ranges = ",".join(str(2 * n) for n in range(MOST_RANGES))
    assert len(sent_plan(f"off L2E8 at {ranges}", anatomy)) == 1
    with pytest.raises(WorkbenchError, match="201 ranges of positions"):
        sent_plan(f"off L2E8 at {ranges},9999", anatomy)
    many = ";".join(f"mute L*E* at {n}" for n in range(MOST_EDITS // 128))
    assert len(sent_plan(many, anatomy)) == 128 * 78
    with pytest.raises(WorkbenchError, match="more edits than a plan that is sent may have"):
        sent_plan(f"{many}; mute L*E* at 99", anatomy)


def test_a_plan_is_told_from_others_by_its_digest(anatomy: Anatomy) -> None:
    plan = Plan.parse("off L2E8; off L2E20")
    assert plan.digest == Plan.parse("off L2E20; off L2E8").digest
    assert len({plan.digest, Plan.off("L2E8").digest, plan.for_model(anatomy).digest}) == 3
