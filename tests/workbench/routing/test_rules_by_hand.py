"""Fitting a routing rule, step by step on a few logits: margins, the scale, what differs, what is said when nothing fits."""

import math
from typing import Any

import pytest
import torch

from workbench.anatomy import RoutingRule
from workbench.records import magnitude, median_abs, routed_change
from workbench.routing import Dose, Positions, Routing, Unlike, changed_slots, fit_rule, taken
from workbench.routing.fit import HALF_TIE, TIE_MARGIN, mismatch
from workbench.routing.rule import RouterEdits, choice_size, dense, margin, route, router_edits

PLAIN = RoutingRule("softmax", False)
LOGITS = torch.tensor([[0.0, 1.0, 3.0, 2.0], [4.0, 1.0, 0.0, 2.0], [1.0, 5.0, 4.0, 0.0], [0.0, 1.0, 2.0, 7.0]])


def softmax(row: list[float]) -> list[float]:
    e = [math.exp(x) for x in row]
    return [x / sum(e) for x in e]


def exact(top_k: int = 2, by: float = 1.0) -> Routing:
    """Softmax over all, the best `top_k`, times `by`; by plain Python."""
    best = [sorted(range(4), key=lambda e, row=row: -row[e])[:top_k] for row in LOGITS.tolist()]
    weights = [[by * softmax(row)[e] for e in chosen] for row, chosen in zip(LOGITS.tolist(), best, strict=True)]
    return Routing(torch.tensor(weights), torch.tensor(best))


class TestFit:
    @pytest.mark.parametrize(("by", "scaling"), [(1.0, 1.0), (1.009, 1.0), (2.827, 2.827), (0.5, 0.5), (1.02, 1.02)])
    def test_the_scale(self, by: float, scaling: float) -> None:
        found = fit_rule(LOGITS, exact(by=by), {}, tolerance=0.02)
        assert found.rule == RoutingRule("softmax", False, scaling=scaling)
        half = fit_rule(LOGITS.bfloat16(), Routing(exact(by=by).weights.bfloat16(), exact().index), {}, tolerance=0.02)
        assert half.rule is not None
        assert half.rule.scaling == pytest.approx(scaling, rel=5e-3)

    def test_what_it_uses(self) -> None:
        scale, bias = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([0.9, 0.0, 0.0, 0.0])
        scaled = exact()
        scaled = Routing(scaled.weights * scale[scaled.index], scaled.index)
        found = fit_rule(LOGITS, scaled, {"s": scale})
        assert (found.correction, found.expert_scale) == (None, "s")
        assert found.rule == RoutingRule("softmax", False, expert_scale=True)
        corrected = route(RoutingRule("sigmoid", True, True), LOGITS, 2, bias)
        found = fit_rule(LOGITS, corrected, {"s": scale, "b": bias})
        assert (found.correction, found.expert_scale, found.rule) == ("b", None, RoutingRule("sigmoid", True, True))

    def test_nothing_fits(self) -> None:
        own = exact()
        odd = Routing(own.weights ** torch.tensor([1.0, 3.0]), own.index)
        found = fit_rule(LOGITS, odd, {})
        assert found.rule is None
        assert found.reason.startswith("no known routing rule reproduces the router (closest: ")
        assert ", off by 0." in found.reason
        nothing = fit_rule(LOGITS, Routing(torch.zeros(4, 2), own.index), {})
        assert (nothing.rule, nothing.reason) == (None, "no known routing rule reproduces the router")

    def test_how_far_off(self) -> None:
        own = exact()
        other = Routing(own.weights.clone(), own.index)
        other.weights[2, 1] *= 1.5
        p = softmax(LOGITS[2].tolist())
        assert mismatch(PLAIN, LOGITS, other, None) == pytest.approx(0.5 * p[2] / p[1], rel=1e-5)
        assert mismatch(PLAIN, LOGITS, own, None) == pytest.approx(0, abs=1e-6)
        wrong = Routing(own.weights, torch.where(torch.arange(4)[:, None] == 1, own.index.flip(-1) * 0 + 1, own.index))
        assert mismatch(PLAIN, LOGITS, wrong, None) == math.inf
        assert mismatch(PLAIN, LOGITS, own, None, tie=1.0) == math.inf, "every token is a tie"


