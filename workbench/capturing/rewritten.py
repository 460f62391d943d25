"""What a chat template writes otherwise than when a capture was begun: the words of one prompt, then and now."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from workbench.errors import WorkbenchError
from workbench.paths import Place
from workbench.prompts import Encoded
from workbench.shards import source_of
from workbench.storage import disk_of


def check_rewritten(
    store: Place, begun: Mapping[str, Any], asked: Mapping[str, Any], encoded: Sequence[Encoded]
) -> None:
    """Raises `WorkbenchError` with the words that differ where the same prompts are written otherwise than in the store."""
    before, now = begun.get("prompts", {}), asked["prompts"]
    if before.get("fingerprint") != now["fingerprint"] or before.get("tokens") == now["tokens"]:
        return
    texts = _texts(store)
    for prompt in encoded:
        then = texts.get(prompt.id)
        if then is not None and then != prompt.text:
            there, here = difference(then, prompt.text)
            raise WorkbenchError(
                f"The chat template writes {here!r} into the prompt '{prompt.id}', and when the store '{store}' was begun it "
                f"wrote {there!r}; nothing was changed: capture into another folder, or with a template that writes the same."
            )


def _texts(store: Place) -> dict[str, str | None]:
    """Prompt id -> its words in the store; empty where it was stopped before they were written."""
    import pyarrow.parquet as pq

    disk, path = disk_of(store), "prompts.parquet"
    if disk.size(path) is None:
        return {}
    table = pq.read_table(source_of(disk, path), columns=["prompt_id", "text"])
    return dict(zip(table["prompt_id"].to_pylist(), table["text"].to_pylist(), strict=True))


def difference(one: str, other: str) -> tuple[str, str]:
    """The words in which two texts differ, without what both begin and end with; a long one is cut."""
    left, right = re.split(r"(?<=\s)", one), re.split(r"(?<=\s)", other)
    while left and right and left[0] == right[0]:
        left, right = left[1:], right[1:]
    while left and right and left[-1] == right[-1]:
        left, right = left[:-1], right[:-1]
    return "".join(left).rstrip()[:80], "".join(right).rstrip()[:80]
