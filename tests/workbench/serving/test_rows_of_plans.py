"""Plans as rows of tables: which edits hold where, who shares a row, what is free again. All by hand, without vLLM."""

import numpy as np
import pytest
import torch

from workbench import Plan
from workbench.errors import WorkbenchError
from workbench.serving.ledger import Ledger
from workbench.serving.scopes import Rows, Stretch, helds, stretches
from workbench.serving.tables import LayerTables, Vectors

CPU = torch.device("cpu")
OFF, MUTE = Plan.off("L1E2").edits, Plan.mute("L1E3").edits


def held(text: str, prompt: int = 6) -> list[tuple[int, str]]:
    found = stretches(Plan.parse(text).edits, prompt)
    return [(s.start, "; ".join(map(str, s.held))) for s in found]


class TestStretches:
    def test_a_plan_without_limits_is_one_stretch(self) -> None:
        assert held("off L1E2; mute L1E3") == [(0, "off L1E2; mute L1E3")]

    def test_a_phase_ends_where_the_prompt_does(self) -> None:
        assert held("off L1E2 in generated") == [(0, ""), (6, "off L1E2")]
        assert held("off L1E2 in prompt", 1) == [(0, "off L1E2"), (1, "")]

    def test_positions_open_and_close(self) -> None:
        expected = [(0, "off L1E2"), (3, ""), (7, "off L1E2"), (8, ""), (9, "off L1E2")]
        assert held("off L1E2 at 0-2,7,9-") == expected

    def test_limits_meet(self) -> None:
        found = held("off L1E2 in generated at 4-7; mute L1E3 at 5-")
        assert found == [(0, ""), (5, "mute L1E3"), (6, "off L1E2; mute L1E3"), (8, "mute L1E3")]

    def test_a_border_without_a_change_is_none(self) -> None:
        assert held("off L1E2 in prompt; off L1E2 in generated") == [(0, "off L1E2")]

    def test_what_may_hold_somewhere_is_all_that_holds_for_any_prompt(self) -> None:
        edits = Plan.parse("off L1E2 in generated at 4-7; mute L1E3 at 5-; drop L1E1 in prompt at 0-9,12").edits
        possible = helds(edits)
        assert len(possible) == len(set(possible))
        for prompt in range(20):
            assert {s.held for s in stretches(edits, prompt)} <= set(possible)

    def test_each_position_has_its_row(self) -> None:
        rows = Rows(np.array([0, 5, 8]), np.array([0, 3, 1]))
        assert rows.at(np.array([0, 4, 5, 7, 8, 100])).tolist() == [0, 0, 3, 3, 1, 1]


class TestLedger:
    def test_equal_edits_share_a_row_until_nobody_has_it(self) -> None:
        written = list[tuple[int, object]]()
        ledger = Ledger(3, lambda row, held: written.append((row, held)))
        assert [ledger.take(OFF), ledger.take(OFF), ledger.take(MUTE), ledger.take(())] == [1, 1, 2, 0]
        for row in (1, 2, 0):
            ledger.give_back(row)
        assert written == [(1, OFF), (2, MUTE), (2, ())]
        assert ledger.users == {1: 1}
        assert ledger.take(MUTE) == 2
        ledger.give_back(1)
        assert written[-1] == (1, ())

    def test_no_row_is_taken_twice(self) -> None:
        ledger = Ledger(2, lambda row, held: None)
        ledger.take(OFF)
        with pytest.raises(WorkbenchError, match=r"All 1 rows for edits are in use .* plan_rows=4\."):
            ledger.take(MUTE)


class TestTables:
    def tables(self, n_rows: int = 3) -> LayerTables:
        return LayerTables(n_rows, 4, Vectors(3, 2, CPU), CPU)

    def test_a_row_holds_its_edits_and_the_others_change_nothing(self) -> None:
        tables = self.tables()
        plan = Plan.parse("off L1E2; force L1E0; bias L1E1=-1.5; scale L1E3=4; scale L1E3=2; drop L1E1; mute L1E0")
        tables.write(2, plan.edits)
        rows = torch.tensor([0, 2, 1])
        hot = {"off": 2, "force": 0, "drop": 1, "mute": 0}
        for kind, expert in hot.items():
            expected = [[False] * 4, [e == expert for e in range(4)], [False] * 4]
            assert tables.of(kind, rows).tolist() == expected, kind  # type: ignore[union-attr]
        assert tables.of("bias", rows).tolist() == [[0] * 4, [0, -1.5, 0, 0], [0] * 4]  # type: ignore[union-attr]
        assert tables.of("scale", rows).tolist() == [[1] * 4, [1, 1, 1, 8], [1] * 4]  # type: ignore[union-attr]
        assert tables.edited.tolist() == tables.rerouted.tolist() == [False, False, True]

    def test_a_row_that_is_written_anew_forgets(self) -> None:
        tables, fresh = self.tables(), self.tables()
        tables.write(1, (*Plan.parse("off L1E2; force L1E0; bias L1E1=1; scale L1E3=4; drop L1E1; mute L1E0").edits,))
        tables.write(1, Plan.replace("L1E3", (1.0, 2.0)).edits)
        tables.write(1, MUTE)
        assert not tables.rerouted.any()
        assert not tables.replaced.any()
        tables.write(1, ())
        for name, table in {**tables.masks, **tables.numbers, "edited": tables.edited}.items():
            other = {**fresh.masks, **fresh.numbers, "edited": fresh.edited}[name]
            assert torch.equal(table, other), name
        assert tables.present == frozenset()
        assert tables.of("off", torch.tensor([1])) is None

    def test_vectors_are_kept_once_and_their_places_given_on(self) -> None:
        tables = self.tables()
        one, two, three = (Plan.replace(f"L1E{e}", (float(e), 1.0)).edits for e in (1, 2, 3))
        tables.write(1, (*one, *two))
        assert tables.vectors.table[tables.replaced[1]].tolist() == [[0, 0], [1, 1], [2, 1], [0, 0]]
        with pytest.raises(WorkbenchError, match=r"plan_vectors=6"):
            tables.write(2, three)
        tables.write(1, one)
        tables.vectors.keep([(1.0, 1.0)])
        tables.write(2, three)
        assert tables.vectors.table[tables.replaced[2, 3]].tolist() == [3, 1]


def test_a_stretch_is_where_its_edits_begin() -> None:
    assert stretches(OFF, 3) == [Stretch(0, OFF)]
