"""What the grading reads off one forward: rates worked out by hand with a model that says what it is told to."""

from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

WORDS = 5


class Saying(torch.nn.Module):
    """A model whose most likely next token at each place is given: `next_ids` [rows, length]."""

    def __init__(self, next_ids):
        super().__init__()
        self.next_ids, self.lm_head = next_ids, torch.nn.Identity()
        self.rows = 0

    def model(self, input_ids, attention_mask, use_cache):
        start, self.rows = self.rows, self.rows + len(input_ids)
        said = self.next_ids[start : self.rows, : input_ids.shape[1]]
        return SimpleNamespace(last_hidden_state=torch.nn.functional.one_hot(said, WORDS).float())


@pytest.fixture
def scored(monkeypatch):
    from grading import scored

    monkeypatch.setattr(scored, "steered", lambda model, plan: nullcontext())
    return scored


def rows(scored, answers, rates):
    """Each prompt is token 0, then two tokens of its answer that count: 1 2. Refusals begin with 4."""
    n = len(answers)
    ids = torch.tensor([[0, 1, 2]] * n)
    counted = torch.tensor([[False, True, True]] * n)
    said = torch.tensor([[*answer, 3] for answer in answers])  # the last column predicts what nobody asked for
    sheet = scored.Sheet(ids, torch.ones_like(ids), counted, tuple(rates), 4)
    return SimpleNamespace(hf=Saying(said)), sheet


def test_an_answer_counts_when_every_token_of_it_is_the_likeliest(scored):
    answers = [(1, 2), (1, 3), (3, 2), (3, 3)]  # right; wrong at the end; wrong at the start; wrong
    model, sheet = rows(scored, answers, ["code"] * 4)
    assert scored.score(model, sheet, None) == {"code": 25.0}


def test_a_question_counts_as_refused_by_the_first_token_of_its_answer(scored):
    answers = [(1, 2), (4, 2), (4, 4), (1, 4)]  # answered; refused; refused; says the word of refusals later
    model, sheet = rows(scored, answers, ["sensitive answered"] * 2 + ["ordinary answered"] * 2)
    assert scored.score(model, sheet, None) == {
        "sensitive answered": 50.0, "sensitive refused": 50.0, "ordinary answered": 0.0, "ordinary refused": 50.0,
    }  # fmt: skip


def test_rows_of_every_batch_go_to_their_own_rate(scored):
    """More rows than one forward takes: of the 130 rows the last two are another rate."""
    model, sheet = rows(scored, [(1, 2)] * 128 + [(3, 2), (1, 2)], ["code"] * 128 + ["story"] * 2)
    assert scored.score(model, sheet, None) == {"code": 100.0, "story": 50.0}


def test_tokens_that_are_free_to_choose_may_be_anything(scored):
    model, sheet = rows(scored, [(3, 2), (3, 3)], ["story"] * 2)
    free = sheet._replace(counted=torch.tensor([[False, False, True]] * 2))
    assert scored.score(model, free, None) == {"story": 50.0}
    assert scored.only(sheet._replace(rates=("a", "b")), ["b"]).rates == ("b",)
