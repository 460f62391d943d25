"""Effects, intervals and what is not finite: whole tables and whole sentences, worked out by hand."""

import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from tests.support.stores import anatomy
from workbench import Plan, read_prompts
from workbench import resample as r
from workbench.comparison import Comparison, check_applies
from workbench.comparison.broken import Arm, broken_notes
from workbench.comparison.comparison import _control_plans, _meter, _without_nan
from workbench.comparison.tables import control_table, left_out, metric_table
from workbench.errors import WorkbenchError
from workbench.progress import Progress
from workbench.records import (
    Chunk,
    LayerRecord,
    Magnitude,
    OutputRows,
    ResidualRecord,
    SharedRecord,
    logits_not_finite,
    not_finite,
)
from workbench.responses import metrics_from
from workbench.routing import DoseCounts
from workbench.shards import experts_with, said
from workbench.shards.finite import own_experts

NAN, INF = float("nan"), float("inf")
DOSE = DoseCounts(10, 4, 60, 12, 30, 0, ())
PROMPTS = read_prompts(
    [
        {"id": "a", "text": "x", "cluster": "1", "labels": {"answer": "xx"}},
        {"id": "b", "text": "x", "cluster": "1"},
        {"id": "c", "text": "x", "cluster": "2"},
        {"id": "d", "text": "x", "cluster": "3"},
    ]
)


def answers(*texts: str, broken: list[bool] | None = None, slots: int = 0) -> Any:
    return SimpleNamespace(texts=list(texts), broken=broken or [], dose=SimpleNamespace(slots_changed=slots), ids=[])


def length(response: Any) -> float | None:
    """No value for an answer that begins with a dash."""
    return None if response.startswith("-") else len(response)


METRICS = metrics_from([length])


class TestEffects:
    base = answers("x", "xxx", "xxxxx", "-")
    arm = answers("xxx", "xxx", "xxxx", "x")

    def test_a_row_by_hand(self) -> None:
        """Differences 2, 0 of cluster 1 and -1 of cluster 2; d has no value. Two clusters: the interval spans their means."""
        (row,) = metric_table(METRICS, PROMPTS, self.base, self.arm, 0).to_dict("records")
        assert row == {
            "metric": "length", "base": 3.0, "steered": pytest.approx(10 / 3), "difference": pytest.approx(1 / 3),
            "low": -1.0, "high": 1.0, "n": 3, "n_clusters": 2,
        }  # fmt: skip

    def test_controls_by_hand(self) -> None:
        random: Any = [("count", 0, Plan.off("L1E2")), ("layer", 1, Plan.off("L2E0"))]
        others = [answers("x", "-", "xx", "xx", slots=7), answers("-", "-", "-", "x")]
        found = control_table(METRICS, PROMPTS, self.base, random, others)
        assert list(found.columns) == [
            *("metric", "match", "draw", "plan", "base", "steered", "difference", "n", "slots_changed")
        ]
        first, second = found.to_dict("records")
        assert first == {
            "metric": "length", "match": "count", "draw": 0, "plan": "off L1E2", "base": 3.0, "steered": 1.5, "difference": -1.5,
            "n": 2, "slots_changed": 7,
        }  # fmt: skip
        assert (second["n"], second["slots_changed"], math.isnan(second["base"])) == (0, 0, True)

    def test_what_is_left_out(self) -> None:
        arm = answers("<think>hm", "<think>", "x", "x", broken=[False, False, False, True])
        assert left_out(METRICS, PROMPTS, self.base, arm) == ()  # d is broken: told of by itself
        assert left_out(METRICS, PROMPTS, self.base, answers("-", "x", "-", "-")) == (
            "length leaves out 3 of 4 prompts: it has no value for 1 base and 3 steered answers.",
        )
        refused = metrics_from(["refused"])
        base = answers("x", "x", "x", "x")
        assert left_out(refused, PROMPTS, base, arm) == (
            "refused leaves out 2 of 4 prompts: it has no value for 0 base and 2 steered answers (thinking had not ended: give "
            "more tokens).",
        )
        assert left_out(metrics_from(["exact"]), PROMPTS, arm, base) == (
            "exact leaves out 2 of 4 prompts: it has no value for 2 base and 2 steered answers.",
        )

    def test_a_metric_that_applies_to_none(self) -> None:
        nothing = answers("-", "-", "-", "-")
        with pytest.raises(
            WorkbenchError, match=r"^The metric 'length' applies to none of the 4 prompts; it needs prompts that"
        ):
            check_applies(METRICS, PROMPTS, nothing)
        unfinished = answers(*["<think>"] * 4)
        check_applies(metrics_from(["refused"]), PROMPTS, unfinished)  # nothing yet to measure
        check_applies(metrics_from(["exact"]), PROMPTS, answers("x", "x", "x", "x"))  # one prompt has the label
        with pytest.raises(WorkbenchError, match="'faithful' applies to none"):
            check_applies(metrics_from(["faithful"]), PROMPTS, unfinished)
        check_applies(METRICS, PROMPTS, answers("-", "-", "-", "-", broken=[True] * 4))
        with pytest.raises(WorkbenchError, match="'length' applies to none"):
            check_applies(METRICS, PROMPTS, answers("-", "-", "x", "-", broken=[False, False, True, False]))


