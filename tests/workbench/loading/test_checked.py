"""A checkpoint that passed the check is known by all that the check depends on; whatever else is there is checked."""

import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import workbench.loading.checked as checked
import workbench.loading.loader as loader
from workbench import load
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.loading.files import hashed_meanwhile
from workbench.paths import cache_folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in several files."""
    folder = tmp_path_factory.mktemp("made")
    tiny_model("mixtral").save_pretrained(folder, max_shard_size="100KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    return folder


@pytest.fixture
def checkpoint(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of one's own, and a cache that knows nothing."""
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    return Path(shutil.copytree(made, tmp_path / "checkpoint"))


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., int]]:
    """Loads, and says how often that checked by intervening."""
    own, ran = loader.check_by_intervening, list[Any]()

    def counted(model: Any) -> None:
        ran.append(model)
        own(model)

    monkeypatch.setattr(loader, "check_by_intervening", counted)

    def loads(source: Any, **options: Any) -> int:
        before, at = len(ran), {"device": "cpu"} if isinstance(source, str | Path) else {}
        load(source, tiny_tokenizer(), **at, **options)
        return len(ran) - before

    return loads


def entries() -> list[Path]:
    return sorted((cache_folder() / "checked").glob("*"))


def test_a_checkpoint_is_checked_once(checkpoint: Path, checks: Callable[..., int], tmp_path: Path) -> None:
    assert [checks(checkpoint) for _ in range(3)] == [1, 0, 0]
    assert checks(checkpoint, check=True) == 1
    assert len(entries()) == 1
    moved = shutil.copytree(checkpoint, tmp_path / "elsewhere")
    assert checks(moved) == 0, "the same bytes in another folder"


def test_without_a_check_nothing_is_kept(checkpoint: Path, checks: Callable[..., int]) -> None:
    assert checks(checkpoint, check=False) == 0
    assert entries() == []
    assert checks(checkpoint) == 1


def test_a_model_that_fails_is_not_kept(checkpoint: Path, checks: Callable[..., int]) -> None:
    hf = tiny_model("mixtral")
    with torch.no_grad():
        for weight in hf.model.layers[1].mlp.experts.parameters():
            weight.zero_()
    hf.save_pretrained(checkpoint, max_shard_size="100KB")
    for _ in range(2):
        with pytest.raises(ValueError, match="changed no logit"):
            checks(checkpoint)
    assert entries() == []


def digest_of(folder: Path) -> str | None:
    with hashed_meanwhile(str(folder), {}) as found:
        return found()


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def places(file: Path) -> Iterator[int]:
    """The lowest byte of a number in the middle of each tensor: the smallest change that there is."""
    data = file.read_bytes()
    size = int.from_bytes(data[:8], "little")
    for name, tensor in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            start, end = tensor["data_offsets"]
            yield 8 + size + start + (end - start) // 8 * 4


def test_a_byte_that_changes_in_any_tensor_is_noticed(checkpoint: Path) -> None:
    first, seen, tensors = digest_of(checkpoint), set[str | None](), 0
    for file in sorted(checkpoint.glob("*.safetensors")):
        for place in places(file):
            flip(file, place)
            seen.add(digest_of(checkpoint))
            flip(file, place)
            tensors += 1
    assert tensors > 20
    assert len(seen | {first, None}) == tensors + 2, "each is a hash of its own"
    assert digest_of(checkpoint) == first


def test_a_flipped_byte_is_checked_again(checkpoint: Path, checks: Callable[..., int]) -> None:
    assert checks(checkpoint) == 1
    for file in sorted(checkpoint.glob("*.safetensors")):
        flip(file, next(places(file)))
        assert checks(checkpoint) == 1, file.name
        assert checks(checkpoint) == 0


