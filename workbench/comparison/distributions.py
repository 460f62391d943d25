"""How far a plan moves next-token distributions, and the perplexity of given text, by teacher forcing.

KL(base || steered) in nats at the position before each token of the base model's own answer; the first of them is the last
prompt position, which decides the first answer token. Unchanged text does not mean no effect: compare distributions first.
What is read counts as generated, what stands before it as the prompt: an edit of one phase holds where it would in generating.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from workbench.answering import padded_batch
from workbench.generation import schedule
from workbench.hooks import steered
from workbench.plan import Plan
from workbench.progress import Meter
from workbench.routing import Dose, prompt_length

if TYPE_CHECKING:
    from workbench.model import MoEModel
    from workbench.prompts import PromptSet


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


def given_text(model: "MoEModel", prompts: "PromptSet", encoded: Sequence[Sequence[int]]) -> list[GivenText]:
    """Given responses after their prompts, and plain texts after their first token; prompts without either are left out."""
    found = [
        GivenText(p.id, tuple(ids), tuple(model.tokenizer(p.response, add_special_tokens=False)["input_ids"]))
        if p.response
        else GivenText(p.id, tuple(ids[:1]), tuple(ids[1:]))
        for p, ids in zip(prompts, encoded, strict=True)
        if p.response or p.text is not None
    ]
    return [text for text in found if text.read]


@torch.no_grad()
def divergence(
    model: "MoEModel",
    encoded: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    plans: Sequence[Plan],
    batch_tokens: int,
    meter: Meter | None = None,
) -> list[Divergence]:
    """One `Divergence` per plan, each against the bare model, on prompt + answer. A prompt without answer tokens gets NaN
    for mean KL and NLL, and its first KL at the last prompt position.
    """
    nan = float("nan")
    n = len(encoded)
    found = [Divergence([nan] * n, [nan] * n, [nan] * n, [0] * n) for _ in plans]
    joined = [[*p, *a] for p, a in zip(encoded, answers, strict=True)]
    for chosen in schedule([len(ids) for ids in joined], batch_tokens).batches:
        ids, mask = padded_batch(model, [joined[i] for i in chosen])
        lengths = [len(answers[i]) for i in chosen]
        base = _log_probs(model, ids, mask, Plan(), lengths)
        for plan, into in zip(plans, found, strict=True):
            steered_to = base if not plan else _log_probs(model, ids, mask, plan, lengths)
            # a token that neither may say (its logit is -inf in both) adds 0, not -inf - -inf; NaN elsewhere stays
            kl = torch.where(base == -torch.inf, 0.0, base.exp() * (base - steered_to)).sum(-1)
            longest = max(lengths)
            nll = -steered_to[:, :-1].gather(-1, ids[:, -longest:, None])[..., 0] if longest else kl[:, :0]
            _collect(into, chosen, lengths, kl, nll)
        if meter is not None:
            meter.forwarded(sum(len(joined[i]) for i in chosen) * (1 + sum(map(bool, plans))))
    return found


def _log_probs(model: "MoEModel", ids: Tensor, mask: Tensor, plan: Plan, lengths: Sequence[int]) -> Tensor:
    """Log-probabilities [rows, longest + 1, vocab] at the last prompt position and the answer's (of `lengths`), float32."""
    longest, ends = max(lengths), [ids.shape[1] - n for n in lengths]
    positions = (mask.cumsum(-1) - 1).clamp_min(0)
    with steered(model, plan, dose=Dose()), prompt_length(ends):  # what it would warn of is said with the answers' dose
        out = model.hf(
            input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False, logits_to_keep=longest + 1
        )
    return out.logits[:, -(longest + 1) :].float().log_softmax(-1)


def _collect(into: Divergence, chosen: Sequence[int], lengths: Sequence[int], kl: Tensor, nll: Tensor) -> None:
    for row, (i, n) in enumerate(zip(chosen, lengths, strict=True)):
        first = kl.shape[1] - n - 1
        into.kl_first_nats[i] = float(kl[row, first])
        into.n_tokens[i] = n
        if n:
            into.kl_nats[i] = float(kl[row, first:-1].mean())
            into.nll_nats[i] = float(nll[row, nll.shape[1] - n :].mean())
