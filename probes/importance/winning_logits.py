"""Which experts a task's router wants most: PreMoe's expected selection score, and the nearest task of a prompt."""

from typing import TYPE_CHECKING, Any

import numpy as np

from probes.checked import checked
from probes.ranking import ExpertScores, assemble
from probes.reading import (
    Tokens,
    add_rows,
    describe,
    expert_axis,
    label_values,
    layers_with_logits,
    prompt_of_row,
    routed_units,
    router_logits,
    sequence_of_row,
    template_notes,
    used_prompts,
)
from workbench.errors import WorkbenchError, suggestion

if TYPE_CHECKING:
    from workbench.store import Store


@checked
def tcess(
    store: "Store",
    *,
    tasks: str | None = None,
    prompt: str | None = None,
    first: int = 1,
    threshold: float = -1.0,
    tokens: Tokens | np.ndarray = "content",
    roles: str | list[str] | None = None,
    where: str | None = None,
) -> ExpertScores:
    """Task-conditioned expected selection score: the logit that an expert wins with, on average over all tokens.

        score[e] = 1/T * sum over the tokens read of  z[t, e] * [e is among the `first` largest of z[t]] * [p[t, e] >= threshold]
        p[t, .]  = softmax over these `first` logits alone

    z  the router's raw logits: no softmax, no selection bias; T  tokens read
    first, threshold  the repository's defaults, 1 and -1 (no threshold); with first=1 the score is the share of tokens that
                      the expert wins, times the mean logit with which it does
    tasks, prompt     a label, such as "topic", and a prompt of the store: a pattern of scores is made for every value of the
                      label (without that prompt), and the answer is the pattern nearest to the prompt's own, by Euclidean
                      distance between scores in the first MoE layer. Notes tell all distances
    tokens, roles, where  as in `ftri`; of `prompt` the same tokens are read

    Range (-inf, inf): logits may be negative, and an expert that wins with a negative logit has a score below zero, where one
    that never wins has 0 (flag "dead"): look at n. n: tokens at which the expert was among the first and passed the
    threshold; not the tokens that received it. No interval and no p-value. Needs `capture(keep={'norms', 'residual', 'logits'})`.

    Paper: arXiv 2505.17639 (v1 "PreMoe"), by repository JarvisPei/PreMoe at 22780f1 (collect_utils.py, partial_process.py):
    score, pattern, retrieval by the first MoE layer. Not known: first and threshold of the paper, and version 3's transform of
    the logits. Not followed: its store keeps other layers as a permutation of the first one's experts; here each layer has its
    own scores. Ties among logits go to the smaller number (ours).

    Not evidence that the others can go: it reads what the router wants before groups, biases and capacity, and an expert
    that always comes second has nothing. Memory: 8 bytes a task and expert, and one batch of logits.
    Raises `WorkbenchError` where the store kept no logits, for `first` below 1, and for a task or prompt that does not exist.
    """
    if first < 1:
        raise WorkbenchError(f"first={first} takes no expert of a token; give 1 or more.")
    group, sequence = routed_units(store, tokens, roles, where)
    layers, left_out = layers_with_logits(store)
    of_row, names = _tasks(store, group, tasks, prompt)
    total, n = _sums(store, layers, of_row, len(names), first, threshold)
    read = np.bincount(of_row[of_row >= 0], minlength=len(names)).astype(np.float64)
    pattern = total / read[:, None]
    chosen, said = (0, ()) if tasks is None else _nearest(store, pattern, names)
    axis = expert_axis(store, layers)
    apart = template_notes(store, tokens, roles, used_prompts(store, where)[prompt_of_row(store)])
    counted = f"{int(read.sum())} tokens of {len(sequence)} responses read"
    options: dict[str, Any] = {"tasks": tasks, "prompt": prompt, "first": first, "threshold": threshold}
    options |= {"tokens": describe(tokens, roles), "roles": roles, "where": where}
    notes = (counted, *left_out, *apart, *said, "no interval, no p-value: a pattern is compared with patterns")
    return assemble(store, "tcess", options, axis, {"score": pattern[chosen], "n": n[chosen]}, notes)


