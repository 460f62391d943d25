"""The residual stream as a sum: the multiplier, the norm before, and why something is no such sum."""

import pytest
from torch import nn

from tests.support.tensors import draw
from tests.workbench.survey.test_routers import EMPTY
from workbench.model import Layout
from workbench.survey import Seen
from workbench.survey.residual import norm_before, residual_reason, routed_multiplier


class TestResidual:
    """layer = before + m x (routed + gate x shared) + beside."""

    def seen(
        self, m: float = 1.0, inner: float = 1.0, gate: bool = False, beside: bool = False, off: float = 0.0
    ) -> Seen:
        before, normed, routed, shared, other = (draw(2, 3, 4, seed=i) for i in range(5))
        weight = draw(2, 3, 1, seed=9)
        block = inner * routed + shared * (weight.sigmoid() if gate else 1)
        layer = before + m * block + (other if beside else 0) + off * draw(2, 3, 4, seed=7)
        entering = {"norm": (before, normed)} | ({"mlp": (normed, other)} if beside else {})
        return Seen(
            routed=routed, block=block, layer=layer, shared={"s": shared}, gate=weight.reshape(6, 1) if gate else None,
            entering=entering, block_input=normed,
        )  # fmt: skip

    @pytest.mark.parametrize("gate", [False, True])
    @pytest.mark.parametrize("beside", [False, True])
    def test_the_multiplier(self, gate: bool, beside: bool) -> None:
        for m, inner, product in ((0.22, 1.0, 0.22), (0.5, 3.0, 1.5), (1.0, 0.97, 0.97), (-2.0, 1.0, -2.0)):
            found = routed_multiplier(self.seen(m, inner, gate, beside))
            assert found == pytest.approx(product, abs=1e-9)
        assert routed_multiplier(self.seen(1.0, 1.015, gate, beside)) == 1.0  # within rounding of 1
        assert routed_multiplier(self.seen(gate=gate, beside=beside, off=0.3)) is None

    def test_what_is_no_such_sum(self) -> None:
        for changes in (
            {"layer": None},
            {"routed": None},
            {"layer": draw(6, 4)},
            {"routed": draw(2, 3, 2)},
            {"block": draw(2, 3, 2)},
        ):
            seen = self.seen()
            for name, value in changes.items():
                setattr(seen, name, value)
            assert routed_multiplier(seen) is None, changes

    def test_the_norm_before(self) -> None:
        decoder = nn.ModuleDict({"norm": nn.LayerNorm(4), "mlp": nn.Identity()})
        layout = Layout(nn.Identity(), (nn.Identity(), nn.Identity(), nn.Identity(), decoder), {})
        assert norm_before(layout, EMPTY, self.seen()) is decoder["norm"]
        other = self.seen()
        other.block_input = draw(2, 3, 4, seed=8)
        assert norm_before(layout, EMPTY, other) is None
        other.block_input = None
        assert norm_before(layout, EMPTY, other) is None
        assert norm_before(layout._replace(layers=()), EMPTY, self.seen()) is None

    def test_reasons(self) -> None:
        layout, seen = Layout(nn.Identity(), (nn.Identity(),), {}), self.seen()
        assert residual_reason(layout, EMPTY, seen, (2, 3), 4) is None
        said = residual_reason(layout, EMPTY, seen, (2, 3), 5)
        assert said == "the layer's output is (2, 3, 4), not one stream of [batch, tokens, 5]"
        seen.layer = None
        said = residual_reason(layout, EMPTY, seen, (2, 3), 4)
        assert said == "the layer's output is None, not one stream of [batch, tokens, 4]"
        assert residual_reason(layout._replace(layers=()), EMPTY, seen, (2, 3), 4) == (
            "the adapter's layers are not the positions of a list of modules"
        )
