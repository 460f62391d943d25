"""Where an edit holds: phases through every way of generating, positions under padding, spans across decode steps."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support import families, reference
from tests.support.families import EACH, slow
from tests.support.judging import judge
from tests.support.watching import Seen, Spec, plan_of, watch, watch_all
from workbench import Plan, WorkbenchError, steered
from workbench.model import MoEModel
from workbench.routing import prompt_length

OPEN, CLOSE = 63, 65  # "<" and ">" of the byte tokenizer
PROMPT, NEW = 7, 5


def specs_for(model: MoEModel) -> list[Spec]:
    a, b, c, *_ = watch(model, None, families.ids(model)).layers[families.moe_layer(model)].busiest()
    return [("off", a, None), ("scale", b, 3.0), ("mute", c, None)]


class Step:
    """One forward: which columns of the sequence each of its rows holds."""

    def __init__(self, seen: dict[int, Seen], batch: int, start: int) -> None:
        self.seen, self.batch, self.start = seen, batch, start
        self.length = len(next(iter(seen.values())).index) // batch

    def rows(self, inside: Callable[[int, int], bool]) -> set[int]:
        """Flat rows of the positions for which `inside(batch row, column)`."""
        cells = ((b, t) for b in range(self.batch) for t in range(self.length))
        return {b * self.length + t for b, t in cells if inside(b, self.start + t)}


def steps(seen: Sequence[dict[int, Seen]], batch: int, cached: bool = True) -> list[Step]:
    out, column = list[Step](), 0
    for layers in seen:
        step = Step(layers, batch, column if cached else 0)
        out.append(step)
        column += step.length
    return out


def judge_steps(
    model: MoEModel,
    found: Sequence[Step],
    specs: Sequence[Spec],
    inside: Callable[[int, int], bool],
    real: Callable[[int, int], bool] = lambda b, t: True,
) -> None:
    judged = [judge(model, s.seen, specs, tokens=s.rows(inside), rows=sorted(s.rows(real))) for s in found]
    assert sum(judged) > 0.8 * len(judged), "too few tokens were judged"


def generate(model: MoEModel, ids: Tensor, **options: Any) -> Tensor:
    options = {"max_new_tokens": NEW, "do_sample": False, "eos_token_id": None, **options}
    return model.hf.generate(ids, **options)


@pytest.mark.parametrize("phase", ["prompt", "generated"])
@pytest.mark.parametrize("name", EACH)
def test_phase_through_generate(name: str, phase: Any) -> None:
    """The last prompt position, which decides the first answer token, is prompt; the last generated token has no routing."""
    model, specs = families.get(name), specs_for(families.get(name))
    ids = families.ids(model, 2, PROMPT)
    seen = watch_all(model, plan_of(model, specs, phase=phase), lambda: generate(model, ids))
    found = steps(seen, 2)
    assert [s.length for s in found] == [PROMPT, *[1] * (NEW - 1)]
    judge_steps(model, found, specs, lambda b, t: (t >= PROMPT) == (phase == "generated"))


WAYS: dict[str, dict[str, Any]] = {
    "no cache": {"use_cache": False},
    "static cache": {"cache_implementation": "static", "disable_compile": True},
    "chunked prefill": {"prefill_chunk_size": 3},
    "prompt lookup": {"prompt_lookup_num_tokens": 2},
    "sampling": {"do_sample": True, "num_return_sequences": 2},
    "beams": {"num_beams": 2},
}


@pytest.mark.parametrize("phase", ["prompt", "generated"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", slow(("mixtral", "gpt_oss", "deepseek_v3", "demo"), but=("mixtral", "demo")))
def test_phase_however_it_is_generated(name: str, way: str, phase: Any) -> None:
    model, specs = families.get(name), specs_for(families.get(name))
    ids = families.ids(model, 1, 4).repeat(1, 2)  # repeats, so that prompt lookup proposes something
    torch.manual_seed(0)
    seen = watch_all(model, plan_of(model, specs, phase=phase), lambda: generate(model, ids, **WAYS[way]))
    rows = 2 if way in ("sampling", "beams") else 1
    found, length = steps(seen, rows, cached=way != "no cache"), ids.shape[1]
    if way == "prompt lookup":
        return judge_lookup(model, found, specs, phase, length)
    if way == "chunked prefill":
        assert [s.length for s in found[:3]] == [3, 3, 2]
    judge_steps(model, found, specs, lambda b, t: (t >= length) == (phase == "generated"))
    return None


def judge_lookup(model: MoEModel, found: Sequence[Step], specs: Sequence[Spec], phase: str, length: int) -> None:
    """Candidates that are turned down are forwarded too: the first forward is the prompt's (and candidates), no later one is."""
    first, *later = found
    judge_steps(model, [first], specs, lambda b, t: (t >= length) == (phase == "generated"))
    assert later
    judge_steps(model, later, specs, lambda b, t: phase == "generated")


