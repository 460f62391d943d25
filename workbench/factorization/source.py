"""A dense model as it is given (a folder, a hub id, a GGUF file), opened with its tokenizer and its licence files."""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from workbench.errors import WorkbenchError
from workbench.model import check_whole, first_line, hub_unreachable
from workbench.paths import given_path

LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*", "COPYING*", "USE_POLICY*")


@dataclass(frozen=True, eq=False)
class Dense:
    """A dense transformers model, its tokenizer, what it is called, and its licence files with their bytes."""

    model: Any
    tokenizer: Any
    name: str
    licences: dict[str, bytes]


def dense_config(source: str, revision: str | None = None) -> Any:
    """The config of a dense model, of which no weights are read; raises `WorkbenchError` where there is none."""
    from transformers import AutoConfig

    return _read(AutoConfig, source, revision)


def open_dense(source: str, revision: str | None = None) -> Dense:
    """The model in eval mode on the CPU and in its checkpoint's dtype (GGUF: float32).

    Raises `WorkbenchError` for what cannot be read, and for a checkpoint that lacks parameters or holds others.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = "float32" if _gguf(source) else "auto"
    model, report = _read(AutoModelForCausalLM, source, revision, dtype=dtype, output_loading_info=True)
    check_whole(source, model, report)
    extra = sorted(report["unexpected_keys"])
    if extra:
        raise WorkbenchError(
            f"The checkpoint '{source}' has {len(extra)} tensors that a {type(model).__name__} does not use, such as {extra[0]}; "
            f"they would be lost, so it is not rewritten."
        )
    return Dense(model.eval(), _read(AutoTokenizer, source, revision), source, licences(source, revision))


def licences(source: str, revision: str | None = None) -> dict[str, bytes]:
    """The licence files that lie beside the weights, by name."""
    path = given_path(source)
    folder = path.parent if path.is_file() else path
    if not folder.exists():
        from huggingface_hub import snapshot_download

        away = hub_unreachable(source, {}) is not None
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=[*LICENCES], local_files_only=away))
    found = {file for pattern in LICENCES for file in folder.glob(pattern) if file.is_file()}
    return {file.name: file.read_bytes() for file in sorted(found)}


_SAMPLE = "The quick brown fox: 12,345.6 times,\n\tdef f(x):  return x**2 — naïve café, 東京 🙂"


def check_tokenizer(tokenizer: Any, architecture: str) -> None:
    """Raises `WorkbenchError` unless transformers reads the tokenizer as it is out of a folder of that architecture.

    AutoTokenizer chooses a tokenizer's class by the architecture as well, and would read another one without a word.
    """
    from transformers import AutoTokenizer

    with TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        (Path(folder) / "config.json").write_text(json.dumps({"model_type": architecture}))
        try:
            read = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            same = read(_SAMPLE).input_ids == tokenizer(_SAMPLE).input_ids
            why = "makes other tokens of a text"
        except (OSError, ValueError, TypeError, KeyError, ImportError, AttributeError) as error:
            same, why = False, f"cannot be made ({first_line(error).rstrip('.')})"
    if not same:
        raise WorkbenchError(
            f"In a folder of {architecture} transformers takes this {type(tokenizer).__name__} for another tokenizer, which "
            f"{why}; save it with a tokenizer.json (a fast tokenizer) beside the dense model first."
        )


def _gguf(source: str) -> bool:
    return source.endswith(".gguf") and given_path(source).is_file()


def _read(auto: Any, source: str, revision: str | None, **options: Any) -> Any:
    """What an Auto class of transformers reads there; a GGUF file through transformers' own reader."""
    where, path = source, given_path(source)
    if _gguf(source):
        where, options = str(path.parent), {**options, "gguf_file": path.name}
    unreachable = hub_unreachable(where, options)
    options |= {"local_files_only": True} if unreachable else {}
    options |= {"revision": revision} if revision else {}
    try:
        return auto.from_pretrained(str(given_path(where)) if path.exists() else where, **options)
    except Exception as error:  # of a broken or unknown checkpoint transformers, and what it calls, raise anything
        raise WorkbenchError(
            f"'{source}' could not be read{f' ({unreachable})' if unreachable else ''}: {first_line(error)} It should be a "
            f"folder with a dense transformers model and its tokenizer, a Hugging Face id, or a GGUF file."
        ) from error
