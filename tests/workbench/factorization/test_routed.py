"""A folder with some experts on: its groups, routers and updates are those that were learned, and a stopped run goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workbench.factorization.families import byte_tokenizer, held
from workbench import WorkbenchError, load
from workbench.factorization import Learning, Sizes, factorize_routed
from workbench.factorization.distilling import Document, own_words, read_documents, rows_of

SIZES = Sizes(8, 2, 3)
TEXT = [
    {"kind": kind, "text": f"{kind} {n}: " + f"{n * 7919 % 1000:03} {kind} " * 20}
    for kind in ("a", "b")
    for n in range(40)
]


@pytest.fixture
def dense(tmp_path: Path) -> Path:
    return saved("llama, tied", tmp_path / "dense")


def saved(name: str, folder: Path) -> Path:
    held(name, vocab_size=384).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in TEXT), encoding="utf-8")
    return path


def logits(folder: Path) -> torch.Tensor:
    from transformers import AutoModelForCausalLM

    ids = torch.randint(3, 90, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(folder)(ids).logits


def test_a_routed_model_is_read_by_the_workbench_and_its_card_says_what_it_lost(
    dense: Path, text: Path, tmp_path: Path
) -> None:
    said: list[dict[str, Any]] = []
    out = factorize_routed(str(dense), tmp_path / "moe", SIZES, Learning(32 * 8 * 4, text, 32), said=said.append)
    model = load(out)
    for layer in model.anatomy.layers:
        assert (layer.n_experts, layer.top_k, bool(layer.n_shared), layer.refused) == (6, 3, True, {})
    card = (out / "README.md").read_text(encoding="utf-8")
    assert [kind for kind, _, _ in said[-1]["held_out"]] == ["a", "b"]
    assert all(f"{nats:+.2f} ({kind})" in card for kind, _, nats in said[-1]["held_out"])
    assert not (tmp_path / "moe.learning").exists()
    before = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}
    assert (
        factorize_routed(str(dense), out, SIZES, Learning(32 * 8 * 4, text, 32)) == out
    )  # it is there: nothing is done
    assert before == {path.name: path.stat().st_mtime_ns for path in out.iterdir()}


@torch.no_grad()
def test_what_was_distilled_is_in_the_folder(dense: Path, text: Path, tmp_path: Path) -> None:
    """The folder, read by plain transformers, loses on the text held out what was said while it was taught."""
    from transformers import AutoModelForCausalLM

    said: list[dict[str, Any]] = []
    plain = factorize_routed(str(dense), tmp_path / "plain", SIZES, Learning(0, text, 32))
    out = factorize_routed(str(dense), tmp_path / "taught", SIZES, Learning(32 * 8 * 60, text, 32), said=said.append)
    held = rows_of(byte_tokenizer(), read_documents(text), 32).held_out
    base, taught = (
        {
            kind: float(AutoModelForCausalLM.from_pretrained(at)(rows[:8], labels=rows[:8]).loss)
            for kind, rows in held.items()
        }
        for at in (dense, out)
    )
    for kind, _, nats in said[-1]["held_out"]:
        assert taught[kind] - base[kind] == pytest.approx(nats, abs=2e-2)
    again = factorize_routed(str(dense), tmp_path / "again", SIZES, Learning(0, text, 32))
    assert torch.allclose(logits(plain), logits(again), atol=1e-2)


def test_a_run_that_was_stopped_goes_on_and_writes_the_same(tmp_path: Path, monkeypatch: Any) -> None:
    import workbench.factorization.routed as routed

    dense = saved("llama", tmp_path / "dense")
    monkeypatch.setattr(routed, "LEAST", 2000)
    learning = Learning(32 * 8 * 110, length=32)

    def stop(line: dict[str, Any]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        factorize_routed(str(dense), tmp_path / "cut", SIZES, learning, said=stop)
    assert {path.name for path in (tmp_path / "cut.learning").iterdir()} == {"student", "text.jsonl"}
    monkeypatch.setattr(routed, "own_words", None)  # they are there already
    cut = logits(factorize_routed(str(dense), tmp_path / "cut", SIZES, learning))
    monkeypatch.undo()
    monkeypatch.setattr(routed, "LEAST", 2000)
    assert torch.allclose(cut, logits(factorize_routed(str(dense), tmp_path / "whole", SIZES, learning)), atol=2e-2)


def test_what_cannot_be_routed_is_refused_before_anything_is_learned(text: Path, tmp_path: Path) -> None:
    windows = saved("qwen2, windows", tmp_path / "windows")
    with pytest.raises(WorkbenchError, match="rewrite it with --exact"):
        factorize_routed(str(windows), tmp_path / "moe", SIZES, Learning(100, text, 32))
    assert not (tmp_path / "moe").exists()


def test_documents_of_a_file(tmp_path: Path) -> None:
    lines, plain = tmp_path / "a.jsonl", tmp_path / "b.txt"
    lines.write_text('{"text": "one"}\n\n{"kind": "code", "text": "two"}\n', encoding="utf-8")
    assert read_documents(lines) == [Document("text", "one"), Document("code", "two")]
    plain.write_text("x" * 3999 + "\n" + "y\n" * 1999 + "end", encoding="utf-8")
    assert [text for _, text in read_documents(plain)] == ["x" * 3999 + "\n", "y\n" * 1999 + "end"]
    for wrong in ("[1]", '{"kind": "code"}', "no JSON"):
        lines.write_text('{"text": "one"}\n' + wrong, encoding="utf-8")
        with pytest.raises(WorkbenchError, match="line 2: it should be an object with a text"):
            read_documents(lines)
    plain.write_bytes(b"\xff\xfe\xff")
    with pytest.raises(WorkbenchError, match="is not UTF-8"):
        read_documents(plain)
    for path in (tmp_path / "none.txt", tmp_path):
        with pytest.raises(WorkbenchError, match=r"cannot be read \((No such file|Is a) "):
            read_documents(path)


@pytest.mark.parametrize(
    ("name", "nothing"), [("a.txt", ""), ("a.txt", " \n\n"), ("a.jsonl", "\n"), ("a.jsonl", '{"text": " "}')]
)
def test_a_file_without_words_is_refused_and_nothing_is_drawn_in_its_place(
    dense: Path, tmp_path: Path, name: str, nothing: str
) -> None:
    (tmp_path / name).write_text(nothing, encoding="utf-8")
    with pytest.raises(WorkbenchError, match="holds no words"):
        factorize_routed(str(dense), tmp_path / "out", SIZES, Learning(0, tmp_path / name, 32))
    assert not (tmp_path / "out").exists()


def test_own_words_are_drawn_by_a_seed_and_the_caller_goes_on_drawing_as_before() -> None:
    model, tokenizer = held("llama", vocab_size=384), byte_tokenizer()
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    one, same, other = (own_words(model, tokenizer, 100, 16, seed=seed) for seed in (0, 0, 1))
    assert one == same != other
    assert len(one) == 7  # of 16 tokens, at least 100
    assert torch.equal(state, torch.random.get_rng_state())
    tokenizer.bos_token = tokenizer.eos_token = None
    with pytest.raises(WorkbenchError, match="no token that a text begins with"):
        own_words(model, tokenizer, 100, 16)