@torch.no_grad()
def test_phase_in_a_loop_of_ones_own() -> None:
    model, specs = families.get("olmoe"), specs_for(families.get("olmoe"))
    ids = families.ids(model, 1, PROMPT + 4)

    def chunks(*sizes: int) -> None:
        cache, start = None, 0
        for size in sizes:
            cache = model.hf(ids[:, start : start + size], past_key_values=cache, use_cache=True).past_key_values
            start += size

    plan = plan_of(model, specs, phase="generated")
    plain = steps(watch_all(model, plan, lambda: chunks(PROMPT, 1, 1)), 1)
    judge_steps(model, plain, specs, lambda b, t: t >= PROMPT)

    def stated() -> None:
        with prompt_length(PROMPT):
            chunks(4, 3, 1, 3)

    judge_steps(model, steps(watch_all(model, plan, stated), 1), specs, lambda b, t: t >= PROMPT)


@torch.no_grad()
def test_prompt_length_also_serves_a_loop_without_a_cache() -> None:
    model, specs = families.get("olmoe"), specs_for(families.get("olmoe"))
    ids = families.ids(model, 1, PROMPT + 2)

    def loop() -> None:
        with prompt_length(PROMPT):
            for end in range(PROMPT, PROMPT + 3):
                model.hf(ids[:, :end], use_cache=False)

    found = steps(watch_all(model, plan_of(model, specs, phase="generated"), loop), 1, cached=False)
    judge_steps(model, found, specs, lambda b, t: t >= PROMPT)


# ---- positions and padding

PADS = (0, 3, 1)


def left_padded(model: MoEModel, length: int = 9) -> tuple[Tensor, Tensor]:
    ids, mask = families.ids(model, len(PADS), length), torch.ones(len(PADS), length, dtype=torch.long)
    for row, pads in enumerate(PADS):
        ids[row, :pads], mask[row, :pads] = 0, 0
    return ids, mask


RANGES: dict[str, Callable[[int], bool]] = {
    "0": lambda p: p == 0,
    "1-2": lambda p: p in (1, 2),
    "7-": lambda p: p >= 7,
    "0,3-4,10-": lambda p: p in (0, 3, 4) or p >= 10,
}


@pytest.mark.parametrize("positions", slow(RANGES, but=("1-2", "0,3-4,10-")))
@pytest.mark.parametrize("way", ["cache", "no cache", "static cache"])
@pytest.mark.parametrize(
    "name", slow(("mixtral", "gpt_oss", "deepseek_v3", "ernie4_5_moe", "demo"), but=("gpt_oss", "demo"))
)
def test_positions_count_from_the_first_real_token(name: str, way: str, positions: str) -> None:
    model, specs = families.get(name), specs_for(families.get(name))
    ids, mask = left_padded(model)
    options = {"attention_mask": mask, **WAYS.get(way, {})}
    plan = plan_of(model, specs, positions=positions)
    found = steps(watch_all(model, plan, lambda: generate(model, ids, **options)), len(PADS), cached=way != "no cache")
    judge_steps(
        model,
        found,
        specs,
        lambda b, t: t >= PADS[b] and RANGES[positions](t - PADS[b]),
        real=lambda b, t: t >= PADS[b],
    )


