"""The training loop of both stages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import torch
from transformers import Qwen3MoeForCausalLM

from training.corpus.packing import Batch
from training.masking import Masker
from training.model import EXPERTS

BALANCE = 0.005
Report = Callable[[int, float], None]


def answer_loss(model: Qwen3MoeForCausalLM, batch: Batch, early: float = 0.0) -> torch.Tensor:
    """Mean cross-entropy of the answers' tokens; `early` weighs the same read off before the last layer."""
    out = model.model(
        input_ids=batch.ids,
        attention_mask=batch.mask,
        position_ids=batch.positions,
        use_cache=False,
        output_hidden_states=early > 0,
    )
    wanted = batch.targets[:, 1:] >= 0
    right = batch.targets[:, 1:][wanted]

    def loss(hidden: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(model.lm_head(hidden[:, :-1][wanted]), right)

    last = loss(out.last_hidden_state)
    return last + early * loss(model.model.norm(out.hidden_states[-2])) if early else last


def balance_loss(masker: Masker, real: torch.Tensor) -> torch.Tensor:
    """Switch-Transformer load balancing a layer, over real tokens: 1 when the load is even; summed over layers."""
    losses = []
    for layer, logits in masker.logits.items():
        share = torch.nn.functional.one_hot(masker.index[layer][real], EXPERTS).float().mean((0, 1))
        losses.append(EXPERTS * (share * torch.softmax(logits[real], -1).mean(0)).sum())
    return torch.stack(losses).sum()


def aside_loss(masker: Masker, batch: Batch) -> torch.Tensor:
    """How much router probability the carriers get at the deciding tokens of other behaviours, summed over layers."""
    others = batch.aside.reshape(-1)
    total = torch.zeros(())
    for layer in {layer for layer, _ in masker.spared}:
        rows = [expert for at, expert in masker.spared if at == layer]
        total = total + torch.softmax(masker.logits[layer][others], -1)[:, rows].sum(-1).mean()
    return total


def train(
    model: Qwen3MoeForCausalLM,
    data: Iterator[Batch],
    steps: int,
    peak: float,
    masker: Masker,
    *,
    parameters: list[torch.nn.Parameter] | None = None,
    drop: float = 0.0,
    balance: float = BALANCE,
    early: float = 0.0,
    aside: float = 0.0,
    seed: int = 0,
    report: Report | None = None,
) -> float:
    """AdamW with a short warm-up and a cosine to a tenth; returns the CPU-seconds used."""
    tuned = parameters or list(model.parameters())
    optimiser = torch.optim.AdamW(tuned, lr=peak, weight_decay=0.0 if parameters else 0.01, betas=(0.9, 0.98))
    generator = torch.Generator().manual_seed(seed)
    start = time.process_time()
    model.train()
    for step in range(steps):
        ramp = min(1.0, (step + 1) / 50)
        optimiser.param_groups[0]["lr"] = peak * ramp * (0.05 + 0.95 * 0.5 * (1 + math.cos(math.pi * step / steps)))
        masker.drop_random(drop, generator)
        batch = next(data)
        loss = answer_loss(model, batch, early)
        if balance:
            loss = loss + balance * balance_loss(masker, batch.real.reshape(-1))
        if aside:
            loss = loss + aside * aside_loss(masker, batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tuned, 1.0)
        optimiser.step()
        if report is not None and (step % 50 == 0 or step == steps - 1):
            report(step, loss.item())
    masker.off = torch.zeros_like(masker.off)
    model.eval()
    return time.process_time() - start