def test_a_large_file_is_hashed_to_its_end(tmp_path: Path) -> None:
    """In pieces by several threads: every one of them, in their order."""
    (tmp_path / "config.json").write_text("{}")
    file, step, found = tmp_path / "model.safetensors", 16 << 20, set[str | None]()
    for data in ({}, {0: b"a"}, {step - 1: b"a"}, {step: b"a"}, {2 * step: b"a"}, {2 * step + 6: b"a"}):
        with file.open("wb") as out:
            out.truncate(2 * step + 7)
            for place, byte in data.items():
                out.seek(place)
                out.write(byte)
        found.add(digest_of(tmp_path))
    with file.open("r+b") as out:
        out.truncate(2 * step)
    found.add(digest_of(tmp_path))
    assert None not in found
    assert len(found) == 7


def test_files_that_an_index_names_elsewhere_are_hashed(tmp_path: Path) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"w": "parts/a", "v": "parts/a"}}')
    (tmp_path / "parts" / "a").write_text("1")
    first = digest_of(tmp_path)
    (tmp_path / "parts" / "a").write_text("2")
    assert first != digest_of(tmp_path)
    (tmp_path / "parts" / "a").unlink()
    assert digest_of(tmp_path) is None


def test_the_base_of_an_adapter_is_hashed(checkpoint: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(checkpoint)}))
    first = digest_of(adapter)
    flip(checkpoint / "config.json", 0)
    assert None not in (first, digest_of(adapter))
    assert first != digest_of(adapter)
    for base in ("not/here", 3, None):
        (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": base}))
        assert digest_of(adapter) is None


def test_a_name_of_the_hub_is_hashed_once_it_is_here(checkpoint: Path, tmp_path: Path) -> None:
    """As the hub's client keeps it: links in a snapshot, of the commit that a branch names."""
    commit, kept = "0" * 40, tmp_path / "hub" / "models--some--model"
    with hashed_meanwhile("some/model", {"cache_dir": str(tmp_path / "hub")}) as found:
        assert found() is None
        (kept / "refs").mkdir(parents=True)
        (kept / "refs" / "main").write_text(commit)
        shutil.copytree(checkpoint, kept / "snapshots" / commit)
        assert found() == digest_of(checkpoint)


OPTIONS: dict[str, dict[str, Any]] = {
    "dtype": {"dtype": "bfloat16"},
    "device map": {"device_map": {"": "cpu"}},
    "attention": {"attn_implementation": "eager"},
    "experts": {"experts_implementation": "eager"},
    "config": {"num_experts_per_tok": 3},
}


@pytest.mark.parametrize("what", OPTIONS)
def test_other_options_are_checked_for_themselves(checkpoint: Path, checks: Callable[..., int], what: str) -> None:
    assert checks(checkpoint) == 1
    assert [checks(checkpoint, **OPTIONS[what]) for _ in range(2)] == [1, 0]
    assert checks(checkpoint) == 0


@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json", "generation_config.json"])
def test_other_files_are_checked_for_themselves(checkpoint: Path, checks: Callable[..., int], name: str) -> None:
    assert checks(checkpoint) == 1
    with (checkpoint / name).open("a") as file:
        file.write("\n")
    assert [checks(checkpoint) for _ in range(2)] == [1, 0]


@pytest.mark.parametrize("module", ["torch", "transformers", "workbench.loading.checked", "platform"])
def test_other_versions_and_processors_are_checked_for_themselves(
    checkpoint: Path, checks: Callable[..., int], module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checks(checkpoint) == 1
    there = importlib.import_module(module)
    with monkeypatch.context() as changed:
        if module == "platform":
            changed.setattr(there, "machine", lambda: "another machine")
        else:
            changed.setattr(there, "__version__", type(there.__version__)(f"{there.__version__}.other"))
        assert [checks(checkpoint) for _ in range(2)] == [1, 0]
    assert checks(checkpoint) == 0


def test_a_forward_that_was_replaced_is_checked_for_itself(
    checkpoint: Path, checks: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert checks(checkpoint) == 1
    kind = type(tiny_model("mixtral").model.layers[0].mlp)
    own = kind.forward
    monkeypatch.setattr(kind, "forward", lambda self, hidden: own(self, hidden))
    assert checks(checkpoint) == 1


@pytest.mark.parametrize("part", ["files", "options", "config", "map", "adapters", "dtype", "device", "attention",
                                  "experts", "code", "versions", "processor"])  # fmt: skip
def test_each_part_of_an_entry_counts(
    checkpoint: Path, checks: Callable[..., int], part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = list[dict[str, Any]]()
    monkeypatch.setattr(loader, "note_checked", found.append)
    checks(checkpoint)
    (entry,) = found
    assert part in entry
    checked.note_checked(entry)
    assert checked.was_checked(entry)
    for other in ("other", None, [entry[part]]):
        assert not checked.was_checked({**entry, part: other})
    assert not checked.was_checked({name: value for name, value in entry.items() if name != part})


def test_every_part_is_tested(checkpoint: Path, checks: Callable[..., int]) -> None:
    checks(checkpoint)
    (file,) = entries()
    marks = getattr(test_each_part_of_an_entry_counts, "pytestmark")  # noqa: B009
    assert set(json.loads(file.read_text())) == set(marks[0].args[1])


DAMAGE: dict[str, Callable[[str], bytes]] = {
    "empty": lambda text: b"",
    "cut": lambda text: text[: len(text) // 2].encode(),
    "no text": lambda text: b"\xff\xfe\x00",
    "no JSON": lambda text: b"checked",
    "no object": lambda text: b"[]",
    "deep": lambda text: b"[" * 100_000,
    "another model's": lambda text: text.replace('"files": "', '"files": "0').encode(),
    "a part less": lambda text: json.dumps({k: v for k, v in json.loads(text).items() if k != "versions"}).encode(),
    "a part more": lambda text: json.dumps({**json.loads(text), "more": 1}).encode(),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_or_foreign_entry_is_none(checkpoint: Path, checks: Callable[..., int], how: str) -> None:
    checks(checkpoint)
    (file,) = entries()
    file.write_bytes(DAMAGE[how](file.read_text()))
    assert [checks(checkpoint) for _ in range(2)] == [1, 0], "it is written anew"


def test_an_entry_that_is_a_folder_is_none(checkpoint: Path, checks: Callable[..., int]) -> None:
    checks(checkpoint)
    (file,) = entries()
    file.unlink()
    file.mkdir()
    assert [checks(checkpoint) for _ in range(2)] == [1, 1]
    assert entries() == [file], "nothing half-written stays"


def test_a_cache_that_cannot_be_written_is_no_error(
    checkpoint: Path, checks: Callable[..., int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "file" / "cache"))
    assert [checks(checkpoint) for _ in range(2)] == [1, 1]


def test_two_at_once_write_one_entry(checkpoint: Path, checks: Callable[..., int]) -> None:
    from concurrent.futures import ThreadPoolExecutor

    checks(checkpoint)
    entry = json.loads(entries()[0].read_text())
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(checked.note_checked, [entry] * 40))
        assert all(pool.map(checked.was_checked, [entry] * 40))
    assert len(entries()) == 1


def test_models_built_in_memory_are_always_checked(checkpoint: Path, checks: Callable[..., int]) -> None:
    from transformers import AutoModelForCausalLM

    assert [checks("tiny/mixtral") for _ in range(2)] == [1, 1]
    for _ in range(2):
        assert checks(AutoModelForCausalLM.from_pretrained(checkpoint)) == 1
    assert entries() == []


@pytest.mark.parametrize("options", [{"trust_remote_code": True}, {"config": None}])
def test_what_no_file_tells_is_always_checked(
    checkpoint: Path, checks: Callable[..., int], options: dict[str, Any]
) -> None:
    from transformers import AutoConfig

    options = {
        name: AutoConfig.from_pretrained(checkpoint) if value is None else value for name, value in options.items()
    }
    assert [checks(checkpoint, **options) for _ in range(2)] == [1, 1]
    assert entries() == []


def test_the_users_own_cache_stays_as_it_is() -> None:
    assert cache_folder() == Path(os.environ["WORKBENCH_CACHE"])
    assert not cache_folder().is_relative_to(Path.home() / ".cache")
