"""Experts' and routers' weights as tables: equal to sums by loops over the state dict, and to what the routers compute."""

import re
from math import fsum

import numpy as np
import pytest
import torch
from torch import nn

from tests.support.families import EACH, build, get, ids
from workbench import load
from workbench.errors import WorkbenchError
from workbench.hooks import recording
from workbench.loading import tiny_tokenizer
from workbench.model import MoEModel
from workbench.parameters import check_parameters, matrices, routers, weights_bytes

ADAPTED = {  # family: (pattern of an expert's weights, how one expert's lie in them)
    "llama4_text": (r"layers\.(\d+)\.feed_forward\.experts\.(gate_up_proj|down_proj)$", lambda w, e, n: w[e]),
    "jetmoe": (r"layers\.(\d+)\.mlp\.(input_linear|output_linear)\.weight$", lambda w, e, n: w[e]),
    "dbrx": (r"blocks\.(\d+)\.ffn\.experts\.mlp\.(w1|v1|w2)$", lambda w, e, n: np.split(w, n)[e]),
}
FUSED = (r"layers\.(\d+)\..*experts\.(\w+)$", lambda w, e, n: w[e])


def by_hand(model: MoEModel, pattern: str, own) -> dict[tuple[int, int, str], tuple[int, float, float]]:
    """{(layer, expert, matrix): (numbers, sum of sizes, sum of squares)} from the state dict, number by number."""
    found = {}
    for name, weight in model.hf.state_dict().items():
        match = re.search(pattern, name)
        if match is None or name.endswith("bias"):
            continue
        layer = int(match[1])
        n = model.anatomy.layer(layer).n_experts
        for expert in range(n):
            flat = [float(x) for x in own(weight.double().numpy(), expert, n).ravel()]
            found[layer, expert, match[2]] = len(flat), fsum(map(abs, flat)), fsum(x * x for x in flat)
    return found


def table(model: MoEModel, **how) -> dict[tuple[int, int, str], tuple[int, float, float]]:
    rows = matrices(model, **how).itertuples(index=False, name=None)
    return {(layer, expert, name): tuple(rest) for layer, expert, name, *rest in rows}


def assert_same(got, expected) -> None:
    assert expected
    assert got.keys() == expected.keys()
    for key, (n, *sums) in expected.items():
        assert got[key][0] == n
        assert got[key][1:] == pytest.approx(sums, rel=1e-12)


class TestMatrices:
    @pytest.mark.parametrize("name", EACH)
    def test_fused_experts_equal_loops_over_the_state_dict(self, name: str) -> None:
        model = get(name)
        assert_same(table(model), by_hand(model, *FUSED))

    @pytest.mark.parametrize("name", ADAPTED)
    def test_families_behind_an_adapter(self, name: str) -> None:
        model = build(name)
        assert_same(table(model), by_hand(model, *ADAPTED[name]))

    def test_half_precision_is_read_as_it_is(self) -> None:
        model = get("mixtral", "bfloat16")
        assert_same(table(model), by_hand(model, *FUSED))

    def test_layers_limit_it_and_the_size_is_said_before(self) -> None:
        model = get("mixtral")
        last = model.anatomy.moe_layers[-1]
        assert {layer for layer, _, _ in table(model, layers=[last])} == {last}
        assert weights_bytes(model, [last]) == 4 * sum(n for n, _, _ in table(model, layers=[last]).values())

    def test_an_identity_expert_has_no_matrix(self) -> None:
        model = build("longcat_flash")
        identity = model.anatomy.layer(model.anatomy.moe_layers[0]).n_experts - 1
        assert {expert for _, expert, _ in table(model)} == set(range(12))
        assert identity > 11

    def test_experts_that_are_modules_in_a_list(self) -> None:
        model = load(Listed(), tiny_tokenizer(), adapter=Listing())
        expected = {
            (layer, e, name): (
                w.numel(),
                fsum(map(abs, w.double().flatten().tolist())),
                w.double().square().sum().item(),
            )
            for layer, step in enumerate(model.hf.module.steps)
            for e, expert in enumerate(step.experts)
            for name, w in (("up", expert.up.weight), ("down", expert.down.weight))
        }
        assert_same(table(model), expected)
        rows = routers(model)
        assert np.stack(rows["row"][:3]) == pytest.approx(model.hf.module.steps[0].gate.weight.detach().numpy())
        assert rows["bias"][:3].tolist() == pytest.approx(model.hf.module.steps[0].gate.bias.tolist())


