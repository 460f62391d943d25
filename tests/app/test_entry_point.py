"""The entry point: an interrupt ends with one word and 130, anything else stays what it is."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from workbench_app import __main__ as entry
from workbench_app import cli


class Ended(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Ending the process raises `Ended`; the hooks of before are put back."""
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook

    def end() -> None:
        raise Ended

    monkeypatch.setattr(entry, "end", end)
    yield
    signal.signal(signal.SIGINT, before[0])
    sys.unraisablehook = before[1]


def test_an_interrupt_ends_it_whatever_is_raised_then(ended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
        except KeyboardInterrupt:
            raise ValueError("a library in the middle of its import") from None

    monkeypatch.setattr(cli, "app", interrupted)
    with pytest.raises(Ended):
        entry.main()


def test_what_is_no_interrupt_stays_as_it_is(ended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise ValueError("ours")

    monkeypatch.setattr(cli, "app", fails)
    with pytest.raises(ValueError, match="ours"):
        entry.main()
    monkeypatch.setattr(cli, "app", lambda: None)
    assert entry.main() is None


def test_an_interrupt_that_a_finaliser_swallows_ends_it(ended: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "app", lambda: None)
    entry.main()
    shown: list[Any] = []
    monkeypatch.setattr(sys, "__unraisablehook__", shown.append)
    other = SimpleNamespace(exc_value=ValueError())
    sys.unraisablehook(other)  # pyright: ignore[reportArgumentType]
    assert shown == [other]
    with pytest.raises(Ended):
        sys.unraisablehook(SimpleNamespace(exc_value=KeyboardInterrupt()))  # pyright: ignore[reportArgumentType]


def within(name: str, do: Callable[[], Any]) -> None:
    """Calls it from a module that calls itself `name`."""
    exec("do()", {"__name__": name, "do": do})


@pytest.mark.parametrize(
    ("name", "importing"),
    [("importlib._bootstrap", True), ("_frozen_importlib", True), ("importlib", False), ("ours", False)],
)
def test_an_import_is_seen_anywhere_below(
    name: str, importing: bool, ended: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the frame on top is of another module."""
    found: list[bool] = []
    within(name, lambda: found.append(entry.is_importing(sys._getframe())))
    assert found == [importing]

    swallowed: list[str] = []

    def app() -> None:
        try:
            within(name, lambda: os.kill(os.getpid(), signal.SIGINT))
        except KeyboardInterrupt:
            swallowed.append("unwound")  # not during an import: everything on the way is unwound first

    monkeypatch.setattr(cli, "app", app)
    if importing:
        with pytest.raises(Ended):
            entry.main()
    else:
        entry.main()
    assert swallowed == ([] if importing else ["unwound"])


def test_the_end_is_one_word_and_130(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    entry.end()
    assert (codes, capsys.readouterr().err) == ([130], "Stopped.\n")
