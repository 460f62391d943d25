"""Progress as a line, on a terminal and elsewhere."""

import io

import pytest

from workbench.progress import Meter, Progress, ProgressLines


class TestProgress:
    def test_a_line(self) -> None:
        line = str(Progress(done=250, total=1000, seconds=10))
        assert line == " 25 % of 1,000 tokens, 25 tokens/s, 30 s left"
        assert str(Progress(0, 0, 0)) == "100 % of 0 tokens, 0 tokens/s"

    def test_more_than_was_thought(self) -> None:
        assert str(Progress(done=1310, total=1000, seconds=10)) == "100 % of 1,000 tokens, 131 tokens/s, 0 s left"
        assert str(Progress(done=10, total=-5, seconds=10)) == "100 % of -5 tokens, 1 tokens/s, 0 s left"

    def test_lines_on_a_terminal_and_elsewhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = [0.0]
        monkeypatch.setattr("time.monotonic", lambda: clock[0])
        plain, terminal = io.StringIO(), io.StringIO()
        terminal.isatty = lambda: True  # type: ignore[method-assign]
        for stream in (plain, terminal):
            meter = Meter(300, ProgressLines(stream))
            meter.say("Capturing")
            for _ in range(3):
                clock[0] += 6
                meter.forwarded(100)
        assert plain.getvalue().splitlines() == ["Capturing", " 67 % of 300 tokens, 17 tokens/s, 6 s left"]
        assert terminal.getvalue().count("\r") == 4
        assert terminal.getvalue().endswith("\n")