class TestNumbers:
    def test_margins(self) -> None:
        sigmoid = RoutingRule("sigmoid", True)
        s = [[1 / (1 + math.exp(-x)) for x in row] for row in LOGITS.tolist()]
        for k in (1, 2, 3):
            expected = [sorted(row)[-k] - sorted(row)[-k - 1] for row in s]
            assert margin(sigmoid, LOGITS, k, None).tolist() == pytest.approx(expected, abs=1e-6)
        assert margin(sigmoid, LOGITS, 4, None).tolist() == [math.inf] * 4
        grouped = RoutingRule("sigmoid", True, False, 2, 1, "top2")
        for row, found in zip(s, margin(grouped, LOGITS, 1, None).tolist(), strict=True):
            groups = sorted([row[:2], row[2:]], key=sum)
            best = sorted(groups[1])
            assert found == pytest.approx(min(sum(groups[1]) - sum(groups[0]), best[1] - best[0]), abs=1e-6)
        assert (1e-5, {torch.bfloat16: 2**-7, torch.float16: 2**-10}) == (TIE_MARGIN, HALF_TIE)

    def test_what_is_compared(self) -> None:
        bias = torch.tensor([-9.0, 0.0, 0.0, 0.5])
        on_logits = RoutingRule("sigmoid", True, True, bias_on="logit")
        assert choice_size(on_logits, LOGITS, bias).tolist() == [9, 5, 8, 9]
        assert choice_size(RoutingRule("sparsemixer", False, jitter=0.1), -LOGITS, None).tolist() == [3, 4, 5, 7]

    def test_edits_by_token(self) -> None:
        off = torch.tensor([[True, False, False], [False, True, False]])
        bias, force = torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[False, False, True]])
        made = router_edits(bias.expand(2, 3), off, force)
        assert made.shift is not None
        assert made.shift.tolist() == [[-math.inf, 2, 3], [1, -math.inf, 3]]
        assert [router_edits(*x).only_off for x in ((None, off), (bias, off), (None, off, force), (bias,))] == [
            *(True, False, False, False)
        ]
        assert router_edits(bias) == RouterEdits(bias, None, None, bias)
        some = made.rows(torch.tensor([1]))
        assert some.off is not None
        assert (some.off.tolist(), some.force) == ([[False, True, False]], force)
        index = torch.tensor([[2, 0], [1, 0]])
        assert taken(off, index).tolist() == [[False, True], [True, False]]
        assert taken(bias, index).tolist() == [[3, 1], [2, 1]]
        assert dense(Routing(torch.tensor([[0.5, 0.25]]), torch.tensor([[2, 0]])), 4).tolist() == [[0.25, 0, 0.5, 0]]


class TestDose:
    def forward(self) -> Positions:
        mask = torch.tensor([[1, 1], [0, 1]])
        return Positions(2, 2, 0, mask, None, torch.device("cpu"), 1)

    def test_counts(self) -> None:
        """Four rows, the third is padding; 5 slots a token."""
        dose = Dose(5)
        for _ in range(2):
            forward = self.forward()
            changed = dose.begin(forward)
            slots = torch.tensor([[True, False], [False, False], [True, True], [True, True]])
            changed = dose.add(forward, changed, slots, torch.tensor([True, False, True, True]))
            changed = dose.add(
                forward, changed, torch.tensor([[True, True], [True, False], [True, True], [False, False]])
            )
            assert changed.tolist() == [True, True, False, True]
        dose.unlike.add(3, torch.tensor([True, True, False]))
        dose.unlike.add(2, torch.tensor([False]))
        dose.unlike.add(3, torch.tensor([True]))
        assert dose.counts() == (6, 6, 30, 2 * (3 + 3), 2 * 2, 3, (3,))
        assert Dose(5).counts() == (0, 0, 0, 0, 0, 0, ())
        once = Unlike(once=True)
        once.add(1, torch.tensor([True]))
        assert [once.wants(1), once.wants(2), dose.unlike.wants(3)] == [False, True, True]

    @pytest.mark.parametrize(
        ("dtype", "step"), [(torch.float32, 1e-5), (torch.bfloat16, 2**-7), (torch.float16, 2**-9)]
    )
    def test_changed_slots(self, dtype: torch.dtype, step: float) -> None:
        index, weights = torch.tensor([[0, 1], [2, 3]]), torch.tensor([[0.5, 0.25], [1.0, 0.5]], dtype=torch.float32)
        new = torch.tensor([[1, 0], [2, 4]])
        given = torch.tensor([[0.25, 0.5], [1.0, 0.5]]).to(dtype)
        assert changed_slots(index, weights, new, given).tolist() == [[False, False], [False, True]]
        before = weights + torch.tensor(
            [[0.0, 3 * step], [0.9 * step, 0.0]]
        )  # relative to the token's largest, 0.5 and 1
        assert changed_slots(index, before, new, given).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize("width", [1, 2, 5, 6])
def test_magnitudes_by_plain_python(width: int) -> None:
    rows = torch.randn(1300, width, generator=torch.Generator().manual_seed(width))
    rows[3] = 0
    l2, largest, channel = magnitude(rows)
    for i, row in enumerate(rows.tolist()):
        size = [abs(x) for x in row]
        assert float(l2[i]) == pytest.approx(math.sqrt(sum(x * x for x in row)), rel=1e-5)
        assert (float(largest[i]), int(channel[i])) == (max(size), size.index(max(size)))
    assert median_abs(rows).tolist() == [sorted(map(abs, row))[(width - 1) // 2] for row in rows.tolist()]
    assert [len(x) for x in magnitude(rows[:0])] == [0, 0, 0]


def test_what_a_routed_sum_changes() -> None:
    def by_hand(x: list[float], r: list[float], m: float) -> float:
        y = [a + m * b for a, b in zip(x, r, strict=True)]
        dot, size = sum(a * b for a, b in zip(x, y, strict=True)), math.hypot(*x) * math.hypot(*y)
        return 1 - dot / size if size else 0.0

    rows: Any = [
        ([1.0, 2.0], [0.5, -1.0]),
        ([0.0, 0.0], [1.0, 1.0]),
        ([1.0, 0.0], [-3.0, 0.0]),
        ([1.0, 1.0], [-1.0, -1.0]),
    ]
    for m in (1.0, 0.5):
        found = routed_change(torch.tensor([x for x, _ in rows]), torch.tensor([r for _, r in rows]), m)
        assert found.tolist() == pytest.approx([by_hand(x, r, m) for x, r in rows], abs=1e-6)
    assert math.isnan(float(routed_change(torch.tensor([[math.nan, 1]]), torch.ones(1, 2))))