class TestComparison:
    def report(self, **changes: Any) -> Comparison:
        metrics = pd.DataFrame(
            {"metric": ["m"], "base": [0.5], "steered": [0.25], "difference": [-0.25], "low": [-0.5], "high": [NAN], "n": [4],
             "n_clusters": [2]}
        )  # fmt: skip
        controls = pd.DataFrame(
            {
                "metric": ["m", "m", "o", "m"],
                "match": ["layer", "count", "count", "layer"],
                "difference": [0.125, -0.5, 9.0, 0.0],
            }
        )
        responses = pd.DataFrame({"prompt_id": ["a", "b", "c"], "changed": [True, False, True]})
        divergence = pd.DataFrame(
            {"prompt_id": ["a", "b", "c"], "kl_nats": [0.0, 1.0, 2.0], "kl_first_nats": [0.1, 0.2, 0.6]}
        )
        fields: dict[str, Any] = {
            "model": "tiny", "plan": Plan.off("L1E2"), "metrics": metrics, "controls": controls, "responses": responses,
            "divergence": divergence, "perplexity": {"base": 2.0, "steered": 3.456, "n_tokens": 9.0},
            "dose": DOSE, "seed": 3, "notes": ("Note.",),
        }  # fmt: skip
        return Comparison(**fields | changes)

    def test_as_it_is_printed(self) -> None:
        report = self.report()
        assert report.changed == pytest.approx(2 / 3)
        assert str(report) == repr(report) == "\n".join(
            [
                "off L1E2 on tiny, 3 prompts; 4 of 10 tokens and 12 of 60 slots changed, 30 token-layers left without any expert",
                "m: 0.500 -> 0.250 (-0.250 [-0.500, +nan], n=4)",
                "  random, layer: +0.125, +0.000",
                "  random, count: -0.500",
                "67% of answers changed; first-token KL 0.300 nats on average",
                "perplexity of given text: 2.00 -> 3.46",
                "Note.",
            ]
        )  # fmt: skip
        assert "perplexity" not in str(self.report(perplexity={}))

    def test_doses(self) -> None:
        unlike = "the router's own answer is not that of its routing rule, by which off, force and bias go"
        assert str(DoseCounts(1000, 0, 6, 0, 0)) == "nothing changed in 1,000 tokens"
        assert str(DoseCounts(1000, 0, 6, 0, 0, 2, (3,))) == (
            f"nothing changed in 1,000 tokens; in 2 token-layers (layer 3) {unlike}"
        )
        assert str(DoseCounts(2000, 1500, 9000, 4500, 0, 1200, (3, 5))) == (
            f"1,500 of 2,000 tokens and 4,500 of 9,000 slots changed; in 1,200 token-layers (layers 3, 5) {unlike}"
        )

    def test_as_json(self, tmp_path: Any) -> None:
        report = self.report()
        text = report.to_json(tmp_path / "r.json")
        assert (tmp_path / "r.json").read_text() == text + "\n"
        found = json.loads(text)
        assert list(found) == [
            *("model", "plan", "dose", "perplexity", "seed", "notes", "metrics", "controls", "responses", "divergence")
        ]
        assert (found["model"], found["seed"], found["notes"]) == ("tiny", 3, ["Note."])
        assert found["metrics"] == [
            {
                "metric": "m",
                "base": 0.5,
                "steered": 0.25,
                "difference": -0.25,
                "low": -0.5,
                "high": None,
                "n": 4,
                "n_clusters": 2,
            }
        ]
        assert found["dose"] == json.loads(json.dumps(DOSE._asdict()))
        assert '\n "model": "tiny"' in text
        assert _without_nan({"a": [np.float64(INF), (1, NAN)], "b": np.int64(3)}) == {"a": [None, [1, None]], "b": 3}

    def test_what_is_said_at_first(self) -> None:
        seen = list[Progress]()
        encoded = [(1, 2), (3,)]
        meter = _meter(encoded, [((1, 2), (3, 4, 5))], 4, 5, seen.append)
        # (2 + 5) + (1 + 5) tokens an arm and in two forwards over the base's answers; 5 given ones twice
        assert (meter.total, seen[0].total) == (6 * 13 + 10, 88)
        assert seen[0].message == "Answering 2 prompts 4 times, of them 2 with random experts: at most 88 tokens"
        _meter(encoded, [], 2, 500, seen.append)
        assert seen[1].message == "Answering 2 prompts 2 times: at most 4,012 tokens"

    def test_which_random_plans_are_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = list[Any]()
        monkeypatch.setattr(
            Plan, "random_like", lambda plan, shape, match, usage, seed: asked.append((match, usage, seed)) or match
        )
        model: Any = SimpleNamespace(anatomy=anatomy())
        plan = Plan.off("L1E2")
        assert _control_plans(model, plan, 2, None, 3) == [
            *(("count", 0, "count"), ("count", 1, "count"), ("layer", 0, "layer"), ("layer", 1, "layer"))
        ]
        assert asked == [("count", None, 3000), ("count", None, 3001), ("layer", None, 3000), ("layer", None, 3001)]
        assert [x[:2] for x in _control_plans(model, plan, {"layer": 1, "count": 0}, None, 0)] == [("layer", 0)]
        assert _control_plans(model, Plan(), 2, None, 3) == []

    def test_broken_answers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen = list[Any]()
        monkeypatch.setattr(
            "workbench.comparison.broken.first_place", lambda model, ids, plan: seen.append((ids, plan)) or "There."
        )
        arm = SimpleNamespace(broken=[False, True, True], ids=[(), (7, 8), (9,)])
        sound = Arm("base", Plan(), SimpleNamespace(broken=[False] * 3, ids=[()] * 3))  # type: ignore[arg-type]
        notes = broken_notes(None, [(1,), (2, 3), (4,)], [sound, Arm("steered", Plan.off("L1E2"), arm)])  # type: ignore[arg-type]
        assert notes == (
            "Next-token logits are not finite for 2 of 3 steered answers, which count in no metric. There.",
        )
        assert seen == [([2, 3, 7, 8], Plan.off("L1E2"))]


