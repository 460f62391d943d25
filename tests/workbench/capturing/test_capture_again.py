"""A capture that is there, or cannot be: returned without a forward, refused in a sentence, or gone on with."""

import errno
import itertools
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.support.families import get
from tests.support.stores import assert_same_content
from tests.workbench.capturing.small import EVERYTHING, PROMPTS, counted, fingerprint, quiet
from workbench import ExpertRef, Plan, WorkbenchError, capture, open_store, read_prompts, storage
from workbench.capturing import Estimate
from workbench.model import MoEModel
from workbench.shards import SAMPLED, ShardWriter


def test_a_complete_store_is_returned_without_a_forward(model: MoEModel, tmp_path: Path) -> None:
    quiet(model, tmp_path / "store")
    before, files = fingerprint(tmp_path), {f: f.stat().st_ino for f in tmp_path.rglob("*")}
    with counted(model) as forwards:
        quiet(model, tmp_path / "store")
    assert forwards == []
    assert fingerprint(tmp_path) == before
    assert {f: f.stat().st_ino for f in tmp_path.rglob("*")} == files, "written once more"


def test_hooks_modes_and_gradients_are_as_they_were(model: MoEModel, tmp_path: Path) -> None:
    """Also where the user trains: a hook of theirs stays and fires, modules in training stay there, gradients flow."""
    ids, seen = torch.tensor([[5, 6, 7]]), list[int]()
    with torch.no_grad():
        before = model.hf(ids).logits
    theirs = model.hf.model.layers[0].mlp.register_forward_hook(lambda *_: seen.append(1))
    in_training, frozen = model.hf.model.layers[1].mlp, model.hf.get_input_embeddings().weight
    in_training.train()
    frozen.requires_grad_(False)
    state = [(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.hf.named_modules()]
    wanting = {n: p.requires_grad for n, p in model.hf.named_parameters()}
    try:
        quiet(model, tmp_path / "store", generate=2)
        assert seen, "the user's own hook fires during a capture"
        after = [(n, m.training, len(m._forward_hooks), len(m._forward_pre_hooks)) for n, m in model.hf.named_modules()]
        assert after == state
        assert {n: p.requires_grad for n, p in model.hf.named_parameters()} == wanting
        assert torch.is_grad_enabled()
        loss = model.hf(ids).logits.float().logsumexp(-1).sum()
        (gradient,) = torch.autograd.grad(loss, in_training.experts.down_proj)
        assert gradient.abs().sum() > 0
    finally:
        theirs.remove()
        in_training.eval()
        frozen.requires_grad_(True)
    with torch.no_grad():
        assert torch.equal(model.hf(ids).logits, before)


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"generate": 2}, r"was begun with another generate \(0 there, 2 here\).*; nothing was changed"),
        ({"keep": {"norms"}}, "was begun with another keep"),
        ({"prompts": PROMPTS[:2]}, "was begun with another prompt set"),
        ({"batch_tokens": 30}, "was begun with another batch_tokens"),
        ({"seed": 1}, "was begun with another seed"),
        ({"resume": False}, "already holds a store; choose another folder, or resume=True"),
    ],
)
def test_another_request_changes_nothing(model: MoEModel, tmp_path: Path, how: Any, sentence: str) -> None:
    quiet(model, tmp_path / "store")
    before = fingerprint(tmp_path)
    with pytest.raises(WorkbenchError, match=sentence):
        quiet(model, tmp_path / "store", **how)
    assert fingerprint(tmp_path) == before


