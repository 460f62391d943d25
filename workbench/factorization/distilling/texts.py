"""What a student reads: the documents of a file, or what the dense model says by itself."""

import json
from pathlib import Path
from typing import Any

import torch

from workbench.errors import WorkbenchError
from workbench.paths import Given, given_path
from workbench.progress import Meter

from .rows import Document

_PIECE = 4000
"""Characters of a document that is cut out of a plain text."""
_AT_ONCE = 32
"""Texts that the dense model says at a time."""


def read_documents(file: Given) -> list[Document]:
    """A document for each line of a .jsonl file, with `text` and perhaps `kind`; pieces of about 4,000 characters of any other.

    Raises `WorkbenchError` for a file that cannot be read or holds no text, and for a line without a text, by its number.
    """
    path = given_path(file)
    try:
        content = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WorkbenchError(f"The text '{path}' cannot be read ({error.strerror}); give another file.") from error
    except UnicodeDecodeError as error:
        raise WorkbenchError(f"The text '{path}' is not UTF-8 ({error}); give another file.") from error
    if path.suffix == ".jsonl":
        lines = enumerate(content.splitlines(), 1)
        found = [_document(path, n, line) for n, line in lines if line.strip()]
    else:
        found = [Document("text", piece) for piece in _pieces(content)]
    if not any(document.text.strip() for document in found):
        raise WorkbenchError(f"The text '{path}' holds no words; give a file with some, or leave it out.")
    return found


def _document(path: Path, number: int, line: str) -> Document:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("text"), str):
        raise WorkbenchError(f'{path}, line {number}: it should be an object with a text, such as {{"text": "..."}}.')
    return Document(str(found.get("kind", "text")), found["text"])


def _pieces(content: str) -> list[str]:
    """Cut after the first line that reaches the size; what is left at the end is a piece as well."""
    found, size = [""], 0
    for line in content.splitlines(keepends=True):
        if size >= _PIECE:
            found.append("")
            size = 0
        found[-1] += line
        size += len(line)
    return [piece for piece in found if piece.strip()]


@torch.no_grad()
def own_words(
    dense: Any, tokenizer: Any, tokens: int, length: int, *, seed: int = 0, meter: Meter | None = None
) -> list[Document]:
    """At least so many tokens that the dense model draws by itself after its first token, in texts of `length` tokens.

    Raises `WorkbenchError` where the tokenizer has no token that a text begins with.
    """
    first = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if first is None:
        raise WorkbenchError(
            "The tokenizer has no token that a text begins with; give a text to learn from (--text FILE)."
        )
    found: list[Document] = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        while (lacks := -(-tokens // length) - len(found)) > 0:
            texts = min(lacks, _AT_ONCE)
            ids = dense.generate(
                torch.full((texts, 1), first), attention_mask=torch.ones(texts, 1, dtype=torch.int64), do_sample=True,
                temperature=1.0, top_p=0.95, top_k=0, min_new_tokens=length, max_new_tokens=length, pad_token_id=first,
            )  # fmt: skip
            found += [Document("its own words", text) for text in tokenizer.batch_decode(ids[:, 1:])]
            if meter is not None:
                meter.forwarded(min(texts * length, meter.total - meter.done))
    return found