def test_padding_is_never_edited() -> None:
    model, specs = families.get("olmoe"), specs_for(families.get("olmoe"))
    ids, mask = left_padded(model)
    base = watch(model, None, ids, attention_mask=mask)
    layer = model.anatomy.moe_layers[0]
    seen = watch(model, plan_of(model, specs, [layer], positions="0-"), ids, attention_mask=mask)
    padding = ~mask.bool().reshape(-1)
    assert torch.equal(base.layers[layer].index[padding], seen.layers[layer].index[padding])
    assert torch.equal(base.layers[layer].weights[padding], seen.layers[layer].weights[padding])


# ---- spans


def inside_span(row: Sequence[int]) -> list[bool]:
    """Brute force: from an opening token (included) to the next closing token (included)."""
    out, is_open = [], False
    for token in row:
        is_open = is_open or token == OPEN
        out.append(is_open)
        is_open = is_open and token != CLOSE
    return out


SEQUENCES = {
    "once": [[20, OPEN, 21, 22, CLOSE, 23, 24, 25]],
    "never opened": [[20, 21, CLOSE, 22, 23, 24, 25, 26]],
    "never closed": [[20, 21, OPEN, 22, 23, 24, 25, 26]],
    "opened twice": [[OPEN, 21, OPEN, 22, CLOSE, 23, CLOSE, 26]],
    "again": [[OPEN, CLOSE, 21, OPEN, 22, CLOSE, 23, OPEN]],
    "rows of their own": [[20, OPEN, 21, 22, 23, CLOSE, 24, 25], [OPEN, CLOSE, 20, 21, 22, OPEN, 23, 24]],
}


@pytest.mark.parametrize("sizes", [(8,), (3, 5), (1,) * 8, (2, 1, 1, 4)])
@pytest.mark.parametrize("case", SEQUENCES)
@torch.no_grad()
def test_spans_hold_between_tokens_however_the_sequence_is_cut(case: str, sizes: tuple[int, ...]) -> None:
    model, specs = families.get("olmoe"), specs_for(families.get("olmoe"))
    rows = SEQUENCES[case]
    ids = torch.tensor(rows)

    def run() -> None:
        cache, start = None, 0
        for size in sizes:
            cache = model.hf(ids[:, start : start + size], past_key_values=cache, use_cache=True).past_key_values
            start += size

    found = steps(watch_all(model, plan_of(model, specs, span=("<", ">")), run), len(rows))
    brute = [inside_span(row) for row in rows]
    judge_steps(model, found, specs, lambda b, t: brute[b][t])


@pytest.mark.parametrize("way", ["cache", "no cache", "static cache", "chunked prefill"])
@pytest.mark.parametrize("name", ["olmoe", "gpt_oss"])
def test_spans_hold_through_generate_with_padding(name: str, way: str) -> None:
    """The span opens in the prompt and closes (or does not) in what is generated: the tokens are dictated."""
    model, specs = families.get(name), specs_for(families.get(name))
    said = [[30, CLOSE, 31, OPEN, 32], [33, 34, 35, CLOSE, 36]]
    ids = torch.tensor([[20, 21, OPEN, 22, 23, 24], [0, 0, OPEN, 25, 26, 27]])
    mask = (ids != 0).long()

    def dictate(so_far: Tensor, scores: Tensor) -> Tensor:
        wanted = torch.tensor([row[so_far.shape[1] - ids.shape[1]] for row in said])
        return torch.full_like(scores, -1e9).scatter(1, wanted[:, None], 0.0)

    options = {"attention_mask": mask, "logits_processor": [dictate], **WAYS.get(way, {})}
    plan = plan_of(model, specs, span=("<", ">"))
    found = steps(watch_all(model, plan, lambda: generate(model, ids, **options)), 2, cached=way != "no cache")
    brute = [inside_span([*a, *b]) for a, b in zip(ids.tolist(), said, strict=True)]
    real = [[*a, *[1] * NEW] for a in mask.tolist()]
    judge_steps(model, found, specs, lambda b, t: brute[b][t], real=lambda b, t: bool(real[b][t]))


