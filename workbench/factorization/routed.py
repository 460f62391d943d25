"""A dense checkpoint with only some of its groups on for a token: groups, routers and updates learned on text, then the folder.

While it is learned, what was learned lies beside the folder, in OUT.learning, so that a run that was stopped goes on there.
"""

import json
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from workbench.paths import Given, given_path
from workbench.progress import Meter, ProgressLines, Report
from workbench.storage import sha256

from .distilling import (
    Document,
    Recipe,
    Rows,
    additions,
    distil,
    losses,
    merge,
    own_words,
    read_documents,
    rows_of,
    student_of,
)
from .factorize import write_model
from .fitting import Fitted, fitted
from .folder import check_free, finished
from .groups import Groups, Router
from .rewriting import check_routable
from .sizes import Sizes
from .source import Dense, dense_config, open_dense
from .targets import check_config, fit

_FITTED_ON = 16
"""Rows of each kind that groups and first routers are made on."""
LEAST = 50_000
"""Tokens that the dense model says where no text is given and little or nothing is distilled."""

Said = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class Learning:
    """What a routed model is made on.

    tokens  how many the student reads; 0 leaves groups and first routers
    text    a file of documents; None: what the dense model says by itself
    length  tokens of a row
    """

    tokens: int = 0
    text: Path | None = None
    length: int = 256

    def facts(self) -> dict[str, Any]:
        """For factorization.json."""
        text = None if self.text is None else sha256(self.text)
        return {"learning": {**asdict(self), "text": text}}


def factorize_routed(
    source: str,
    out: Given,
    sizes: Sizes,
    learning: Learning,
    *,
    seed: int = 0,
    revision: str | None = None,
    progress: bool | Report = False,
    said: Said | None = None,
) -> Path:
    """A mixture of experts with `sizes.top_k` of its routed groups on for a token, written to the folder `out`; returns it.

    said  hears of the curve: tokens, and nats a token over the dense model on rows held out, by kind

    Raises `WorkbenchError` as `factorize` does, and for a text that gives too little to learn from.
    """
    path, report = given_path(out), ProgressLines() if progress is True else progress or None
    check_free(path)
    config = dense_config(source, revision)
    check_config(config)
    sizes.check(config.intermediate_size)
    documents = None if learning.text is None else read_documents(learning.text)
    facts = learning.facts()
    if finished(path, source, sizes, seed, facts):
        return path
    aside = path.with_name(path.name + ".learning")
    aside.mkdir(parents=True, exist_ok=True)
    dense = open_dense(source, revision)
    check_routable(fit(dense.model))
    rows = rows_of(
        dense.tokenizer, _own(dense, learning, aside, seed, report) if documents is None else documents, learning.length
    )
    found, learned, nats = _learned(dense, rows, sizes, learning, aside, seed, report, said)
    dense = open_dense(source, revision)  # learning put its neurons in another order
    merge(dense.model, learned)
    made = _made(learning, rows, nats)
    groups, routers = _parts(found, learned)
    write_model(
        dense,
        groups,
        routers,
        sizes,
        path,
        made=made,
        seed=seed,
        revision=revision,
        progress=report or False,
        facts=facts,
    )
    shutil.rmtree(aside)
    return path


def _own(dense: Dense, learning: Learning, aside: Path, seed: int, report: Report | None) -> list[Document]:
    """What the dense model says, drawn once and kept."""
    path, tokens = aside / "text.jsonl", max(LEAST, learning.tokens)
    if not path.exists():
        meter = Meter(tokens, report)
        meter.say(f"{tokens:,} tokens of the dense model's own words")
        said = own_words(dense.model, dense.tokenizer, tokens, 2 * learning.length, seed=seed, meter=meter)
        half = path.with_suffix(".half")
        half.write_text("".join(json.dumps(document._asdict()) + "\n" for document in said), encoding="utf-8")
        half.replace(path)
    return read_documents(path)


def _learned(
    dense: Dense,
    rows: Rows,
    sizes: Sizes,
    learning: Learning,
    aside: Path,
    seed: int,
    report: Report | None,
    said: Said | None,
) -> tuple[Fitted, dict[str, torch.Tensor], dict[str, float]]:
    """Groups, what training added, and nats over the dense model by kind."""
    recipe = Recipe(ks=(sizes.top_k,), seed=seed)
    few = torch.cat([some[:_FITTED_ON] for some in rows.learnt.values()])
    layers = Meter(dense.model.config.num_hidden_layers, report, "layers")
    layers.say(f"{rows.tokens:,} distinct tokens; groups and routers are made on {few.numel():,} of them")
    found = fitted(dense.model, few, sizes, recipe.ks, seed=seed, done=lambda _: layers.forwarded(1))
    student = student_of(dense.model, found, recipe.rank if learning.tokens else 0, seed=seed)
    if learning.tokens:
        distil(student, rows, recipe, learning.tokens, aside / "student", report=report, said=said)
    nats = {loss.kind: loss.nats for loss in losses(student, rows.held_out, recipe.ks)}
    return found, additions(student, found), nats


def _parts(found: Fitted, learned: dict[str, torch.Tensor]) -> tuple[list[Groups], list[Router]]:
    layers = [f"layers.{i}.router." for i in range(len(found.groups))]
    return found.groups, [Router(learned[f"{at}weight"].float(), learned[f"{at}bias"]) for at in layers]


def _made(learning: Learning, rows: Rows, nats: dict[str, float]) -> str:
    read = "a text that was given" if learning.text else "what the dense model says by itself"
    lost = ", ".join(f"{loss:+.2f} ({kind})" for kind, loss in nats.items())
    taught = (
        f"low-rank updates, norms and routers were then distilled on {learning.tokens:,} tokens"
        if learning.tokens
        else "nothing was distilled"
    )
    return (
        f"Groups are of neurons that are active together, routers choose those that add most, on {rows.tokens:,} distinct tokens "
        f"of {read}; {taught}. Nats a token over the dense model on text held out: {lost}."
    )
