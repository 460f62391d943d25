"""Anatomies and experts as values: rules, fingerprints, names, and the sentence for what does not exist."""

import json
from dataclasses import replace

import pytest

from tests.support.refusals import refused
from tests.workbench.routing.test_positions import F, T
from workbench.anatomy import Anatomy, ExpertRef, LayerAnatomy, RoutingRule, parse_experts


class TestAnatomy:
    shape = Anatomy(
        "m",
        "fam",
        4,
        50,
        "w",
        (LayerAnatomy(0), LayerAnatomy(1, 3, 2, 2), LayerAnatomy(2, 4, 1)),
        adapters=("x", "y"),
        identity="i",
    )

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            (RoutingRule("softmax", True), "softmax, top-k, renormalised"),
            (RoutingRule("sigmoid", False, True, 8, 4, "top2", 2.5),
             "sigmoid, + correction bias, in 4 of 8 groups (by top2), top-k, not renormalised, x 2.5"),
            (RoutingRule("softmax", True, True, bias_on="logit", expert_scale=True, skip=True),
             "softmax, + correction bias on logits, top-k, renormalised, x a scale per expert, the last class skips"),
            (RoutingRule("sparsemixer", True, jitter=0.1), "sparsemixer, within 0.2 of the best"),
        ],
    )  # fmt: skip
    def test_rules(self, rule: RoutingRule, said: str) -> None:
        assert str(rule) == said

    def test_experts(self) -> None:
        assert (self.shape.moe_layers, self.shape.n_experts) == ((1, 2), 7)
        assert list(map(str, self.shape.refs())) == ["L1E0", "L1E1", "L1E2", "L2E0", "L2E1", "L2E2", "L2E3"]
        assert list(map(str, self.shape.refs(shared=True)))[7:] == ["L1S0", "L1S1"]
        for ref, said in (
            (ExpertRef(1, 3), "L1E3: layer 1 of m has experts 0-2; name one of those."),
            (ExpertRef(1, 2, True), "L1S2: layer 1 of m has shared experts 0-1; name one of those."),
            (ExpertRef(2, 0, True), "L2S0: layer 2 of m has no shared experts; name one of those."),
            (ExpertRef(0, 0), "L0E0: layer 0 of m has no experts (it is dense); name one of those."),
            (ExpertRef(3, 0), "Layer 3 does not exist: m has layers 0-2."),
        ):
            assert refused(self.shape.check_ref, ref) == said
        self.shape.check_ref(ExpertRef(1, 1, True))
        assert refused(self.shape.layer, -1) == "Layer -1 does not exist: m has layers 0-2."
        assert list(map(str, parse_experts("L*S*, l2e1-3,L1E0", self.shape))) == [
            "L1E0",
            "L1S0",
            "L1S1",
            "L2E1",
            "L2E2",
            "L2E3",
        ]
        assert len(parse_experts("L0E1-65536")) == 65_536
        assert refused(parse_experts, "L0E0-65536") == (
            "'L0E0-65536' names more than 65536 experts, and no layer has so many; write it like L12E3-7."
        )
        assert list(map(str, parse_experts("L0E3-3"))) == ["L0E3"]

    def test_fingerprints(self) -> None:
        import hashlib

        shape = [[0, 0, 0, 0], [1, 3, 2, 2], [2, 4, 1, 0]]
        before, now = json.dumps(["fam", 4, 50, "w", shape]), json.dumps([2, "fam", 4, 50, "i", shape])
        assert self.shape.unversioned == hashlib.sha256(before.encode()).hexdigest()[:16]
        assert self.shape.fingerprint == "2:" + hashlib.sha256(now.encode()).hexdigest()[:16]
        assert replace(self.shape, identity="").fingerprint == self.shape.unversioned
        assert Anatomy.from_dict(json.loads(json.dumps(self.shape.to_dict()))) == self.shape
        for known, same in (
            (self.shape.fingerprint, T),
            (self.shape.unversioned, T),
            ("2:0", F),
            (f"2:0,{self.shape.unversioned}", F),
        ):
            assert self.shape.is_same(known) == same
        self.shape.check_same(None, "It")
        assert refused(self.shape.check_same, "2:0", "It") == (
            f"It was made on another model (fingerprint 2:0; m with the adapters x, y is {self.shape.fingerprint}); "
            f"expert numbers mean "
            f"nothing across models, so make it again on this one."
        )
        old = replace(self.shape, identity="")
        assert refused(old.check_same, "2:0", "It").startswith(
            "It cannot be compared with m, which is known here by a fingerprint"
        )
