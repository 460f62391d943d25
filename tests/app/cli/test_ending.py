"""How a command ends: the version, errors, wrong options, notes and warnings."""

import warnings
from typing import Any

import pytest

from tests.app.cli.printed import model, run
from workbench import WorkbenchError, __version__
from workbench.errors import NotCompared
from workbench.storage import Outage

pytestmark = pytest.mark.usefixtures("wide")


def test_the_version_is_one_line() -> None:
    said = run("--version")
    assert (said.exit_code, said.stdout) == (0, f"workbench {__version__}\n")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (WorkbenchError("No."), 2, "No.\n"),
        (Outage("Gone."), 2, "Gone. The command that goes on: workbench inspect 'a model'\n"),
        (
            OSError(28, "No space left on device", "/a/file"),
            2,
            "No space left on device: '/a/file'; choose another place.\n",
        ),
        (OSError(28, "No space left on device"), 2, "[Errno 28] No space left on device\n"),
        (OSError("odd"), 2, "odd\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_ends_a_command(error: BaseException, code: int, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("workbench_app.cli.models.open_model", fails)
    found = run("inspect", "a model")
    assert (found.exit_code, found.stdout, found.stderr) == (code, "", said)


def test_a_wrong_option_says_where_help_is() -> None:
    assert (
        run("inspect", "m", "--zz").stderr == "No such option: --zz; 'workbench inspect -h' says what can be given.\n"
    )
    assert run("--zz").stderr == "No such option: --zz; 'workbench -h' says what can be given.\n"
    assert run("store", "zz").stderr == "No such command 'zz'; 'workbench store -h' says what can be given.\n"
    assert "Commands:" in run().output
    assert run("-h").exit_code == 0


def test_a_note_of_ours_is_a_line_and_anothers_warning_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def warns(*_: Any) -> Any:
        warnings.warn("it was not compared", NotCompared, stacklevel=1)
        for _ in range(2):  # each is shown once
            warnings.warn("a library's own", UserWarning, stacklevel=1)
            warnings.warn("it was not compared", NotCompared, stacklevel=1)
        return model()

    before = warnings.showwarning
    monkeypatch.setattr("workbench_app.cli.models.open_model", warns)
    theirs: list[Any] = []
    monkeypatch.setattr(
        "workbench_app.cli.group.PYTHONS_OWN", lambda message, category, *rest: theirs.append((str(message), category))
    )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            said = run("inspect", "m")
    finally:
        warnings.showwarning = before
    assert said.stderr == "it was not compared\n"
    assert theirs == [("a library's own", UserWarning)]
