"""Which tokens of a forward an edit meets: every mask and every prompt's end worked out by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.support.refusals import refused
from workbench.anatomy import ExpertRef
from workbench.plan import Edit, Scope
from workbench.plan.edits import parse_positions
from workbench.routing import Positions, leave_trail, prompt_length, read_positions
from workbench.routing.positions import Trail, cache_in, two_dimensional

T, F = True, False


class TestPositions:
    def forward(self, past: int = 0, length: int = 5, prompt: Any = 3, **how: Any) -> Positions:
        """Two rows, the second padded on the left by two columns; 8 opens and 9 closes."""
        ids = torch.tensor([[8, 1, 9, 1, 8], [0, 0, 9, 8, 1]])[:, :length]
        mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
        given = {"mask": mask, "ids": ids, "device": torch.device("cpu"), "prompt_columns": prompt} | how
        return Positions(2, length, past, **given)

    @pytest.mark.parametrize(
        ("scope", "inside"),
        [
            (Scope(), [[T, T, T, T, T], [F, F, T, T, T]]),
            (Scope("prompt"), [[T, T, T, F, F], [F, F, T, F, F]]),
            (Scope("generated"), [[F, F, F, T, T], [F, F, F, T, T]]),
            (Scope(positions=((0, 1), (3, None))), [[T, F, F, T, T], [F, F, T, F, F]]),
            (Scope(positions=((1, 3),)), [[F, T, T, F, F], [F, F, F, T, T]]),
            (Scope("generated", ((0, 2),)), [[F, F, F, F, F], [F, F, F, T, F]]),
        ],
    )
    def test_masks(self, scope: Scope, inside: list[list[bool]]) -> None:
        assert self.forward().in_scope(scope, None).view(2, 5).tolist() == inside

    def test_spans_and_what_goes_on(self) -> None:
        made = self.forward()
        found = made.in_scope(Scope(span=("o", "c")), (8, 9)).view(2, 5).tolist()
        assert found == [[T, T, T, F, T], [F, F, F, T, T]]
        assert made.trail.inside[8, 9].tolist() == [T, T]
        assert made.trail[:2] == (3, 5)
        goes_on = Trail(3, 4, {(8, 9): torch.tensor([T, F])})
        ids = torch.tensor([[1], [9]])
        after = self.forward(4, 1, ids=ids, carried=goes_on)
        assert after.in_scope(Scope(span=("o", "c")), (8, 9)).tolist() == [T, F]
        assert after.trail.inside[8, 9].tolist() == [T, F]
        closing = self.forward(4, 1, ids=torch.tensor([[9], [8]]), carried=goes_on)
        assert closing.in_scope(Scope(span=("o", "c")), (8, 9)).tolist() == [T, T]
        assert closing.trail.inside[8, 9].tolist() == [F, T]
        for trail in (None, goes_on._replace(columns=3), goes_on._replace(inside={})):
            lost = self.forward(4, 1, ids=ids, carried=trail)
            assert refused(lost.in_scope, Scope(span=("o", "c")), (8, 9)).startswith(
                "Edits between tokens need every forward of the sequence: 4 cached columns were not seen; start the generation"
            )
        three = goes_on._replace(inside={(8, 9): torch.ones(3, dtype=torch.bool)})
        assert "the batch changed from 3 to 2 rows within" in refused(
            self.forward(4, 1, ids=ids, carried=three).in_scope, Scope(span=("o", "c")), (8, 9)
        )
        assert refused(self.forward(ids=None).in_scope, Scope(span=("o", "c")), (8, 9)).startswith(
            "Edits between tokens need input"
        )

    def test_where_the_prompt_ends(self) -> None:
        rows = self.forward(prompt=(1, 4)).in_scope(Scope("prompt"), None).view(2, 5).tolist()
        assert rows == [[T, F, F, F, F], [F, F, T, T, F]]
        assert refused(self.forward(prompt=(1,)).in_scope, Scope("prompt"), None) == (
            "prompt_length was given 1 rows and this forward has 2; state one number for each."
        )
        unseen = self.forward(2, 3, prompt=None)
        with pytest.warns(UserWarning, match="taken for the whole prompt") as said:
            assert not unseen.in_scope(Scope("prompt"), None).any()
        assert str(said[0].message) == (
            "2 cached columns were computed outside of the block, and are taken for the whole prompt; if it ends elsewhere, "
            "state it with `prompt_length(columns)` from workbench.routing.positions."
        )
        cut = replace(self.forward(2, 3, prompt=None), carried=Trail(3, 5, {}))
        assert refused(cut.in_scope, Scope("prompt"), None) == (
            "Edits of one phase need to know where the prompt ends: 2 cached columns are left of a cache that was cut within "
            "its prompt; state it with `prompt_length(columns)` from workbench.routing.positions."
        )
        assert [Trail(3, 5, {}).prompt_before(n) for n in (2, 3, 9)] == [None, 3, 3]
        assert [Trail((1, 4), 5, {}).prompt_before(n) for n in (3, 4)] == [None, (1, 4)]
        assert Trail(None, 5, {}).prompt_before(9) is None

    def test_without_a_mask(self) -> None:
        made = self.forward(mask=None)
        assert (made.first_real.tolist(), made.real.tolist()) == ([0, 0], [T] * 10)
        assert self.forward().first_real.tolist() == [0, 2]
        later = self.forward(3, 2)
        assert (later.columns.tolist(), later.real.tolist()) == ([3, 4], [T] * 4)

    def test_what_is_read_off_the_arguments(self) -> None:
        ids = torch.zeros(2, 3, dtype=torch.long)
        first = read_positions({"input_ids": ids}, None)
        assert (first.batch, first.length, first.past, first.prompt_columns, first.mask) == (2, 3, 0, 3, None)
        cache = SimpleNamespace(get_seq_length=lambda: 3)
        leave_trail(first, cache, None)
        mask = torch.ones(2, 9)
        second = read_positions(
            {"inputs_embeds": torch.zeros(2, 1, 4), "past_key_values": cache, "attention_mask": mask}, None
        )
        assert (second.past, second.prompt_columns, second.ids, tuple(second.mask.shape)) == (3, 3, None, (2, 4))  # type: ignore[union-attr]
        with prompt_length([1, 2]):
            assert read_positions({"input_ids": ids, "past_key_values": cache}, None).prompt_columns == (1, 2)
        with prompt_length(2):
            assert read_positions({"input_ids": ids}, None).prompt_columns == 2
        assert refused(read_positions, {}, None).startswith("This forward has neither input_ids nor inputs_embeds, so")

    def test_a_cache_that_holds_nothing(self) -> None:
        class Bare:
            __slots__ = ()

            def get_seq_length(self) -> int:
                return 3

        ids, bare = torch.zeros(2, 1, dtype=torch.long), Bare()
        before = read_positions({"input_ids": torch.zeros(2, 3)}, None)
        assert read_positions({"input_ids": ids, "past_key_values": bare}, before).prompt_columns == 3
        for other in (None, replace(before, batch=3), replace(before, length=2)):
            assert read_positions({"input_ids": ids, "past_key_values": bare}, other).prompt_columns is None
        fresh = SimpleNamespace(get_seq_length=lambda: 3)
        assert read_positions({"input_ids": ids, "past_key_values": fresh}, before).prompt_columns is None
        assert cache_in((1, bare)) is bare
        assert cache_in(SimpleNamespace(past_key_values=fresh)) is fresh
        assert cache_in(SimpleNamespace()) is None

    def test_masks_of_many_kinds(self) -> None:
        flat = torch.tensor([[0, 1, 1, 1]])
        four = torch.tensor([[0.0, -9, -9, -9], [0, 0, -9, -9], [-9, 0, 0, -9]]).view(1, 1, 3, 4)
        assert two_dimensional(flat, 3).tolist() == [[0, 1, 1]]  # type: ignore[union-attr]
        assert two_dimensional(four, 3).tolist() == [[F, T, T]]  # type: ignore[union-attr]
        assert two_dimensional(four == 0, 4).tolist() == [[F, T, T, F]]  # type: ignore[union-attr]
        assert two_dimensional({"other": four, "full_attention": flat}, 4) is not None
        assert two_dimensional({"other": flat}, 2).tolist() == [[0, 1]]  # type: ignore[union-attr]
        assert two_dimensional(None, 3) is None

    def test_scopes_and_edits_as_text(self) -> None:
        assert parse_positions("0-3, 7,9-") == ((0, 4), (7, 8), (9, None))
        scope = Scope("prompt", ((0, 4), (7, 8), (9, None)), ("<a>", "b c"))
        assert str(scope) == 'in prompt at 0-3,7,9- between <a> "b c"'
        assert [
            Scope(x).can_meet(Scope(y)) for x, y in (("prompt", None), ("prompt", "prompt"), ("prompt", "generated"))
        ] == [T, T, F]  # type: ignore[arg-type]
        assert [
            s.is_everywhere for s in (Scope(), Scope("prompt"), Scope(positions=((0, 1),)), Scope(span=("a", "b")))
        ] == [T, F, F, F]
        edit = Edit("scale", ExpertRef(1, 4), 8, Scope("generated"))
        assert (str(edit), edit.to_dict()) == (
            "scale L1E4=8 in generated",
            {"kind": "scale", "expert": "L1E4", "value": 8.0, "phase": "generated"},
        )
        for positions, said in (
            (((2, 2),), "Positions (2, 2) hold nothing"),
            (((-1, 2),), "Positions (-1, 2) hold nothing"),
        ):
            assert refused(Scope, None, positions).startswith(said)