class TestResampling:
    def test_who_hangs_together(self) -> None:
        pairs, clusters = ["1", "1", None, "2", None, "3", "2"], ["x", "y", "y", None, None, "z", "z"]
        assert r.joined(pairs, clusters).tolist() == [0, 0, 0, 1, 2, 1, 1]
        assert r.joined(["c", "b", "a", "b", "c"]).tolist() == [0, 1, 2, 1, 0]

    def test_draws_are_of_whole_clusters(self) -> None:
        draws = r.cluster_draws(np.array([0, 2, 1, 0, 2]), 4000, np.random.default_rng(0))
        assert draws.shape == (4000, 5)
        assert (draws[:, 0] == draws[:, 3]).all()
        assert (draws[:, 1] == draws[:, 4]).all()
        assert (draws[:, :3].sum(1) == 3).all()
        assert draws.mean(0) == pytest.approx(np.ones(5), abs=0.05)

    def test_percentiles(self) -> None:
        values = np.stack([np.arange(101.0), 10 * np.arange(101.0)], 1)
        low, high = r.percentile_interval(values)
        assert (low.tolist(), high.tolist()) == (pytest.approx([2.5, 25]), pytest.approx([97.5, 975]))
        low, high = r.percentile_interval(values, 0.8)
        assert (low.tolist(), high.tolist()) == (pytest.approx([10, 100]), pytest.approx([90, 900]))
        gaps = np.concatenate([np.stack([np.arange(101.0), np.full(101, NAN), np.ones(101)], 1), [[NAN, NAN, 1]]])
        low, high = r.percentile_interval(gaps)
        assert [low[0], high[0], low[2], high[2]] == pytest.approx([2.5, 97.5, 1, 1])
        assert np.isnan([low[1], high[1]]).all()

    def test_few_clusters(self) -> None:
        assert (r.LEVEL, r.FEW) == (0.95, 10)
        assert r.effective_clusters(np.array([1.0, 2, 3, 4]), np.array([0, 0, 1, 2])) == pytest.approx(100 / 34)
        # Student's t by any table: 12.706, 2.571, 2.201, 2.021; and 1.812 for 90 % of 10
        for freedom, quantile in ((1, 12.706), (5, 2.571), (11, 2.201), (40, 2.021)):
            assert r.student_quantile(0.975, freedom) == pytest.approx(quantile, abs=1e-3)
        assert r.student_quantile(0.95, 10) == pytest.approx(1.812, abs=1e-3)
        # the share of a normal within 2.201 sqrt(12 / 11) = 2.299, within 2.021 sqrt(41 / 40) = 2.046, 1.812 sqrt(1.1) = 1.901
        assert r.widened(12) == pytest.approx(math.erf(2.2989 / math.sqrt(2)), abs=1e-5)
        assert r.widened(41) == pytest.approx(math.erf(2.0462 / math.sqrt(2)), abs=1e-4)
        assert r.widened(11, 0.9) == pytest.approx(math.erf(1.9009 / math.sqrt(2)), abs=1e-4)
        assert r.widened(1.0) == r.widened(1.5) == r.widened(2.0) == pytest.approx(1.0)


