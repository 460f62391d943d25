"""Which plans can be done: counted by hand for shapes with and without groups."""

from dataclasses import replace
from typing import Any

import pytest

from tests.support.refusals import refused
from tests.support.stores import anatomy
from workbench import Plan
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule


class TestPlansThatCanBe:
    def shape(self, **rule: Any) -> Anatomy:
        """Layer 1: 8 experts in four groups of two of which 2 survive, 3 selected, a shared one; outputs of 6 in layer 2."""
        made = RoutingRule("sigmoid", True, n_group=4, topk_group=2, **rule)
        one = LayerAnatomy(1, 8, 3, 1, rule=made, refused={"replace": "because."})
        return replace(anatomy(), layers=(LayerAnatomy(0), one, LayerAnatomy(2, 5, 2, 1, output_size=6)))

    @pytest.mark.parametrize(
        ("plan", "said"),
        [
            ("force L2E0-1", None),
            ("force L2E0-2", "Layer 2 selects 2 experts per token, and the plan forces 3; force at most 2."),
            ("off L2E0-2", None),
            ("off L2E0-3", "Layer 2 selects 2 of 5 experts, and the plan leaves 1 on; switch off at most 3."),
            ("off L1E0-1", None),
            # what is left is 2, 1, 1, 2: the smallest two groups hold two
            ("off L1E2,L1E4", "Layer 1 selects 3 experts from 2 of 4 groups, and the plan leaves [1, 1, 2, 2] experts on in the "
             "groups; leave at least 2 groups with 1 or more experts each, 3 in the smallest 2 of them."),
            ("off L1E2", None),
            ("off L1E2,L1E4; force L1E0", None),
            ("off L1E2,L1E4; force L1E0 at 3-", "Layer 1 selects 3 experts from"),
            ("off L1E0-5", "Layer 1 selects 3 of 8 experts, and the plan leaves 2 on; switch off at most 5."),
            ("replace L1E0=[1,2,3,4]", "replace L1E0 is not supported on synthetic: because."),
            ("replace L2E0=[1,2,3,4,5,6]; replace L2S0=[1,2,3,4]", None),
            ("replace L2E0=[1,2,3,4]", "replace L2E0: the vector has 4 numbers, and this expert of synthetic gives 6."),
            ("replace L2S0=[1,2,3,4,5,6]", "replace L2S0: the vector has 6 numbers, and this expert of synthetic gives 4."),
            ("off L2E0-1 in prompt; off L2E2-3 in generated", None),
            ("off L2E0-1; off L2E2-3 in generated", "Layer 2 selects 2 of 5 experts, and the plan leaves 1 on"),
            ("mute L1S1", "L1S1: layer 1 of synthetic has shared experts 0-0; name one of those."),
        ],
    )  # fmt: skip
    def test_by_hand(self, plan: str, said: str | None) -> None:
        if said is None:
            Plan.parse(plan).check(self.shape())
        else:
            assert refused(Plan.parse(plan).check, self.shape()).startswith(said)

    def test_groups_that_score_by_their_best_two(self) -> None:
        Plan.off("L1E0").check(self.shape(group_score="top2"))
        for plan in ("off L1E0,L1E2,L1E4", "off L1E0-1,L1E2,L1E4"):
            said = refused(Plan.parse(plan).check, self.shape(group_score="top2"))
            assert "leave at least 2 groups with 2 or more experts each" in said