def _sums(
    store: "Store", layers: tuple[int, ...], of_row: np.ndarray, n_tasks: int, first: int, threshold: float
) -> tuple[np.ndarray, np.ndarray]:
    """[tasks, experts] summed winning logits, and how many were added."""
    totals, counts = [], []
    for layer in layers:
        n_experts = store.anatomy.layer(layer).n_experts
        total, n = np.zeros((n_tasks, n_experts)), np.zeros((n_tasks, n_experts))
        for row, logits in router_logits(store, layer, of_row >= 0):
            wins = _wins(logits[:, :n_experts], first, threshold)
            add_rows(total, of_row[row], np.where(wins, logits[:, :n_experts], 0))
            add_rows(n, of_row[row], wins.astype(np.float64))
        totals.append(total)
        counts.append(n)
    return np.concatenate(totals, axis=1), np.concatenate(counts, axis=1).astype(np.int64)


def _wins(logits: np.ndarray, first: int, threshold: float) -> np.ndarray:
    """Bool [tokens, experts]: among the first of its token, and with a share of their softmax that passes."""
    order = np.argsort(-logits, axis=1, kind="stable")[:, :first] if first > 1 else logits.argmax(axis=1)[:, None]
    best = np.take_along_axis(logits, order, axis=1)
    share = np.exp(best - best.max(axis=1, keepdims=True))
    share /= share.sum(axis=1, keepdims=True)
    wins = np.zeros(logits.shape, bool)
    np.put_along_axis(wins, order, share >= threshold, axis=1)
    return wins


def _tasks(store: "Store", group: np.ndarray, tasks: str | None, prompt: str | None) -> tuple[np.ndarray, list[str]]:
    """[rows of store.tokens] number of the task, the last for the prompt that asks, -1 where not read; and their names."""
    if (tasks is None) != (prompt is None):
        raise WorkbenchError("tcess retrieves a pattern by tasks=LABEL and prompt=ID together; give both, or neither.")
    if tasks is None:
        return np.where(group >= 0, 0, -1), ["all"]
    if prompt not in store.prompt_ids:
        near = suggestion(str(prompt), store.prompt_ids) or "."
        raise WorkbenchError(
            f"'{store.path}' has no prompt '{prompt}' whose task could be found; name one of its prompts{near}"
        )
    values = label_values(store, tasks)
    names = sorted({value for value in values if value is not None})
    number = np.array([-1 if value is None else names.index(value) for value in values], np.int64)
    of_row = np.where(group >= 0, number[sequence_of_row(store)], -1)
    mine = (prompt_of_row(store) == store.prompt_ids.index(str(prompt))) & (group >= 0)
    of_row[mine] = len(names)
    empty = [name for i, name in enumerate([*names, f"the prompt {prompt}"]) if not (of_row == i).any()]
    if empty:
        raise WorkbenchError(
            f"No token of '{store.path}' is read for {', '.join(empty)}, so there is no pattern to compare; read other tokens or "
            f"prompts."
        )
    return of_row, [*names, str(prompt)]


def _nearest(store: "Store", pattern: np.ndarray, names: list[str]) -> tuple[int, tuple[str, ...]]:
    """The number of the task nearest to the last pattern, and what is said of it."""
    width = store.anatomy.layer(store.layers[0]).n_experts
    distance = np.linalg.norm(pattern[:-1, :width] - pattern[-1, :width], axis=1)
    chosen = int(distance.argmin())
    each = ", ".join(f"{name} at {d:.4g}" for name, d in zip(names, distance, strict=False))
    said = f"the pattern of {names[chosen]}, nearest to prompt {names[-1]} in layer {store.layers[0]}: {each}"
    return chosen, (said, *(["only one task is known, so it is the nearest"] if len(names) == 2 else []))
