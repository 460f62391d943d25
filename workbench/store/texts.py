"""The texts of a store's responses: as they were written down whole, else put together from the texts of tokens. No torch."""

from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any

from workbench.errors import WorkbenchError
from workbench.store.tables import Tables
from workbench.thinking import CHANNEL, MARKERS, SHOWN, opened_in, said

Key = tuple[str, int]
_CUT = "\ufffd"


def what_was_said(store: Tables, tokenizer: Any = None) -> Iterator[tuple[Key, str]]:
    """(prompt id, sample) and the text of every response, in canonical order.

    Raises `WorkbenchError` when the store holds prompts alone, or no text.
    """
    written = _written(store)
    found = written if is_whole(store) else dict(_put_together(store, tokenizer)) | written
    number = {prompt: n for n, prompt in enumerate(store.prompt_ids)}
    yield from sorted(found.items(), key=lambda item: (number[item[0][0]], item[0][1]))


def is_whole(store: Tables) -> bool:
    """Whether every response was written down whole, as an older workbench did not."""
    shards = store.manifest["shards"]
    return store.has("responses") and all("responses" in (f["table"] for f in shard["files"]) for shard in shards)


def n_cut(store: Tables) -> int:
    """How many responses hold a character that was cut apart, as far as can be told; 0 where they were written whole."""
    if is_whole(store):
        return 0
    return sum(_CUT in text for _, text in what_was_said(store))


def _written(store: Tables) -> dict[Key, str]:
    if not store.has("responses"):
        return {}
    frame = store.table("responses")
    columns: list[Any] = [frame[name] for name in ("prompt_id", "sample", "text")]
    return {(str(prompt), int(sample)): text for prompt, sample, text in zip(*columns, strict=True)}


def _put_together(store: Tables, tokenizer: Any) -> Iterator[tuple[Key, str]]:
    columns = ["prompt_id", "sample", "position", "token_id", "token", "role"]
    frame: Any = store.table("tokens", columns)
    length = store.prompts["n_tokens"].to_numpy()[frame["prompt_id"].cat.codes.to_numpy()]
    frame = frame[frame["position"].to_numpy() >= length]
    _check_text(store, frame)
    opened = {
        p: opened_in(t) for p, t in zip(store.prompts["prompt_id"], store.prompts["text"].fillna(""), strict=True)
    }
    rows = zip(*(frame[name].tolist() for name in ("prompt_id", "sample", "token_id", "token", "role")), strict=True)
    for (prompt, sample), group in groupby(rows, itemgetter(0, 1)):  # together in canonical order
        tokens = list(group)
        if tokenizer is not None and all(i == i and i is not None for _, _, i, _, _ in tokens):
            text = said(tokenizer, [[int(i) for _, _, i, _, _ in tokens]], [opened[prompt]])[0]
        else:
            text = _joined([(token, role) for _, _, _, token, role in tokens], opened[prompt])
        yield (str(prompt), sample), text


def _joined(tokens: list[tuple[str, str]], opened: str) -> str:
    shown = {*MARKERS, *(SHOWN if any(token == CHANNEL for token, _ in tokens) else ())}
    text = "".join(t for t, role in tokens if role not in ("special", "template", "tool") or t.strip() in shown)
    return text if text.startswith(opened) else opened + text


def _check_text(store: Tables, frame: Any) -> None:
    if frame.empty:
        raise WorkbenchError(
            f"'{store.path}' holds no responses to classify; capture with generate=... or responses=..., or name a label."
        )
    if frame["token"].isna().all():
        raise WorkbenchError(
            f"'{store.path}' was captured without text, so responses cannot be classified; name a label."
        )
