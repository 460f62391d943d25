"""Capture over the bare forward, on the two models of the specification.

Both sides run the same batches of token ids through the same model with the same arguments (one row of vocabulary logits a
sequence). The capture side is the whole of `capture`: tokenising, planning, recording, encoding, fsync, manifest. What a
capture pays once (about ten flushes to disk) is spread over the batches of one shard: 4 of (a), 16 of (b).
"""

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path

import pyarrow as pa
import torch

from tests.benchmarks.models import demo, random_qwen3
from tests.benchmarks.timing import Ratio, ratio
from workbench import PromptSet, capture, open_store, read_prompts
from workbench.generation import schedule
from workbench.model import MoEModel
from workbench.prompts import encode
from workbench.shards import stored_schema
from workbench.shards.parquet import rows_per_group, writer

KEEPS = (
    ("capture of routing and logits", frozenset({"logits"}), 1.10),
    ("capture of routing, logits, output L2 and max-abs", frozenset({"logits", "norms"}), 1.20),
)


def ratios(pairs: int = 9) -> Iterator[Ratio]:
    """Every line that `make bench` prints for capture."""
    for model, sequences, length, batches in ((random_qwen3(), 8, 256, 4), (demo(), 64, 64, 16)):
        prompts = prompts_of(model, sequences * batches, length)
        base = bare(model, prompts, sequences * length)
        for what, keep, limit in KEEPS:
            with tempfile.TemporaryDirectory() as folder:
                work = partial(captured, model, prompts, sequences * length, keep, Path(folder) / "store")
                name = f"{what}, {model.anatomy.model}, batches of {sequences} x {length}"
                yield ratio(name, work, "bare forward", base, pairs=pairs, limit=limit)
                alone = partial(encoded_again, Path(folder) / "store", Path(folder) / "again.parquet")
                name = f"of that, the same tables through Arrow's Parquet writer alone, {model.anatomy.model}"
                yield ratio(name, alone, "bare forward", base, pairs=pairs)


def prompts_of(model: MoEModel, n: int, length: int) -> PromptSet:
    """`n` different prompts of exactly `length` tokens: letters and spaces, cut after tokenising."""
    draw = random.Random(0)
    special = len(model.tokenizer("")["input_ids"])
    prompts: list[dict[str, str]] = []
    while len(prompts) < n:
        ids = model.tokenizer("".join(draw.choices("abcdefgh ", k=4 * length)), add_special_tokens=False)["input_ids"]
        text = model.tokenizer.decode(ids[: length - special])
        if len(model.tokenizer(text)["input_ids"]) == length:
            prompts.append({"text": text})
    return read_prompts(prompts)


def bare(model: MoEModel, prompts: PromptSet, batch_tokens: int) -> Callable[[], None]:
    """The forwards of the same batches, and nothing else."""
    rows = [prompt.ids for prompt in encode(model.tokenizer, prompts)]
    batches = schedule([len(row) for row in rows], batch_tokens).batches
    ids = [torch.tensor([rows[i] for i in batch]) for batch in batches]

    def run() -> None:
        with torch.no_grad():
            for batch in ids:
                model.hf(input_ids=batch, use_cache=False, logits_to_keep=1)

    return run


def captured(model: MoEModel, prompts: PromptSet, batch_tokens: int, keep: frozenset[str], store: Path) -> None:
    """A whole capture into a fresh folder."""
    shutil.rmtree(store, ignore_errors=True)
    capture(model, prompts, store, keep=keep, batch_tokens=batch_tokens, progress=False)


def encoded_again(store: Path, into: Path) -> None:
    """The floor of any capture on these cores: the store's own tables, read before, encoded on one thread."""
    for name, groups in _tables(store).items():
        with writer(into, name) as file:
            for group in groups:
                file.write_table(group, row_group_size=rows_per_group(group))


@cache
def _tables(store: Path) -> dict[str, list[pa.Table]]:
    names = [name for name in ("slots", "logits") if open_store(store).has(name)]
    return {name: [part.read().cast(stored_schema(name)) for part in open_store(store).parts(name)] for name in names}


if __name__ == "__main__":
    for found in ratios():
        print(f"{found.median:5.2f} ({found.low:.2f}-{found.high:.2f}, at most {found.limit}) {found.what}", flush=True)
