"""A comparison as it is printed and as JSON, and its effects: whole tables and sentences, worked out by hand."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from tests.support.stores import anatomy
from workbench import Plan, read_prompts
from workbench.comparison import Comparison, Measured, check_applies
from workbench.comparison.broken import Arm, broken_notes
from workbench.comparison.comparison import control_plans, meter_of
from workbench.comparison.distributions import GivenText
from workbench.comparison.tables import control_table, left_out, metric_table
from workbench.errors import WorkbenchError
from workbench.progress import Progress
from workbench.responses import metrics_from
from workbench.routing import DoseCounts

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


def measured(found: Any, *metrics: Any) -> Measured:
    return Measured.of(metrics_from(list(metrics) or [length]), PROMPTS, found)


class TestEffects:
    base = measured(answers("x", "xxx", "xxxxx", "-"))
    arm = measured(answers("xxx", "xxx", "xxxx", "x"))

    def test_every_metric_is_asked_once_of_every_answer(self) -> None:
        asked = list[str]()
        found = Measured.of(metrics_from({"own": lambda r: asked.append(r) or 1.0}), PROMPTS, answers(*"abcd"))
        metric_table(PROMPTS, found, found, 0)
        control_table(found, [("count", 0, Plan())] * 3, [found] * 3)
        left_out(PROMPTS, found, found)
        assert asked == ["a", "b", "c", "d"]

    def test_a_row_by_hand(self) -> None:
        """Differences 2, 0 of cluster 1 and -1 of cluster 2; d has no value. Two clusters: the interval spans their means."""
        (row,) = metric_table(PROMPTS, self.base, self.arm, 0).to_dict("records")
        assert row == {
            "metric": "length", "base": 3.0, "steered": pytest.approx(10 / 3), "difference": pytest.approx(1 / 3),
            "low": -1.0, "high": 1.0, "n": 3, "n_clusters": 2,
        }  # fmt: skip

    def test_controls_by_hand(self) -> None:
        random: Any = [("count", 0, Plan.off("L1E2")), ("layer", 1, Plan.off("L2E0"))]
        others = [measured(answers("x", "-", "xx", "xx", slots=7)), measured(answers("-", "-", "-", "x"))]
        found = control_table(self.base, random, others)
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
        arm, base = answers("<think>hm", "<think>", "x", "x", broken=[False, False, False, True]), answers(*"xxxx")
        assert left_out(PROMPTS, self.base, measured(arm)) == ()  # d is broken: told of by itself
        assert left_out(PROMPTS, self.base, measured(answers("-", "x", "-", "-"))) == (
            "length leaves out 3 of 4 prompts: it has no value for 1 base and 3 steered answers.",
        )
        assert left_out(PROMPTS, measured(base, "refused"), measured(arm, "refused")) == (
            "refused leaves out 2 of 4 prompts: it has no value for 0 base and 2 steered answers (thinking had not ended: give "
            "more tokens).",
        )
        assert left_out(PROMPTS, measured(arm, "exact"), measured(base, "exact")) == (
            "exact leaves out 2 of 4 prompts: it has no value for 2 base and 2 steered answers.",
        )

    def test_a_metric_that_applies_to_none(self) -> None:
        nothing = answers("-", "-", "-", "-")
        with pytest.raises(
            WorkbenchError, match=r"^The metric 'length' applies to none of the 4 prompts; it needs prompts that"
        ):
            check_applies(PROMPTS, measured(nothing))
        unfinished = answers(*["<think>"] * 4)
        check_applies(PROMPTS, measured(unfinished, "refused"))  # nothing yet to measure
        check_applies(PROMPTS, measured(answers("x", "x", "x", "x"), "exact"))  # one prompt has the label
        with pytest.raises(WorkbenchError, match="'faithful' applies to none"):
            check_applies(PROMPTS, measured(unfinished, "faithful"))
        check_applies(PROMPTS, measured(answers("-", "-", "-", "-", broken=[True] * 4)))
        with pytest.raises(WorkbenchError, match="'length' applies to none"):
            check_applies(PROMPTS, measured(answers("-", "-", "x", "-", broken=[False, False, True, False])))


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

    def test_what_is_said_at_first(self) -> None:
        seen = list[Progress]()
        encoded = [(1, 2), (3,)]
        meter = meter_of(encoded, [GivenText("a", (1, 2), (3, 4, 5))], 4, 5, True, seen.append)
        # (2 + 5) + (1 + 5) tokens an arm and in two forwards over the base's answers; 5 given ones twice
        assert (meter.total, seen[0].total) == (6 * 13 + 10, 88)
        assert seen[0].message == "Answering 2 prompts 4 times, of them 2 with random experts: at most 88 tokens"
        meter_of(encoded, [], 2, 500, True, seen.append)
        assert seen[1].message == "Answering 2 prompts 2 times: at most 4,012 tokens"
        assert meter_of(encoded, [], 2, 500, False, False).total == 2 * 1003  # the answers alone

    def test_which_random_plans_are_drawn(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked = list[Any]()
        monkeypatch.setattr(
            Plan, "random_like", lambda plan, shape, match, usage, seed: asked.append((match, usage, seed)) or match
        )
        model: Any = SimpleNamespace(anatomy=anatomy())
        plan = Plan.off("L1E2")
        assert control_plans(model, plan, 2, None, 3) == [
            *(("count", 0, "count"), ("count", 1, "count"), ("layer", 0, "layer"), ("layer", 1, "layer"))
        ]
        assert asked == [("count", None, 3000), ("count", None, 3001), ("layer", None, 3000), ("layer", None, 3001)]
        assert [x[:2] for x in control_plans(model, plan, {"layer": 1, "count": 0}, None, 0)] == [("layer", 0)]
        assert control_plans(model, Plan(), 2, None, 3) == []

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