class TestFinite:
    def rows(self, frame: pd.DataFrame) -> list[list[Any]]:
        assert list(frame.columns) == ["sequence", "layer", "what", "expert", "n_tokens", "n_own", "first_position"]
        return [[None if pd.isna(x) else x for x in row] for row in frame.astype(object).values.tolist()]

    def chunk(self, layers: dict[int, LayerRecord], residual: dict[int, ResidualRecord]) -> Chunk:
        return Chunk(np.array([4, 4, 7]), np.array([5, 6, 0]), layers, residual, lambda: None)

    def test_counts_by_hand(self) -> None:
        """Three tokens: two of sequence 4, one of sequence 7; token 1 alone has finite weights."""
        one = torch.ones(3)
        record = LayerRecord(
            index=torch.tensor([[1, 4], [2, 0], [4, 3]]),
            weight=torch.tensor([[0.5, NAN], [0.1, 0.2], [INF, 0.3]]),
            logits=torch.tensor([[0, 0, 0], [0, 0, NAN], [0, 0, 0]]),
            output_l2=torch.tensor([[1, 2], [NAN, INF], [NAN, 1]]),
            shared=(
                SharedRecord(torch.tensor([1, 1, NAN]), Magnitude(torch.tensor([NAN, 1, 1]), one, one), None),
                SharedRecord(one, None, torch.tensor([[1, 1], [NAN, NAN], [1, -INF]])),
            ),
        )
        residual = {
            3: ResidualRecord(torch.tensor([1, INF, 1]), one, one, one, torch.tensor([NAN, 1, 1])),
            -1: ResidualRecord(torch.tensor([NAN, NAN, 1]), one, one, one, None),
        }
        found = not_finite(self.chunk({3: record}, residual))
        assert self.rows(found) == [
            [4, 3, "router_logits", 2, 1, None, 6],
            *([4, 3, "weight", 4, 1, None, 5], [7, 3, "weight", 4, 1, None, 0]),
            *([4, 3, "output", 0, 1, 1, 6], [4, 3, "output", 2, 1, 1, 6], [7, 3, "output", 4, 1, 0, 0]),
            *([7, 3, "weight", -1, 1, None, 0], [4, 3, "output", -1, 1, 0, 5]),
            *([4, 3, "output", -2, 1, 1, 6], [7, 3, "output", -2, 1, 0, 0]),
            *([4, 3, "routed_change", None, 1, None, 5], [4, 3, "residual", None, 1, None, 6]),
            [4, -1, "residual", None, 2, None, 5],
        ]
        vectors = torch.tensor([[1, NAN], [NAN, NAN], [1, 1]])
        outputs = OutputRows(torch.tensor([1, 5, 2]), torch.tensor([4, 3, 2]), vectors)  # of rows 0, 2 and 1
        found = not_finite(self.chunk({3: LayerRecord(record.index, record.weight, outputs=outputs)}, {}))
        assert self.rows(found)[2:] == [[4, 3, "output", 4, 1, 0, 5], [7, 3, "output", 3, 1, 0, 0]]
        assert not len(not_finite(self.chunk({}, {})))

    def test_logits(self) -> None:
        found = logits_not_finite(7, np.array([5, 6, 8]), np.array([3, 0, 9]), [[-1, NAN, NAN], [-INF], [0.0]])
        assert self.rows(found) == [[5, 7, "logits", None, 2, None, 4], [6, 7, "logits", None, 1, None, 0]]
        assert not len(logits_not_finite(7, np.array([5]), np.array([3]), [[-1]]))

    def frame(self, *rows: Any) -> pd.DataFrame:
        return pd.DataFrame(rows, columns=["layer", "what", "expert", "n_tokens", "n_own"]).astype(
            {"expert": "Int32", "n_own": "Int64"}
        )

    def test_sentences(self) -> None:
        found = self.frame(
            *(
                (4, "residual", None, 9, None),
                (2, "output", 3, 5, 2),
                (2, "output", 1, 7, 0),
                (2, "weight", -1, 4, None),
            ),
            *((2, "output", 3, 6, 1), (3, "output", 0, 1, 1), (3, "output", 5, 1, 0), (2, "router_logits", 2, 8, None)),
        )
        assert said(found) == (
            "Values are not finite, first in layer 2: router logit of L2E2 at 8 tokens, routing weight of L2S0 at 4 "
            "tokens, output "
            "of L2E3 at 11 tokens; of finite inputs also by L3E0; and in 2 layers above."
        )
        assert list(map(str, own_experts(found))) == ["L2E3", "L3E0"]
        assert {str(ref) for ref in experts_with(found)} == {"L2E1", "L2E2", "L2E3", "L2S0", "L3E0", "L3E5"}
        assert said(self.frame((-1, "residual", None, 4, None), (-1, "residual", None, 3, None))) == (
            "Values are not finite, first in the embeddings: residual at 7 tokens."
        )
        many = self.frame(*((0, "output", e, 2, 0) for e in range(5)))
        assert said(many) == (
            "Values are not finite, first in layer 0: output of L0E0 at 2 tokens, L0E1 at 2 tokens, L0E2 at 2 tokens, L0E3 at 2 "
            "tokens and 1 more."
        )
        assert said(self.frame((0, "logits", None, 2, None))).endswith(
            "first in layer 0: next-token logits at 2 tokens."
        )
        assert said(self.frame()) == ""
