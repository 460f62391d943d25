"""What belongs to a model's identity: settings, samples, corrections, adapters at work."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from workbench.model import Layout, MoEBlock
from workbench.model import fingerprint as identity


class TestIdentity:
    def block(self, **router: Any) -> MoEBlock:
        routed, block = nn.Module(), nn.Module()
        for name, held in router.items():
            setattr(routed, name, held)
        block.router, block.experts = routed, nn.Module()
        return MoEBlock(0, block, routed, block.experts, (), None, "r", "e", ())

    @pytest.mark.parametrize(
        ("held", "settings"),
        [
            ({"norm_topk_prob": True}, {"renormalise": [1.0]}),
            ({"norm_topk_prob": False, "route_norm": 0}, {}),
            ({"routed_scaling_factor": 1, "n_group": 1, "topk_group": 1.0}, {}),
            ({"routed_scaling_factor": 2.5, "n_group": 4, "topk_group": 2},
             {"scaling": [2.5], "groups": [4.0], "groups kept": [2.0]}),
            ({"route_scale": 2, "output_multiplier": 3.0}, {"scaling": [2.0, 3.0]}),
            ({"score_func": "sigmoid", "topk_method": None}, {"score": ["sigmoid"]}),
            ({"router_jitter_noise": 0.2, "router_logit_softcapping": 30.0, "use_expert_bias": True},
             {"jitter": [0.2], "cap": [30.0], "correction": [1.0]}),
            ({"other": 3}, {}),
        ],
    )  # fmt: skip
    def test_settings(self, held: dict[str, Any], settings: dict[str, Any]) -> None:
        block = self.block(**held)
        assert identity.settings_of(block) == settings
        for name in held:
            delattr(block.router, name)
        for name, x in held.items():
            setattr(block.experts, name, x)  # wherever it stands
        assert identity.settings_of(block) == settings

    def test_plain_values(self) -> None:
        place = SimpleNamespace(top_k=2, training=True, _hidden=3, weight=[1], name="x",
                                config=SimpleNamespace(num_experts_per_tok=4, score_func="s", other=1, n_group=None))  # fmt: skip
        assert identity.plain_value(place) == (
            ("top_k", 2),
            ("name", "x"),
            ("num_experts_per_tok", 4),
            ("score_func", "s"),
        )

    def test_samples_and_names(self) -> None:
        values = torch.arange(3 * 4096 + 5.0)
        assert torch.equal(identity.sampled(values), values[::3].bfloat16())
        assert torch.equal(identity.sampled(values[:4097]), values[:4097].bfloat16())
        assert identity.bare("a.base_layer.b.original_module._orig_mod.weight") == "a.b.weight"
        one = identity.Weights(
            {"b": (1,), "a": (2,)}, {"a": torch.tensor([1.0, 2]).bfloat16(), "b": torch.tensor([3.0]).bfloat16()}
        )
        assert identity.weights_digest(one) == identity.weights_digest(
            identity.Weights(dict(reversed(one.shapes.items())), one.values)
        )
        assert len(identity.weights_digest(one)) == 16
        for other in (
            {"shapes": {"b": (1,), "a": (2, 1)}},
            {"values": {**one.values, "b": torch.tensor([4.0]).bfloat16()}},
        ):
            assert identity.weights_digest(one._replace(**other)) != identity.weights_digest(one)

    def test_corrections(self) -> None:
        block = self.block()
        for name, tensor, kept in (("bias", torch.ones(3), True), ("temporary", torch.ones(3), False),
                                   ("matrix", torch.ones(2, 2), True),
                                   ("count", torch.ones(3).int(), True), ("long", torch.ones(4097), True)):  # fmt: skip
            block.router.register_buffer(name, tensor, persistent=kept)
        block.block.register_buffer("most", torch.ones(4096))
        found = list(identity.corrections(Layout(nn.Identity(), (), {3: block})))
        assert [name for name, _ in found] == ["3.bias", "3.most"]

    def tuner(self, **changes: Any) -> Any:
        made = SimpleNamespace(disable_adapters=False, merged_adapters=[], active_adapters=["a", "b"],
                               adapter_layer_names=("lora",),
                               scaling={"a": 0.5}, _modules={"lora": {"a": 1, "c": 1}})  # fmt: skip
        vars(made).update(changes)
        return made

    def test_adapters_at_work(self) -> None:
        assert identity.at_work(self.tuner()) == ("a",)
        assert identity.at_work(self.tuner(disable_adapters=True)) == ()
        assert identity.at_work(self.tuner(merged_adapters=["a"])) == ()
        assert identity.switch_of(self.tuner()) == (False, (), (("a", 0.5),))
        assert identity.switch_of(self.tuner(merged_adapters=["c"])) == (False, ("c",), ())
        assert identity.factor_of(self.tuner(scaling=3.0), "a") == 3.0
        assert identity.factor_of(self.tuner(scaling=None), "a") is None
