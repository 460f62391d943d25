"""What cannot be loaded or stored is one sentence and exit code 2, never a traceback; what only looks odd is read."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING
from typer.testing import CliRunner
from workbench_app.cli import app

from tests.support import families
from workbench import Plan, WorkbenchError, capture, compare, load
from workbench.backends import store_served
from workbench.loading import tiny_model, tiny_tokenizer
from workbench.prompts import Prompt, PromptSet
from workbench.store import write_store


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    tiny_model("qwen3_moe").save_pretrained(tmp_path / "q")
    tiny_tokenizer().save_pretrained(tmp_path / "q")
    return tmp_path / "q"


def configured(checkpoint: Path, **config: Any) -> None:
    file = checkpoint / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | config))


def refused(*words: str) -> str:
    """What a command that cannot be done says, on one line."""
    found = CliRunner().invoke(app, list(words))
    assert (found.exit_code, found.stdout) == (2, ""), found.output
    said = [line for line in found.stderr.splitlines() if "it/s" not in line and line.strip()]
    assert len(said) == 1, said
    return said[0]


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("gptq", ImportError("Loading a GPTQ model requires optimum (`pip install optimum`)")),
        ("awq", ImportError("Loading an AWQ model requires gptqmodel\nwith a second line")),
        ("bitsandbytes", ImportError("Using `bitsandbytes` requires bitsandbytes")),
        ("compressed-tensors", ModuleNotFoundError("No module named 'compressed_tensors'")),
        ("fp8", RuntimeError("No GPU or XPU found!")),
        ("hqq", TypeError("HqqConfig.__init__() got an unexpected keyword")),
        ("quanto", AttributeError("'NoneType' object has no attribute 'to'")),
        ("torchao", NotImplementedError()),
    ],
)
def test_a_quantised_checkpoint_without_its_library(
    method: str, error: Exception, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configured(checkpoint, quantization_config={"quant_method": method, "bits": 4})

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", fail)
    said = refused("inspect", str(checkpoint))
    assert f"Its weights are quantised by {method}: install what that needs" in said
    own = str(error).split("\n")[0].rstrip("!") or type(error).__name__
    assert own.replace("`", "'") in said  # as a terminal shows code


@pytest.mark.slow
def test_every_format_that_transformers_knows(checkpoint: Path) -> None:
    """Whatever is installed here: a format is loaded or refused, and nothing else comes out."""
    outcomes: list[str] = []
    for method in sorted(AUTO_QUANTIZATION_CONFIG_MAPPING):
        configured(checkpoint, quantization_config={"quant_method": method, "bits": 4})
        try:
            load(checkpoint, device="cpu", check=False)
            outcomes.append("no values were lost")
        except WorkbenchError as error:
            outcomes.append(str(error))
    assert len(outcomes) >= 10
    assert all("quantised by" in said or "no values" in said for said in outcomes), outcomes


def test_another_reason_says_nothing_of_quantisation(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(b"123")
    assert "quantised" not in refused("inspect", str(checkpoint))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("config.json", b"{"),
        ("config.json", bytes(range(256))),
        ("config.json", b"[]"),
        ("config.json", b'{"model_type": "nothing_known"}'),
        ("model.safetensors", b""),
        ("model.safetensors", None),
        ("tokenizer_config.json", b"{"),
        ("generation_config.json", b"[]"),
    ],
)
def test_broken_checkpoints(file: str, content: bytes | None, checkpoint: Path) -> None:
    (checkpoint / file).unlink() if content is None else (checkpoint / file).write_bytes(content)
    assert "could not be loaded" in (said := refused("inspect", str(checkpoint))) or "No tokenizer" in said


@pytest.mark.parametrize("lost", ["model.layers.0.self_attn.q_proj.weight", "lm_head.weight"])
def test_weights_that_the_checkpoint_lacks_are_not_made_up(lost: str, checkpoint: Path) -> None:
    file = checkpoint / "model.safetensors"
    weights = load_file(file)
    del weights[lost]
    save_file(weights, file, {"format": "pt"})
    said = refused("inspect", str(checkpoint))
    assert f"no values for 1 of the parameters of a Qwen3MoeForCausalLM ({lost}), which would be random" in said


class Packed(Tensor):
    """A weight as torchao keeps it: int8 with a scale a row, of which only a linear layer and `dequantize` know more."""

    packed: Tensor
    scale: Tensor

    @staticmethod
    def of(weight: Tensor, *, known: bool = True) -> "Packed":
        kind = Packed if known else Locked
        scale = weight.abs().amax(-1, keepdim=True) / 127
        made = Tensor._make_wrapper_subclass(kind, weight.shape, dtype=weight.dtype)  # pyright: ignore[reportAttributeAccessIssue]
        made.packed, made.scale = (weight / scale).round().to(torch.int8), scale
        return made

    def values(self) -> Tensor:
        return self.packed * self.scale

    def dequantize(self) -> Tensor:
        return self.values()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.functional.linear:
            return func(args[0], args[1].values(), *args[2:], **(kwargs or {}))
        if "__get__" in str(func) or func.__name__ in (
            "detach",
            "requires_grad_",
            "size",
            "dim",
            "numel",
            "is_floating_point",
        ):
            with torch._C.DisableTorchFunctionSubclass():
                return args[0] if func.__name__ in ("detach", "requires_grad_") else func(*args, **(kwargs or {}))
        raise NotImplementedError(f"Packed does not know {func}")

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(f"Packed does not know {func}")


class Locked(Packed):
    """One whose values nobody gets at."""

    def dequantize(self) -> Tensor:
        raise NotImplementedError("no kernel for this machine")


def packed(family: str, *, known: bool = True, plain: bool = False) -> Any:
    """A tiny model whose attention is packed, or whose weights are what packing left of them."""
    hf = tiny_model(family)
    for name, module in hf.named_modules():
        if name.endswith("q_proj"):
            weight = Packed.of(module.weight.detach(), known=known)
            del module.weight
            module.register_parameter("weight", None)
            module.weight = nn.Parameter(weight.values()) if plain else None
            if not plain:
                module._parameters["weight"] = weight
    return hf


@pytest.mark.parametrize("family", ["olmoe", "qwen3_moe"])
def test_weights_of_a_tensor_class_of_their_own(family: str) -> None:
    """They are identified and captured as the numbers that they stand for."""
    try:
        model, plain = load(packed(family), tiny_tokenizer()), load(packed(family, plain=True), tiny_tokenizer())
    except NotImplementedError as error:
        pytest.fail(f"what such a weight cannot do was asked of it: {error}")
    assert type(model.hf.model.layers[0].self_attn.q_proj.weight) is Packed
    assert model.anatomy.weights == plain.anatomy.weights != families.get(family).anatomy.weights
    plan, how = (
        Plan.mute(["L1E0"]),
        {"metrics": {"n": lambda r: 1.0}, "controls": 0, "max_new_tokens": 2, "progress": False},
    )
    assert compare(model, ["ab"], plan, **how).divergence.equals(compare(plain, ["ab"], plan, **how).divergence)


def test_weights_that_nobody_can_read() -> None:
    with pytest.raises(
        WorkbenchError, match=r"'model.layers.0.self_attn.q_proj.weight' .* is a Locked, whose values cannot"
    ):
        load(packed("olmoe", known=False), tiny_tokenizer())


LABELS = {"number": 1, "yes": True, "share": 0.5, "none": None}
TEXTS = {"number": "1", "yes": "true", "share": "0.5"}


def test_labels_that_are_not_text(tmp_path: Path) -> None:
    anatomy = families.get("olmoe").anatomy
    routed = [[list(range(anatomy.layer(0).top_k))] * len(anatomy.layers)]
    request = {"id": "a", "prompt_ids": [5], "response_ids": [6], "routed_experts": routed, "labels": LABELS}
    served = store_served(anatomy, [request], tmp_path / "served")
    direct = PromptSet((Prompt("a", text="hello", labels=LABELS),))  # pyright: ignore[reportArgumentType]
    captured = capture(families.get("olmoe"), direct, tmp_path / "captured", progress=False)
    tables = {
        name: captured.table(name).drop(columns="token_id", errors="ignore") for name in ("prompts", "tokens", "slots")
    }
    given = pd.DataFrame(
        {"prompt_id": "a", "name": list(TEXTS), "value": pd.Series([1, True, 0.5], dtype=object), "source": "me"}
    )
    written = write_store(tmp_path / "written", anatomy, {**tables, "labels": given})
    for store in (served, captured, written):
        assert dict(zip(store.labels["name"], store.labels["value"], strict=True)) == TEXTS


def test_columns_of_another_kind_are_one_sentence(tmp_path: Path) -> None:
    store = capture(families.get("olmoe"), ["hello"], tmp_path / "s", progress=False)
    tables = {name: store.table(name) for name in ("prompts", "tokens", "slots")}
    tables["slots"] = tables["slots"].assign(expert="L0E1")
    with pytest.raises(WorkbenchError, match="The column 'expert' of the table 'slots' holds what is no int"):
        write_store(tmp_path / "t", store.anatomy, tables)


def test_a_tokenizer_of_any_trouble(checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the vocabulary is upside down")

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", fail)
    assert "the vocabulary is upside down" in refused("inspect", str(checkpoint))


@pytest.mark.parametrize(
    "words",
    [
        ("capture", "tiny/olmoe", "p.jsonl", "--store", "s", "--layers", "\u00b2"),
        (
            "capture",
            "tiny/olmoe",
            "p.jsonl",
            "--store",
            "s",
            "--generate",
            "1",
            "--temperature",
            "1",
            "--samples",
            "9" * 20,
        ),
        ("steer", "tiny/olmoe", "--prompt", "x", "--off", "@number.json"),
        ("steer", "tiny/olmoe", "--prompt", "x", "--plan", "huge.json"),
        ("steer", "tiny/olmoe", "--prompt", "a\udc80", "--off", "L0E1"),
        ("compare", "tiny/olmoe", "p.jsonl", "--off", "L0E1", "--seed", "-1"),
        ("run", "deep.toml"),
        ("capture", "tiny/olmoe", "folder.jsonl", "--store", "s"),
        ("capture", "tiny/olmoe", "bytes.parquet", "--store", "s"),
        ("capture", "tiny/olmoe", "p.jsonl", "--store", "p.jsonl"),
    ],
)
def test_what_users_type_by_mistake(words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.jsonl").mkdir()
    Path("bytes.parquet").write_bytes(b"PAR1" + bytes(40) + b"PAR1")
    Path("p.jsonl").write_text('{"text": "a"}\n')
    Path("number.json").write_text('{"edits": [{"expert": 5}]}')
    Path("huge.json").write_text('{"edits": [{"kind": "scale", "expert": "L0E1", "value": ' + "9" * 400 + "}]}")
    Path("deep.toml").write_text("a=" + "[" * 5000)
    assert refused(*words)
