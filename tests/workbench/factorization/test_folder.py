"""The folder that `factorize` writes: read by plain transformers and the workbench, resumed, never over other things."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.workbench.factorization.families import byte_tokenizer, held
from workbench import WorkbenchError, load
from workbench.factorization import Router, Sizes, deal, factorize, open_dense, write_model
from workbench.progress import Progress

SIZES = Sizes(8, 2, 6)
CONFIG = {"vocab_size": 384}
IDS = torch.randint(3, 90, (2, 16), generator=torch.Generator().manual_seed(0))


@pytest.fixture
def saved(tmp_path: Path) -> Any:
    """Writes one of the tiny dense models as a folder with tokenizer and licence."""

    def save(name: str) -> tuple[Path, Any]:
        dense, folder = held(name, **CONFIG), tmp_path / "dense"
        dense.save_pretrained(folder)
        byte_tokenizer().save_pretrained(folder)
        (folder / "LICENSE").write_text("Do as you like.")
        return folder, dense

    return save


@torch.no_grad()
@pytest.mark.parametrize("name", ["llama, tied", "qwen3, windows", "qwen2, windows", "gemma"])
def test_plain_transformers_and_the_workbench_read_it(name: str, saved: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder, dense = saved(name)
    out = factorize(str(folder), tmp_path / "moe", SIZES)
    made, report = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert (made(IDS).logits - dense(IDS).logits).abs().max() < 1e-3
    assert AutoTokenizer.from_pretrained(out).chat_template == byte_tokenizer().chat_template
    again = tmp_path / "again"
    made.save_pretrained(again)  # transformers' own names on disk are those that were written
    assert _stored(again) == _stored(out)
    assert json.loads((again / "config.json").read_text())["factorized_from"]["model"] == str(folder)
    model = load(out)
    assert model.anatomy.factorized_from == str(folder)
    for layer in model.anatomy.layers:
        assert (layer.n_experts, layer.top_k, bool(layer.n_shared), layer.refused) == (6, 6, True, {})


def _stored(folder: Path) -> dict[str, tuple[int, ...]]:
    from safetensors import safe_open

    found: dict[str, tuple[int, ...]] = {}
    for path in folder.glob("*.safetensors"):
        with safe_open(path, framework="pt") as file:
            found |= {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    return found


def test_the_card_and_the_licence_say_what_it_is(saved: Any, tmp_path: Path) -> None:
    folder, _ = saved("llama")
    out = factorize(str(folder), tmp_path / "moe", SIZES)
    assert (out / "LICENSE").read_text() == "Do as you like."
    said = (out / "README.md").read_text()
    for words in (
        str(folder),
        "copied here: LICENSE",
        "groups of the neurons of the dense network",
        "8 groups",
        "glm4_moe",
    ):
        assert words in said


def test_a_run_that_was_stopped_goes_on(saved: Any, tmp_path: Path) -> None:
    folder, _ = saved("llama")
    whole = factorize(str(folder), tmp_path / "whole", SIZES)

    def stop(progress: Progress) -> None:
        if progress.done == 2:
            raise KeyboardInterrupt

    out = tmp_path / "moe"
    with pytest.raises(KeyboardInterrupt):
        factorize(str(folder), out, SIZES, progress=stop)
    assert not (out / "config.json").exists()
    first = {path.name: path.stat().st_mtime_ns for path in out.glob("*.safetensors")}
    assert len(first) == 2
    factorize(str(folder), out, SIZES)
    assert {name: (out / name).stat().st_mtime_ns for name in first} == first
    files = {path.name for path in whole.iterdir()}
    assert {path.name for path in out.iterdir()} == files
    assert all((out / name).read_bytes() == (whole / name).read_bytes() for name in files)


def test_what_lies_there_is_never_written_over(saved: Any, tmp_path: Path) -> None:
    folder, _ = saved("llama")
    other = tmp_path / "other"
    other.mkdir()
    (other / "mine.txt").write_text("mine")
    with pytest.raises(WorkbenchError, match="holds something else"):
        factorize(str(folder), other, SIZES)
    assert [path.name for path in other.iterdir()] == ["mine.txt"]
    out = factorize(str(folder), tmp_path / "moe", SIZES)
    with pytest.raises(WorkbenchError, match="another rewrite"):
        factorize(str(folder), out, SIZES, seed=1)
    shutil.rmtree(folder / "moe", ignore_errors=True)
    assert factorize(str(folder), out, SIZES) == out


@torch.no_grad()
def test_routers_of_ones_own_choose_and_weigh_as_a_router_says(saved: Any, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folder, model = saved("llama")
    dense, draw = open_dense(str(folder)), torch.Generator().manual_seed(0)
    groups = [deal(64, 6, 2, layer) for layer in range(3)]
    routers = [Router(torch.randn(6, 32, generator=draw), 0.3 * torch.randn(6, generator=draw)) for _ in range(3)]
    out = write_model(dense, groups, routers, Sizes(8, 2, 4), tmp_path / "moe", made="By hand.")
    made = AutoModelForCausalLM.from_pretrained(out)
    x = torch.randn(5, 32, generator=draw)
    gate, up, down = (getattr(model.model.layers[1].mlp, f"{name}_proj").weight for name in ("gate", "up", "down"))
    inner = torch.nn.functional.silu(x @ gate.T) * (x @ up.T)
    scores = (x @ routers[1].weight.T).sigmoid()
    wanted = inner[:, groups[1].shared] @ down[:, groups[1].shared].T
    for token, row in enumerate((scores + routers[1].bias).topk(4).indices):
        for expert in row.tolist():
            neurons = groups[1].routed[expert]
            wanted[token] += 2 * scores[token, expert] * (inner[token, neurons] @ down[:, neurons].T)
    assert torch.allclose(made.model.layers[1].mlp(x[None])[0], wanted, atol=1e-4)