def test_a_scope_may_say_all_three() -> None:
    model, specs = families.get("olmoe"), specs_for(families.get("olmoe"))
    ids = torch.tensor([[20, OPEN, 21, 22, 23, 24], [OPEN, 25, 26, CLOSE, 27, 28]])
    plan = plan_of(model, specs, phase="prompt", positions="2-", span=("<", ">"))
    found = steps(watch_all(model, plan, lambda: generate(model, ids)), 2)
    brute = [inside_span([*row, *[40] * NEW]) for row in ids.tolist()]
    judge_steps(model, found, specs, lambda b, t: 2 <= t < 6 and brute[b][t])


@torch.no_grad()
def test_edits_of_several_scopes_join() -> None:
    model = families.get("olmoe")
    n, ids = families.moe_layer(model), families.ids(model, 1, 6)
    a = watch(model, None, ids).layers[n].busiest()[0]
    plan = (
        Plan.scale([(n, a)], 2.0)
        | Plan.scale([(n, a)], 3.0, positions="1-2")
        | Plan.scale([(n, a)], 5.0, positions="2-3")
    )
    base, seen = watch(model, None, ids).layers[n], watch(model, plan, ids).layers[n]
    factor = torch.tensor([2.0, 6.0, 30.0, 10.0, 2.0, 2.0])
    torch.testing.assert_close(seen.dense()[:, a], base.dense()[:, a] * factor, rtol=1e-6, atol=0)
    others = [e for e in range(16) if e != a]
    assert torch.equal(seen.dense()[:, others], base.dense()[:, others])


@pytest.mark.parametrize("name", ["olmoe", "deepseek_v3"])
@torch.no_grad()
def test_edits_of_the_routing_hold_each_where_it_is_said(name: str) -> None:
    """Two experts are off at positions that overlap in one token: no expert is off elsewhere, and none is left out."""
    model = families.get(name)
    n, ids = families.moe_layer(model), families.ids(model, 2, 8)
    a, b, *_ = watch(model, None, ids).layers[n].busiest()
    plan = Plan.off([(n, a)], positions="1-4") | Plan.off([(n, b)], positions="4-6")
    base, seen = watch(model, None, ids).layers[n], watch(model, plan, ids).layers[n]
    for token in range(16):
        position = token % 8
        gone = {e for e, where in ((a, range(1, 5)), (b, range(4, 7))) if position in where}
        expected = reference.route_token(model.hf, n, seen.logits[token].tolist(), reference.Edits(off=frozenset(gone)))
        if expected.margin > 1e-5:
            assert set(seen.index[token].tolist()) == set(expected.weights)
        if not gone:
            assert torch.equal(seen.index[token], base.index[token])
            assert torch.equal(seen.weights[token], base.weights[token])
    assert (base.received()[:, [a, b]] & ~seen.received()[:, [a, b]]).any(0).all(), "one of the two did nothing"


@torch.no_grad()
def test_spans_need_the_whole_sequence() -> None:
    model = families.get("olmoe")
    cache = model.hf(families.ids(model, 1, 6), use_cache=True).past_key_values
    with steered(model, Plan.mute([(0, 1)], span=("<", ">"))), pytest.raises(WorkbenchError, match="were not seen"):
        model.hf(families.ids(model, 1, 1), past_key_values=cache)


@torch.no_grad()
def test_spans_need_ids() -> None:
    model = families.get("olmoe")
    embeds = model.hf.get_input_embeddings()(families.ids(model, 1, 6))
    with steered(model, Plan.mute([(0, 1)], span=("<", ">"))), pytest.raises(WorkbenchError, match="input_ids"):
        model.hf(inputs_embeds=embeds)


def test_spans_refuse_beams_because_beams_change_rows() -> None:
    """A beam that overtakes another moves into its row; what is open there would be the other's."""
    model = families.get("olmoe")
    ids = torch.tensor([[20, OPEN, 21]])
    with steered(model, Plan.mute([(0, 1)], span=("<", ">"))), pytest.raises(WorkbenchError, match="beam"):
        generate(model, ids, num_beams=2)
