"""A plan as masks, layer by layer, by hand."""

import json
from types import SimpleNamespace

import pytest
import torch

from tests.support.refusals import refused
from tests.support.stores import anatomy
from workbench import Plan
from workbench.routing import CompiledPlan, LayerEdits, Positions, Replacement, compile_plan

CPU = torch.device("cpu")


def forward() -> Positions:
    """One row of three tokens, of which two are the prompt's."""
    return Positions(1, 3, 0, None, torch.tensor([[5, 6, 7]]), CPU, 2)


class TestMasks:
    tokenizer = SimpleNamespace(encode=lambda text, add_special_tokens: {"a": [5], "b": [6], "ab": [5, 6]}[text])

    def edits(self, plan: str, layer: int = 1) -> LayerEdits:
        return compile_plan(Plan.parse(plan), anatomy(n_shared=2), self.tokenizer).routed[layer]

    def test_everywhere(self) -> None:
        made = self.edits("off L1E3; scale L1E0=2; scale L1E1=0.5; bias L1E4=-1.5; force L1E2; mute L1E1")
        found = {kind: made.mask(kind, CPU, None).tolist() for kind in ("off", "force", "mute")}  # type: ignore[union-attr]
        assert found == {"off": [[0, 0, 0, 1, 0]], "force": [[0, 0, 1, 0, 0]], "mute": [[0, 1, 0, 0, 0]]}
        assert made.values("scale", CPU, None).tolist() == [[2, 0.5, 1, 1, 1]]  # type: ignore[union-attr]
        assert made.values("bias", CPU, None).tolist() == [[0, 0, 0, 0, -1.5]]  # type: ignore[union-attr]
        assert made.mask("drop", CPU, None) is None
        assert (made.reroutes, made.weighs, made.is_scoped) == (True, True, False)
        routing = made.router_edits(CPU, None)
        assert routing.shift.tolist() == [[0, 0, 0, -torch.inf, -1.5]]  # type: ignore[union-attr]
        assert made.router_edits(CPU, None) is routing

    def test_some_tokens(self) -> None:
        made = self.edits(
            "scale L1E0=2; scale L1E0=3 in generated; bias L1E1=1 at 0; bias L1E1=2 at 0-1; off L1E3 in prompt"
        )
        assert made.values("scale", CPU, forward()).tolist() == [[2, 1, 1, 1, 1], [2, 1, 1, 1, 1], [6, 1, 1, 1, 1]]  # type: ignore[union-attr]
        assert made.values("bias", CPU, forward())[:, 1].tolist() == [3, 2, 0]  # type: ignore[index]
        assert made.mask("off", CPU, forward())[:, 3].tolist() == [True, True, False]  # type: ignore[index]
        assert made.touched(CPU, forward()).tolist() == [True, True, False]
        assert made.router_edits(CPU, forward()).off is not made.router_edits(CPU, forward()).off
        assert refused(made.mask, "off", CPU, None).startswith(
            "An edit limited to positions needs the base model to run;"
        )
        late = self.edits("off L1E3 between a b")
        assert late.touched(CPU, forward()).tolist() == [True, True, False]

    def test_replacements(self) -> None:
        first, second = self.edits("replace L1E3=[1,2,3,4]; replace L1E0=[5,6,7,8] in prompt").replacements(
            CPU, forward()
        )
        assert (first.expert, first.vector.tolist()) == (0, [[5, 6, 7, 8]])
        assert (second.expert, second.vector.tolist(), second.tokens) == (3, [[1, 2, 3, 4]], None)
        index = torch.tensor([[0, 3], [3, 1], [2, 0]])
        assert first.touches(index).tolist() == [[True, False], [False, False], [False, False]]
        assert second.touches(index).tolist() == [[False, True], [True, False], [False, False]]
        assert self.edits("off L1E0").replacements(CPU, None) == []
        assert isinstance(first, Replacement)

    def test_it_goes_to_plain_data_and_back(self) -> None:
        """Whoever gets the data has neither the model nor its tokenizer, and builds the same masks."""
        text = "off L1E0; scale L2E1=0.1; mute L1S0; bias L1E3=-1.5 in generated at 2-4; replace L2E4=[1,0.3,0,-2] between a b"
        made = compile_plan(Plan.parse(text).for_model(anatomy(n_shared=2)), anatomy(n_shared=2), self.tokenizer)
        data = json.loads(json.dumps(made.to_data()))
        assert {k: data[k] for k in ("n_experts", "spans")} == {
            "n_experts": {"1": 5, "2": 5},
            "spans": [["a", "b", 5, 6]],
        }
        again = CompiledPlan.from_data(data)
        assert again == made
        assert again.plan.fingerprint == anatomy(n_shared=2).fingerprint
        assert again.shared[1, 0].n_experts == 1

    @pytest.mark.parametrize(
        ("plan", "needs"),
        [
            ("off L1E0", (False, False, False)),
            ("off L1E0 at 0", (True, False, False)),
            ("off L1E0 in prompt", (True, True, False)),
            ("off L1E0 between a b", (True, True, True)),
            ("replace L1E0=[1,2,3,4]", (True, False, False)),
        ],
    )
    def test_what_must_be_known(self, plan: str, needs: tuple[bool, ...]) -> None:
        made = compile_plan(Plan.parse(plan), anatomy(), self.tokenizer)
        assert (made.needs_positions, made.needs_generate, made.has_spans) == needs

    def test_layers_and_shared_experts(self) -> None:
        made = compile_plan(
            Plan.parse("off L2E0; mute L1S1; scale L1S1=2 in prompt"), anatomy(n_shared=2), self.tokenizer
        )
        assert list(made.routed) == [2]
        assert list(made.shared) == [(1, 1)]
        assert made.shared[1, 1].mask("mute", CPU, None).tolist() == [[False, True]]  # type: ignore[union-attr]
        assert made.shared[1, 1].values("scale", CPU, forward()).tolist() == [[1, 2], [1, 2], [1, 1]]  # type: ignore[union-attr]
        for plan, said in (
            (
                "replace L1E0=mean",
                "replace L1E0=mean: the mean is over a store; resolve it with plan.with_means(store) first.",
            ),
            ("off L1E0 between a ab", "'ab' is 2 tokens here, and a span opens and closes with one token each."),
        ):
            assert refused(compile_plan, Plan.parse(plan), anatomy(), self.tokenizer) == said
        assert refused(compile_plan, Plan.parse("off L1E0 between a b"), anatomy(), None) == (
            "Edits between a and b need a tokenizer; load the model with one."
        )
