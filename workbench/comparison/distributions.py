"""How far a plan moves next-token distributions, and the perplexity of given text, by teacher forcing.

KL(base || steered) in nats at the position before each token of the base model's own answer; the first of them is the last
prompt position, which decides the first answer token. Unchanged text does not mean no effect: compare distributions first.
What is read counts as generated, what stands before it as the prompt: an edit of one phase holds where it would in generating.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from workbench.backends import Backend, Batch, backend_of, check_scoring, compiled_for
from workbench.generation import padded, schedule
from workbench.model import MoEModel
from workbench.plan import Plan
from workbench.progress import Meter
from workbench.prompts import PromptSet
from workbench.routing import CompiledPlan

DISTRIBUTIONS_BYTES = 64 << 20
"""How much the distributions of a batch may take, once for the base and once for each arm in turn."""


class Divergence(NamedTuple):
    """Per prompt: mean KL over the answer's positions, KL at the first of them (nats), and the answer's mean NLL (nats)."""

    kl_nats: list[float]
    kl_first_nats: list[float]
    nll_nats: list[float]
    n_tokens: list[int]


class GivenText(NamedTuple):
    """Text to be read, not generated: token ids that come before, and those whose probability is read."""

    prompt_id: str
    before: tuple[int, ...]
    read: tuple[int, ...]


def given_text(model: MoEModel, prompts: PromptSet, encoded: Sequence[Sequence[int]]) -> list[GivenText]:
    """Given responses after their prompts, and plain texts after their first token; prompts without either are left out."""
    found = [
        GivenText(p.id, tuple(ids), tuple(model.tokenizer(p.response, add_special_tokens=False)["input_ids"]))
        if p.response
        else GivenText(p.id, tuple(ids[:1]), tuple(ids[1:]))
        for p, ids in zip(prompts, encoded, strict=True)
        if p.response or p.text is not None
    ]
    return [text for text in found if text.read]


def divergence(
    model: MoEModel,
    encoded: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    plans: Sequence[Plan],
    batch_tokens: int,
    meter: Meter | None = None,
) -> list[Divergence]:
    """One `Divergence` per plan, each against the bare model, on prompt + answer. A prompt without answer tokens gets NaN
    for mean KL and NLL, and its first KL at the last prompt position.

    Raises `WorkbenchError` on an engine that does not tell distributions.
    """
    backend = backend_of(model)
    check_scoring(backend, "a divergence")
    base, arms = compiled_for(model), [compiled_for(model, plan) for plan in plans]
    nan, n = float("nan"), len(encoded)
    found = [Divergence([nan] * n, [nan] * n, [nan] * n, [0] * n) for _ in plans]
    joined = [[*p, *a] for p, a in zip(encoded, answers, strict=True)]
    n_bytes = 4 * backend.facts.n_embeddings
    for chosen in _in_memory(schedule([len(ids) for ids in joined], batch_tokens).batches, answers, n_bytes):
        batch = Batch([joined[i] for i in chosen], read=[len(answers[i]) for i in chosen])
        _read(backend, batch, chosen, base, arms, found)
        if meter is not None:
            meter.forwarded(sum(map(len, batch.rows)) * (1 + sum(map(bool, plans))))
    return found


def _in_memory(
    batches: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], n_bytes: int
) -> Iterator[Sequence[int]]:
    """The batches cut so that one's distributions take at most `DISTRIBUTIONS_BYTES`, or are one prompt's; `n_bytes` each."""
    for batch in batches:
        rows = max(1, DISTRIBUTIONS_BYTES // max(1, n_bytes * (max(len(answers[i]) for i in batch) + 1)))
        yield from (batch[at : at + rows] for at in range(0, len(batch), rows))


@torch.no_grad()
def loss_of(model: MoEModel, given: Sequence[GivenText], plan: Plan, batch_tokens: int = 4096) -> float:
    """Nats a token of given text under a plan, over all tokens that are read. Raises what `divergence` raises."""
    backend = backend_of(model)
    check_scoring(backend, "a loss")
    compiled, joined, total = compiled_for(model, plan), [[*g.before, *g.read] for g in given], 0.0
    for chosen in schedule([len(ids) for ids in joined], batch_tokens).batches:
        batch = Batch([joined[i] for i in chosen], read=[len(given[i].read) for i in chosen])
        nll = _nll(backend.score(batch, compiled), batch)
        total += sum(float(row[len(row) - n :].double().sum()) for row, n in zip(nll, batch.read, strict=True))
    return total / sum(len(g.read) for g in given)


def _nll(scores: Tensor, batch: Batch) -> Tensor:
    """Nats of each token that is read, [rows, longest]: a row's own are its last ones."""
    ids = torch.from_numpy(padded(batch.rows, 0, left=True)[0]).to(scores.device)
    return -scores[:, :-1].gather(-1, ids[:, -max(batch.read) :, None])[..., 0]


@torch.no_grad()
def _read(
    backend: Backend,
    batch: Batch,
    chosen: Sequence[int],
    base: CompiledPlan,
    arms: Sequence[CompiledPlan],
    found: Sequence[Divergence],
) -> None:
    """Scores a batch under the base and each arm, and writes the numbers of the prompts `chosen` into `found`."""
    bare, longest = backend.score(batch, base), max(batch.read)
    for arm, into in zip(arms, found, strict=True):
        steered = bare if arm.plan == base.plan else backend.score(batch, arm)
        kl = torch.stack([kl_of(a, b) for a, b in zip(bare, steered, strict=True)])
        nll = _nll(steered, batch) if longest else kl[:, :0]
        _collect(into, chosen, batch.read, kl, nll)


def kl_of(base: Tensor, steered: Tensor) -> Tensor:
    """KL(base || steered) in nats of log-probabilities [positions, vocabulary]: [positions].

    A token that neither may say (-inf in both) adds 0, not -inf - -inf; NaN elsewhere stays.
    """
    return torch.where(base == -torch.inf, 0.0, base.exp() * (base - steered)).sum(-1)


def _collect(into: Divergence, chosen: Sequence[int], lengths: Sequence[int], kl: Tensor, nll: Tensor) -> None:
    for row, (i, n) in enumerate(zip(chosen, lengths, strict=True)):
        first = kl.shape[1] - n - 1
        into.kl_first_nats[i] = float(kl[row, first])
        into.n_tokens[i] = n
        if n:
            into.kl_nats[i] = float(kl[row, first:-1].mean())
            into.nll_nats[i] = float(nll[row, nll.shape[1] - n :].mean())