class TestRouters:
    @pytest.mark.parametrize("name", [*EACH, "inkling_text", "longcat_flash", "llama4_text", "jetmoe", "dbrx"])
    def test_the_logits_are_the_rows_times_what_the_router_is_given(self, name: str) -> None:
        model = build(name) if name not in ("demo", "mixtral", "deepseek_v3", "gpt_oss") else get(name)
        seen: dict[int, torch.Tensor] = {}
        blocks = model.runtime.layout.blocks
        handles = [
            (block.router if block.adapter is None else block.block).register_forward_pre_hook(
                lambda _, args, layer=layer: seen.__setitem__(layer, args[0])
            )
            for layer, block in blocks.items()
        ]
        with recording(model, {"logits"}) as recorder, torch.no_grad():
            model.hf(ids(model))
            record = recorder.take()
        for handle in handles:
            handle.remove()
        frame = routers(model)
        assert [(r.layer, r.expert) for r in frame.itertuples()] == [
            (n, e) for n in blocks for e in range(model.anatomy.layer(n).n_experts)
        ]
        for layer, rows in frame.groupby("layer"):
            given = seen[layer].double().numpy().reshape(-1, model.anatomy.hidden_size)
            logits = given @ np.stack(rows["row"]).T + rows["bias"].fillna(0).to_numpy()
            own = record.layers[layer].logits[:, : len(rows)].double().numpy()
            assert logits == pytest.approx(own, rel=1e-4, abs=1e-4)
        assert frame["bias"].notna().all() == (name == "gpt_oss")

    def test_a_router_of_several_matrices_is_refused(self) -> None:
        with pytest.raises(
            WorkbenchError, match=r"The router of layer \d+ .* is not one matrix of 12 rows .* has 4 matrices"
        ):
            routers(build("zaya"))


class TestRefused:
    def test_a_quantised_weight_by_name(self) -> None:
        model = build("mixtral")
        experts = model.hf.model.layers[1].mlp.experts
        experts._parameters["down_proj"] = nn.Parameter(experts.down_proj.detach().to(torch.float8_e4m3fn), False)
        said = r"The weight 'model\.layers\.1\.mlp\.experts\.down_proj' is quantised \(a Parameter of float8_e4m3fn\), so .* or "
        with pytest.raises(WorkbenchError, match=said + r"leave matrices and routers out of keep\.$"):
            check_parameters(model, ["matrices"])
        check_parameters(model, ["matrices"], layers=[0])
        check_parameters(model, ["routers"])

    def test_an_offloaded_weight_by_name(self) -> None:
        model = build("mixtral")
        router = model.hf.model.layers[0].mlp.gate
        router._parameters["weight"] = nn.Parameter(router.weight.detach().to("meta"))
        with pytest.raises(
            WorkbenchError, match=r"'model\.layers\.0\.mlp\.gate\.weight' is offloaded or has no values here"
        ):
            routers(model)
        check_parameters(model, ["matrices"])

    def test_an_adapter_at_work(self) -> None:
        peft = pytest.importorskip("peft")
        model = build("mixtral")
        config = peft.LoraConfig(r=2, target_parameters=["mlp.experts.down_proj"])
        tuned = load(peft.get_peft_model(model.hf, config), tiny_tokenizer())
        with pytest.raises(
            WorkbenchError, match=r"The adapter default adds to the weights of '.*experts.*' in every forward"
        ):
            matrices(tuned)

    def test_experts_that_nobody_has_said(self) -> None:
        model = load(Listed(), tiny_tokenizer(), adapter=Listing())
        for step in model.hf.module.steps:
            step.others = nn.ModuleList([nn.Identity()] * 3)
        with pytest.raises(
            WorkbenchError, match=r"keeps its 3 experts neither in fused weights nor in one list of modules"
        ):
            matrices(model)


class Expert(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 6), nn.Linear(6, 8)

    def forward(self, hidden):
        return self.down(self.up(hidden).relu())


class Step(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.gate, self.experts = nn.Linear(8, 3), nn.ModuleList(Expert() for _ in range(3))

    def forward(self, hidden):
        rows = hidden.reshape(-1, 8)
        weights, index = self.gate(rows).softmax(-1).topk(2, dim=-1)
        every = torch.stack([expert(rows) for expert in self.experts], 1)
        return hidden + (every.gather(1, index[..., None].expand(-1, -1, 8)) * weights[..., None]).sum(1).view_as(
            hidden
        )


class Listed(nn.Module):
    """Two layers of three experts, modules in a list, behind an adapter that says nothing of weights."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.steps, self.head = (
            nn.Embedding(384, 8),
            nn.ModuleList(Step() for _ in range(2)),
            nn.Linear(8, 384),
        )

    def forward(self, input_ids):
        hidden = self.embed(input_ids)
        for step in self.steps:
            hidden = step(hidden)
        return self.head(hidden)


class Listing:
    def blocks(self, model):
        return dict(enumerate(model.module.steps))

    def route(self, block, hidden):
        logits = block.gate(hidden)
        return logits, *logits.softmax(-1).topk(2, dim=-1)

    def expert(self, block, number, hidden):
        return block.experts[number](hidden)

    def combine(self, block, hidden, routed):
        return hidden + routed
