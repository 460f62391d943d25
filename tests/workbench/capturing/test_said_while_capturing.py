"""What a capture says before and while it runs, to the letter: sizes, whether the disk holds it, progress, time left."""

import io
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.support.stores import anatomy
from workbench.capturing import Estimate, check_disk, estimate
from workbench.capturing.sizes import readable
from workbench.errors import WorkbenchError
from workbench.generation import Schedule, padded, prompt_seeds, schedule
from workbench.progress import Meter, Progress, ProgressLines, duration
from workbench.shards.parquet import rows_per_group

ALL = {"norms", "residual", "logits", "outputs"}


class TestSizes:
    """Layer 0 is dense; 1 and 2 have 5 experts of which 2 are selected, and a shared one; hidden size 4."""

    def test_every_table_by_hand(self) -> None:
        shape = anatomy(n_shared=1)
        found = estimate(shape, 1000, ALL)
        assert found == Estimate(
            1000,
            {
                "tokens": 4_000,
                "slots": 1000 * 2 * (2 + 1) * (5 + 9),
                "residual": 1000 * (3 + 1) * 16,
                "logits": 37_500,  # 2 layers of 5 at 3.7, and 0.5 of keys
                "outputs": 91_800,  # a token has 2 layers x (2 + 1) vectors of 4 at 3.7, and 0.5 of keys
            },
        )
        assert found.total == 281_300
        assert str(found) == (
            "about 281 kB for 1,000 tokens (tokens 4.0 kB, slots 84 kB, residual 64 kB, logits 38 kB, outputs 92 kB)"
        )

    def test_what_is_left_out_takes_nothing(self) -> None:
        bare = estimate(anatomy(n_shared=1), 1000, ())
        assert bare.tables == {"tokens": 4_000, "slots": 30_000, "residual": 0, "logits": 0, "outputs": 0}
        assert str(bare) == "about 34 kB for 1,000 tokens (tokens 4.0 kB, slots 30 kB)"

    def test_layers_and_experts_limit_logits_and_outputs(self) -> None:
        shape = anatomy(n_shared=1)
        one = estimate(shape, 1000, ALL, layers=[1]).tables
        assert (one["logits"], one["outputs"]) == (19_000, 45_900)
        two = estimate(shape, 1000, ALL, experts=[(1, 0), (2, -1)]).tables  # 2 of 5 tokens, and every token
        assert (two["logits"], two["outputs"]) == (37_500, 21_420)
        assert estimate(shape, 1000, ALL, [1], [(1, 0), (2, -1)]).tables["outputs"] == 6_120

    @pytest.mark.parametrize(
        ("size", "text"),
        [
            *((999.4, "999 B"), (999.5, "1.0 kB"), (1000, "1.0 kB"), (9_940, "9.9 kB"), (9_950, "10 kB")),
            *((999_499, "999 kB"), (999_500, "1.0 MB"), (2_340_000, "2.3 MB"), (7e9, "7.0 GB"), (12e9, "12 GB")),
            *((999.5e9, "1.0 TB"), (1_234.5e12, "1234.5 TB"), (3, "3 B")),
        ],
    )
    def test_readable(self, size: float, text: str) -> None:
        assert readable(size) == text

    def test_the_disk_of_the_nearest_folder_is_asked(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        asked, free = [], [281_300]

        def usage(folder: Path) -> SimpleNamespace:
            asked.append(folder)
            return SimpleNamespace(total=10**9, used=10**8, free=free[0])

        monkeypatch.setattr(shutil, "disk_usage", usage)
        needed = estimate(anatomy(n_shared=1), 1000, ALL)
        check_disk(tmp_path / "a" / "b", needed)  # exactly enough
        assert asked == [tmp_path]
        free[0] -= 1
        with pytest.raises(WorkbenchError) as caught:
            check_disk(tmp_path, needed)
        assert str(caught.value) == (
            f"The store '{tmp_path}' needs {needed}, and its disk has 281 kB free; free some space, keep fewer tables, or limit "
            f"layers and experts."
        )


class TestProgress:
    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            *((0, "0 s"), (8.4, "8 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s")),
            *((3_599, "59 min 59 s"), (3_600, "1 h 00 min"), (7_529, "2 h 05 min"), (90_000, "25 h 00 min")),
        ],
    )
    def test_duration(self, seconds: float, said: str) -> None:
        assert duration(seconds) == said

    def test_a_line(self) -> None:
        half = Progress(1_500, 3_000, 2.0)
        assert (half.tokens_per_second, half.seconds_left) == (750, 2)
        assert str(half) == " 50 % of 3,000 tokens, 750 tokens/s, 2 s left"
        assert str(Progress(0, 3_000, 2.0)) == "  0 % of 3,000 tokens, 0 tokens/s"
        assert str(Progress(0, 1, 0.5)) == "  0 % of 1 tokens, 0 tokens/s"
        assert str(Progress(1, 1, 0.5)) == "100 % of 1 tokens, 2 tokens/s, 0 s left"
        assert str(Progress(1, 2, 0.5, "Writing")) == "Writing"
        assert Progress(0, 5, 1.0).seconds_left is None
        assert Progress(3, 5, 0.0).tokens_per_second == 0

    def test_a_meter_reports_every_step(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock, seen = [100.0], list[Progress]()
        monkeypatch.setattr("time.monotonic", lambda: clock[0])
        meter = Meter(50, seen.append)
        for step in (lambda: meter.say("Begins"), lambda: meter.forwarded(20), lambda: meter.skip(5)):
            clock[0] += 1.5
            step()
        meter.forwarded(25)
        assert seen == [
            Progress(0, 50, 1.5, "Begins"),
            Progress(20, 50, 3.0, ""),
            Progress(20, 45, 4.5, ""),
            Progress(45, 45, 4.5, ""),
        ]
        assert meter.forwards == 2

    def test_a_terminal_and_a_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        clock = [0.0]
        monkeypatch.setattr("time.monotonic", lambda: clock[0])
        bar, done = "#" * 16 + "." * 8, "#" * 24
        steps = [(0.25, 100), (0.5, 100), (0.6, 100)]  # not yet after a quarter of a second; the last one always
        assert self._written(clock, steps, terminal=True) == [
            "\r\033[KCapturing\n",
            f"\r\033[K{bar}  67 % of 300 tokens, 400 tokens/s, 0 s left",
            f"\r\033[K{done} 100 % of 300 tokens, 500 tokens/s, 0 s left\n",
        ]
        clock[0] = 0.0
        steps = [(10.0, 100), (10.5, 100), (11.0, 100)]  # a line every ten seconds, none at the end
        found = self._written(clock, steps, terminal=False)
        assert found == ["Capturing\n", " 67 % of 300 tokens, 19 tokens/s, 5 s left\n", ""]

    def test_odd_ends_of_the_bar(self) -> None:
        stream = io.StringIO()
        stream.isatty = lambda: True  # type: ignore[method-assign]
        lines = ProgressLines(stream)
        lines(Progress(5, 4, 1.0))
        lines(Progress(0, 0, 1.0))
        lines.last = -1e9  # long ago
        lines(Progress(0, 1, 1.0))
        lines(Progress(9, 4, 1.0, "Said"))
        full = f"\r\033[K{'#' * 24}"
        assert stream.getvalue() == (
            f"{full} 100 % of 4 tokens, 5 tokens/s, 0 s left\n{full} 100 % of 0 tokens, 0 tokens/s\n"
            f"\r\033[K{'.' * 24}   0 % of 1 tokens, 0 tokens/s\r\033[KSaid\n"
        )

    def test_lines_go_to_stderr_unless_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        ProgressLines()(Progress(0, 9, 0.0, "Hello"))
        assert capsys.readouterr() == ("", "Hello\n")

    def _written(self, clock: list[float], steps: list[tuple[float, int]], *, terminal: bool) -> list[str]:
        """What was flushed at a time."""
        flushed = list[str]()

        class Stream(io.StringIO):
            def isatty(self) -> bool:
                return terminal

            def flush(self) -> None:
                flushed.append(self.getvalue())

        meter = Meter(300, ProgressLines(Stream()))
        meter.say("Capturing")
        for clock[0], tokens in steps:
            meter.forwarded(tokens)
        return [now.removeprefix(before) for before, now in zip(["", *flushed], flushed, strict=False)]


class TestBatches:
    def test_a_plan_of_batches_and_shards_by_hand(self) -> None:
        """Longest first, equal ones in their order; 2 more may be generated for each; 12 tokens a batch, 20 a shard."""
        plan = schedule([4, 2, 4, 1, 1, 1], 12, extra=2, shard_tokens=20)
        # 4 + 2 twice; 2 + 2 three times; 1 + 2 alone
        assert plan == Schedule(((0, 2), (1, 3, 4), (5,)), ((0,), (1, 2)))
        assert schedule([4, 4, 4, 4], 4, shard_tokens=8) == Schedule(((0,), (1,), (2,), (3,)), ((0, 1), (2, 3)))
        assert schedule([9], 4, shard_tokens=1) == Schedule(((0,),), ((0,),))
        assert schedule([], 4) == Schedule((), ())

    def test_seeds_are_the_first_53_bits_of_a_checksum(self) -> None:
        """By sha256sum of "0:a" and of "7:\u00e9t\u00e9"."""
        assert prompt_seeds(["a"], 0) == (0x9DF3C5FAB8EF8FE7 // 2048,)
        assert prompt_seeds(["b", "\u00e9t\u00e9"], 7)[1] == 0x32E41D87D26B31BA // 2048

    def test_padding_and_its_mask(self) -> None:
        ids, mask = padded([[1, 2, 3], [4], [5, 6]], 9, left=False)
        assert ids.tolist() == [[1, 2, 3], [4, 9, 9], [5, 6, 9]]
        assert mask.tolist() == [[1, 1, 1], [1, 0, 0], [1, 1, 0]]
        ids, mask = padded([[4], [5, 6]], 9, left=True)
        assert (ids.tolist(), mask.tolist()) == ([[9, 4], [5, 6]], [[0, 1], [1, 1]])


@pytest.mark.parametrize(
    ("rows", "size", "group"),
    [(1000, 2**30, 125), (1000, 2**20, 128_000), (1, 2**40, 1), (5, 0, 5 * 2**27), (3, 3 * 2**27, 1), (4, 2**28, 2)],
)
def test_rows_of_a_row_group_of_128_mebibytes(rows: int, size: int, group: int) -> None:
    assert rows_per_group(SimpleNamespace(num_rows=rows, nbytes=size)) == group  # type: ignore[arg-type]