def test_another_model_is_refused(model: MoEModel, tmp_path: Path) -> None:
    quiet(model, tmp_path / "store")
    before = fingerprint(tmp_path)
    with pytest.raises(WorkbenchError, match=r"was begun with another model \(.* there, .* here\)"):
        quiet(get("mixtral"), tmp_path / "store")
    with pytest.raises(WorkbenchError, match=r"was begun with another dtype \(float32 there, bfloat16 here\)"):
        quiet(get("qwen2_moe", "bfloat16"), tmp_path / "store")
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"keep": {"norm"}}, r"capture\(keep=...\) does not know 'norm'; .* did you mean 'norms'\?"),
        ({"generate": -1}, r"capture\(generate=-1\) makes no sense; it should be at least 0"),
        ({"samples": 0}, r"capture\(samples=0\) makes no sense"),
        ({"batch_tokens": 0}, r"capture\(batch_tokens=0\) makes no sense"),
        ({"samples": 2}, r"capture\(samples=2\) would make the same rows 2 times"),
        ({"samples": 2, "generate": 3}, r"give generate=N and a temperature above 0"),
        ({"generate": 2, "responses": {p["id"]: "a" for p in PROMPTS}}, "takes given responses or generates, not both"),
        ({"responses": {"lang": "a"}}, r"given for the prompt 'lang', which is not asked; did you mean 'long'\?"),
        ({"responses": True}, "The prompt 'long' has no given response"),
        ({"responses": {p["id"]: ["a"] * (1 + (p["id"] == "two")) for p in PROMPTS}}, "different numbers of given"),
        ({"responses": {p["id"]: "" for p in PROMPTS}}, "A given response of the prompt 'long' is empty"),
        ({"layers": [9]}, "Layer 9 does not exist"),
        ({"experts": ["L1E99"], "keep": {"outputs"}}, "L1E99: layer 1 of .* has experts 0-15"),
        ({"experts": ["L1E1"]}, "add 'outputs' or 'inner' to keep"),
        ({"experts": ["1.1"], "keep": {"outputs"}}, "'1.1' is not an expert"),
        ({"prompts": []}, "The list holds no prompts"),
        ({"prompts": "nowhere.csv"}, "There is no prompt file 'nowhere.csv'"),
        ({"prompts": [{"id": "big", "text": "x" * 600}]}, "The prompt 'big' has 601 tokens, and .* takes 512; shorten"),
        ({"prompts": ["x" * 509], "generate": 4}, "has 510 tokens and 4 to generate, and .* takes 512"),
        (
            {"backend": "nnsight"},
            r"capture\(backend=...\) is not a word any more: .* load\(..., engine='nnsight'\)",
        ),
        ({"remote": True}, r"capture\(remote=...\) is not a word any more: .*engine='nnsight', remote=True\)"),
        ({"plan": Plan.off([ExpertRef(9, 0)])}, "Layer 9 does not exist"),
    ],
)
def test_bad_requests_write_nothing(model: MoEModel, tmp_path: Path, how: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        quiet(model, tmp_path / "store", **how)
    assert list(tmp_path.iterdir()) == []


def test_a_dense_layer_has_no_logits(tmp_path: Path) -> None:
    with pytest.raises(WorkbenchError, match="Layer 0 of tiny/deepseek_v3 is dense"):
        quiet(get("deepseek_v3"), tmp_path / "store", keep={"logits"}, layers=[0])


def test_a_folder_with_other_files_is_refused(model: MoEModel, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(WorkbenchError, match="holds other files; choose a folder that does not exist or is empty"):
        quiet(model, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkbenchError, match="cannot be written because a file"):
        quiet(model, tmp_path / "file" / "store")


def test_a_disk_too_small_is_refused_before_anything_is_written(
    model: MoEModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Estimate, "total", property(lambda self: 10**18))
    with pytest.raises(WorkbenchError, match=r"The store '.*' needs about .* and its disk has .* free"):
        quiet(model, tmp_path / "store")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("nth", [1, 4, 7])
def test_a_full_disk_midway_is_a_sentence_and_the_store_goes_on(
    model: MoEModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    how: dict[str, Any] = {"batch_tokens": 40, "shard_tokens": 40}
    whole = quiet(model, tmp_path / "whole", **how)
    assert len(whole.manifest["shards"]) > 2
    original, calls = pq.ParquetWriter.write_table, itertools.count(1)

    def fills_up(self: Any, *args: Any, **kwargs: Any) -> None:
        if next(calls) >= nth:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", fills_up)
        with pytest.raises(WorkbenchError, match=r"The disk is full while writing .* run the same again"):
            quiet(model, tmp_path / "store", **how)
    with pytest.raises(WorkbenchError, match="is half written"):
        open_store(tmp_path / "store")
    assert_same_content(quiet(model, tmp_path / "store", **how), whole)
    assert open_store(tmp_path / "store").check() == []


def test_progress_adds_up_and_ends(model: MoEModel, tmp_path: Path) -> None:
    seen: list[Any] = []
    store = capture(model, PROMPTS, tmp_path / "store", batch_tokens=40, generate=3, progress=seen.append)
    assert seen[0].message.startswith("Capturing 4 prompts into")
    assert "about" in seen[0].message
    assert seen[-1].done == seen[-1].total == store.manifest["rows"]["tokens"] - 4  # the last of each is not forwarded
    assert all(a.done <= b.done for a, b in itertools.pairwise(seen))


def test_what_the_plan_records(model: MoEModel, tmp_path: Path) -> None:
    store = quiet(model, tmp_path / "store")
    plan = store.plan_json
    assert plan["model"]["weights"] == model.anatomy.weights
    assert plan["anatomy"]["fingerprint"] == model.anatomy.fingerprint == store.manifest["fingerprint"]
    assert plan["prompts"]["fingerprint"] == read_prompts(PROMPTS).fingerprint
    assert set(plan["versions"]) == {"workbench", "numpy", "torch", "transformers", "tokenizers", "pyarrow"}
    assert len(plan["seeds"]) == len(PROMPTS)
    assert plan["dtype"] == "float32"
    assert any(
        w.startswith("roles are unknown: text is tokenised as it is (3 prompts") or "3 prompts" in w
        for w in store.manifest["warnings"]
    )
    assert not list((store.path / ".writing").iterdir())


def test_another_process_that_begins_between_two_looks_is_joined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, folder, real, looks = get("mixtral"), tmp_path / "s", storage.disk_of, list[str]()

    class Late:
        """A folder in which another capture is begun right after it was seen to have no plan.json."""

        def __init__(self, disk: Any) -> None:
            self.disk = disk

        def __getattr__(self, name: str) -> Any:
            return getattr(self.disk, name)

        def size(self, key: str) -> int | None:
            found = self.disk.size(key)
            looks.append(key)
            if looks == ["plan.json", "plan.json"]:
                monkeypatch.setattr(storage, "disk_of", real)
                capture(model, PROMPTS, folder, progress=False)
            return found

    monkeypatch.setattr(storage, "disk_of", lambda place: Late(real(place)))
    store = capture(model, PROMPTS, folder, progress=False)
    assert looks[:3] == ["plan.json"] * 3
    assert store.check() == []


@pytest.mark.parametrize(("keep", "at_once"), [(EVERYTHING, 1), (EVERYTHING - {*SAMPLED}, 4)], ids=["vectors", "none"])
def test_writers_that_take_turns_with_the_forward_write_the_same(
    keep: frozenset[str], at_once: int, model: MoEModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a CPU whose cores the forward fills: several files a table, written between forwards, vectors after each."""
    turns = list[int]()
    write = ShardWriter.write
    monkeypatch.setattr(ShardWriter, "write", lambda self, batch, n: (turns.append(n), write(self, batch, n)))
    threads_now = [1]  # whatever this machine has
    monkeypatch.setattr("workbench.capturing.process.torch.get_num_threads", lambda: threads_now[0])
    beside = quiet(model, tmp_path / "beside", keep=keep, batch_tokens=40)
    assert not turns
    threads_now[0] = 2
    monkeypatch.setattr("workbench.capturing.process.LARGE", 1)
    monkeypatch.setattr("workbench.capturing.process.os.cpu_count", lambda: 2)
    monkeypatch.setattr("workbench.shards.table_file.ROWS_GATHERED", 4)
    between = quiet(model, tmp_path / "between", keep=keep, batch_tokens=40)
    assert {*turns} == {at_once}
    assert len(turns) % 4, "some are left when the shard ends"
    assert len(between.files("slots")) == 2 * len(beside.files("slots"))
    assert_same_content(beside, between)
