"""What `load` takes for a source, and the words with which it says what it is not."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn

import workbench.loading.loader as loading
from tests.support.refusals import refused
from tests.support.stores import anatomy
from workbench.model import MoEModel


class TestLoading:
    def test_words(self) -> None:
        assert [loading.first_line(e) for e in (ValueError("a!\nb"), KeyError(), OSError(" . "))] == [
            "a.",
            "KeyError.",
            ".",
        ]
        assert loading.dtype_of("bfloat16") is torch.bfloat16
        assert (loading.dtype_of("auto"), loading.dtype_of(torch.int8)) == ("auto", torch.int8)
        for wrong in ("int8", "nothing", "load"):
            assert refused(loading.dtype_of, wrong) == (
                f"'{wrong}' is no torch dtype of weights; use auto, float32, bfloat16 or float16."
            )
        assert loading.device_of("cuda:7") == "cuda:7"
        assert loading.device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
        assert refused(loading.moved, nn.Linear(2, 2), "nowhere").startswith(
            "The model could not be put on the device 'nowhere' ("
        )

    def test_what_it_is(self) -> None:
        hf = SimpleNamespace(config=SimpleNamespace(image_token_index=0), dtype=torch.float16)
        runtime: Any = SimpleNamespace(anatomy=anatomy(), hf=hf, far=False, far_dtype=None)
        made = MoEModel(None, runtime, lambda _: None)
        assert repr(made) == "<MoEModel synthetic: none, 2 MoE layers, 10 experts, torch.float16>"
        far: Any = SimpleNamespace(**{**vars(runtime), "far": True, "far_dtype": torch.bfloat16})
        assert (made.image_token, replace(made, local=far).dtype) == (0, torch.bfloat16)
        assert (made.hf, replace(made, local=far).device) == (hf, "NDIF")
        hf.config = SimpleNamespace(image_token_id=5, image_token_index=0)
        assert made.image_token == 5
        hf.config = SimpleNamespace()
        assert made.image_token is None

    def test_a_checkpoint_with_holes(self) -> None:
        hf = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        loading.check_whole("c", hf, {"missing_keys": ["rotary"]})
        assert refused(loading.check_whole, "c", hf, {"missing_keys": ["1.bias", "0.weight", "0.bias", "rotary"]}) == (
            "The checkpoint 'c' has no values for 3 of the parameters of a Sequential (0.bias, 0.weight and 1 more), "
            "which would be "
            "random; take a complete checkpoint of this architecture."
        )

    def test_what_is_no_source(self) -> None:
        resolve = loading.resolve
        assert refused(resolve, " ", None, "auto", "auto", {}) == (
            "load(' ') names no model; give 'demo', tiny/FAMILY, a folder or a Hugging Face id."
        )
        assert refused(resolve, 3, None, "auto", "auto", {}).endswith("TransformerLens or nnsight, not a int.")
        built = SimpleNamespace(config=SimpleNamespace(name_or_path="n"), generate=print)
        assert resolve(built, "t", "auto", "auto", {}) == (built, "t", "n")
        built.config.name_or_path = ""
        assert resolve(built, None, "auto", "auto", {})[2] == "SimpleNamespace"
        for how in (("cpu", "auto", {}), ("auto", "float32", {}), ("auto", "auto", {"revision": "x"})):
            assert refused(resolve, built, None, *how).startswith(
                "A model already built keeps its device, dtype and options;"
            )
        base = nn.Linear(2, 2)
        base.config = 1  # type: ignore[assignment]
        assert refused(resolve, base, None, "auto", "auto", {}).startswith(
            "A Linear predicts no next token, so there is nothing"
        )
        assert refused(loading.opened_tokenizer, 3, {}).endswith("or the name or folder of one, not a int.")
