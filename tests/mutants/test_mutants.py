"""The planting itself: mistakes stand where they say, the operators make what they name, and ten of those by hand are caught."""

import ast
import random
from itertools import islice
from pathlib import Path

import pytest

from tests.mutants.by_hand import by_hand, equivalent, line_of
from tests.mutants.covering import Covering
from tests.mutants.drawn import draw, places
from tests.mutants.mutant import ROOT, Mutant
from tests.mutants.operators import mutants

CODE = '''
"""Words < words."""
import os

def f(x: "int" = 3, y: list[int] = [1]) -> int:
    if x < len(y) and os.sep:
        raise ValueError("no")
    y[0] = 2
    y.append(x)
    total = x.sum(dim=-1)
    return g(x, total, flag=True)
'''


def test_mistakes_by_hand_stand_once_in_their_file_name_their_tests_and_parse() -> None:
    found, inherited = by_hand(), (ROOT / "workbench/backends/contract.py").read_text(encoding="utf-8")
    assert len({(m.file, m.start, m.new) for m in found}) == len(found)
    for mutant in found:
        text = (ROOT / mutant.file).read_text(encoding="utf-8")
        ast.parse(mutant.applied(text))
        assert mutant.tests, mutant.name
        for test in mutant.tests:
            path, *names = test.split("[")[0].split("::")
            source = (ROOT / path).read_text(encoding="utf-8") + inherited  # tests that every engine inherits
            assert all(f"def {n}(" in source or f"class {n}" in source for n in names), f"{mutant.name}: no test {test}"


def test_the_operators_make_every_mistake_they_name_and_none_in_words() -> None:
    made = {(m.kind, m.old, m.new) for m in mutants("f.py", CODE)}
    assert made == {
        ("comparison", "x < len(y)", "x <= len(y)"),
        ("comparison", "x < len(y) and os.sep", "((x < len(y)) or (os.sep))"),
        ("dropped line", 'raise ValueError("no")', "pass"),
        ("dropped line", "y[0] = 2", "pass"),
        ("dropped line", "y.append(x)", "pass"),
        ("boundary", "0", "1"),
        ("constant", "3", "6"),
        ("constant", "1", "2"),
        ("constant", "2", "4"),
        ("constant", "True", "False"),
        ("axis", "-1", "0"),
        ("swapped argument", "g(x, total, flag=True)", "g(total, x, flag=True)"),
        ("constant", "1", "2"),
    }


def test_every_drawn_mistake_parses_and_a_seed_draws_the_same_again() -> None:
    some = list(islice(draw(3), 1500))
    assert some[:50] == list(islice(draw(3), 50)) != list(islice(draw(4), 50))
    assert {m.kind for m in some} == {"comparison", "boundary", "axis", "constant", "dropped line", "swapped argument"}
    assert {m.file.split("/")[0] for m in some} == {"workbench", "probes", "app", "data"}
    for mutant in some[::7]:
        ast.parse(mutant.applied((ROOT / mutant.file).read_text(encoding="utf-8")))


def test_the_tests_of_a_line_are_quick_first_and_one_of_each_function() -> None:
    seconds = {"a::x[1]": 0.5, "a::x[2]": 0.1, "b::y": 0.3, "c::z": 0.2}
    covering = Covering({("f.py", 3): {"a::x[1]", "a::x[2]", "b::y"}, ("f.py", 9): {"c::z", "gone"}}, seconds)
    assert covering.of("f.py", range(3, 4)) == ["a::x[2]", "b::y", "a::x[1]"]
    assert covering.of("f.py", range(9, 10)) == ["c::z"], "a test that fails by itself judges nothing"
    assert covering.of("f.py", range(1, 2)) == ["a::x[2]", "c::z", "b::y", "a::x[1]"], "run at import: the whole file's"
    assert covering.of("g.py", range(3, 4)) == []


def test_what_is_called_equivalent_can_be_drawn_and_says_why() -> None:
    """Else an entry is left behind by code that moved, and hides nothing."""
    made = {line_of(m) for found in places().values() for m in found}
    assert set(equivalent()) <= made
    assert all(len(why) > 20 for why in equivalent().values())


@pytest.mark.slow
def test_ten_of_them_are_caught(tmp_path: Path) -> None:
    """Each mistake is planted in a copy; its own tests notice it, with an assertion, not by breaking."""
    from tests.mutants.running import run

    some = random.Random(5).sample(by_hand(), 10)
    found: list[tuple[Mutant, str, str]] = []
    for mutant, outcome in run(some, lambda m: list(m.tests), tmp_path, workers=1):
        found.append((mutant, outcome.outcome, outcome.by))
    assert [(m.name, how, by) for m, how, by in found if how != "caught"] == []
    assert len(found) == len(some)
