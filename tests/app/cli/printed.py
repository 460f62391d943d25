"""A command is run, what it prints is read, and what it hands to the library is kept."""

from types import SimpleNamespace
from typing import Any

from typer.testing import CliRunner
from workbench_app.cli import app

from tests.support.stores import anatomy
from workbench.anatomy import Anatomy
from workbench.backends import Capabilities
from workbench.routing import DoseCounts

NAN = float("nan")
SHAPE = anatomy(n_experts=8)
NATIVE = Capabilities("native")
DOSE = DoseCounts(10, 3, 60, 4, 0)


def run(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def sentence(result: Any) -> str:
    """What a refused command said: exit code 2, nothing on stdout, no traceback; joined into one line."""
    assert result.exit_code == 2, (result.output, result.exception)
    assert not result.stdout
    assert "Traceback" not in result.stderr
    assert "Usage:" not in result.stderr
    return " ".join(result.stderr.split())


def lines(text: str) -> list[str]:
    """Without the blanks that fill a line, and the empty lines around tables."""
    return [line.rstrip() for line in text.splitlines() if line.strip()]


def columns(text: str) -> list[list[str]]:
    """The lines of a page, cut where two blanks or more stand; rules are left out."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()]
        for line in lines(text)
        if set(line.strip()) != {"─"}
    ]


class Recorder:
    """Stands where a function of the library stands; keeps what it was given and returns what it is told to."""

    def __init__(self, answer: Any) -> None:
        self.answer, self.named = answer, dict[str, Any]()
        self.given: tuple[Any, ...] = ()

    def __call__(self, *given: Any, **named: Any) -> Any:
        self.given, self.named = given, named
        return self.answer(*given, **named) if callable(self.answer) else self.answer


def model(shape: Anatomy = SHAPE, template: str | None = "a template", can: Capabilities = NATIVE) -> Any:
    """Stands where a loaded model stands, on an engine that can do so much."""
    made = SimpleNamespace(anatomy=shape, tokenizer=SimpleNamespace(chat_template=template), local=None)
    made.engine = lambda own: SimpleNamespace(can=can, facts=own)
    return made
