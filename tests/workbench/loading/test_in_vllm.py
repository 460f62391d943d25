"""What vLLM is given to read: the checkpoint's own files, or a copy where vLLM would leave a layer of it empty."""

from functools import partial
from pathlib import Path

import pytest
from safetensors import safe_open

from workbench import load
from workbench.loading import read_once, tiny_model, tiny_tokenizer


@pytest.mark.parametrize("tied", [True, False])
def test_a_family_that_vllm_never_ties_gets_an_output_layer_of_its_own(tied: bool, tmp_path: Path) -> None:
    hf = tiny_model("glm4_moe", tie_word_embeddings=tied)
    hf.save_pretrained(tmp_path)
    read = read_once(str(tmp_path), partial(load, str(tmp_path), tiny_tokenizer(), check=False), {})
    assert read.facts.anatomy.fingerprint == load(hf, tiny_tokenizer(), check=False).anatomy.fingerprint
    assert (read.path == str(tmp_path)) == (read.folder is None) == (not tied)
    with safe_open(Path(read.path) / "model.safetensors", "pt") as file:
        assert file.get_tensor("lm_head.weight").equal(hf.get_output_embeddings().weight)
    if tied:
        assert not load(read.path, tiny_tokenizer(), check=False).hf.config.tie_word_embeddings
        assert (Path(read.path) / "tokenizer_config.json").is_file()
