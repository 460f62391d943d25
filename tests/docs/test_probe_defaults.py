"""What docs/probes.md says of the defaults of `tokens`, `target` and `baseline` is what the probes' signatures say."""

import inspect
import re
from pathlib import Path

from probes.catalogue import METHODS

PAGE = (Path(__file__).parents[2] / "docs/probes.md").read_text()
SIGNATURES = {method.name: inspect.signature(method.load()).parameters for method in METHODS}


def named(text: str) -> set[str]:
    return {word for word in re.findall(r"`(\w+)`", text) if word in SIGNATURES}


def test_every_default_of_tokens_stands_in_the_table() -> None:
    own = {name: known["tokens"].default for name, known in SIGNATURES.items() if "tokens" in known}
    for default in ("prompt_content", "all"):
        (row,) = re.findall(rf"^\| `{default}` \|.*$", PAGE, re.MULTILINE)
        assert named(row) == {name for name, value in own.items() if value == default}
    assert set(own.values()) == {"content", "prompt_content", "all"}
    (without,) = re.findall(r"`super_experts` takes no `tokens`: .*$", PAGE, re.MULTILINE)
    assert named(without) == {*SIGNATURES} - {*own}


def test_who_takes_classes_is_named_and_who_needs_a_target() -> None:
    (said,) = re.findall(r"in every probe that compares classes \((.*?)\)", PAGE, re.DOTALL)
    assert named(said) == {name for name, known in SIGNATURES.items() if "baseline" in known}
    given = [name for name in named(said) if SIGNATURES[name]["target"].default is not inspect.Parameter.empty]
    assert (given, SIGNATURES["ftri"]["target"].default) == (["ftri"], "refused")
    assert "`npmi` takes a `target` alone" in PAGE
    assert "baseline" not in SIGNATURES["npmi"]
