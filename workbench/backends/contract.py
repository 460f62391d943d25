"""The tests that every engine passes for what it says it can; those of your own engine are a sub-class of three lines.

    class TestMine(BackendContract):
        def model(self):
            return load("demo", engine=Mine)

What an engine says it cannot is not asked of it, but has to be refused. Nothing of pytest is needed: any runner of methods
whose names begin with `test_` will do.
"""

import json
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch

from workbench.anatomy import ExpertRef
from workbench.backends.backend import Backend, Batch, Keep, Ran
from workbench.backends.engines import backend_of, compiled_for
from workbench.backends.refusals import check_decoding, check_keep, check_plan, check_scoring
from workbench.errors import WorkbenchError
from workbench.generation import Decoding, Generated, decoding_of, generated
from workbench.model import MoEModel
from workbench.plan import KINDS, Plan
from workbench.records import KEEPS, LayerRecord
from workbench.routing import CompiledPlan, Dose, DoseCounts, slots_per_token

CLOSE = 1e-3
"""How far log-probabilities and weights may differ that are the same number, computed in another order."""


class Whole(NamedTuple):
    """All that a run handed over, put together: responses, and by layer what each token (sequence, position) received."""

    responses: list[Generated]
    slots: dict[int, dict[tuple[int, int], dict[int, float]]]
    dose: DoseCounts
    portions: list[Ran]

    @property
    def tokens(self) -> list[tuple[int, int]]:
        """(sequence, position) of every token that was forwarded, as often as it was."""
        found = [zip(p.where.sequence.tolist(), p.where.position.tolist(), strict=True) for p in self.portions]
        return [token for tokens in found for token in tokens]


class BackendContract:
    """An engine and what it says of itself. `model` is yours; rows and n_tokens may be."""

    n_tokens = 5

    def model(self) -> MoEModel:
        """A model on the engine: `load(..., engine=...)`."""
        raise NotImplementedError

    def rows(self) -> list[list[int]]:
        """Token ids to run, of different lengths."""
        top = backend_of(self.model()).facts.n_embeddings
        return [[10 + (7 * i + 3 * n) % (top - 10) for i in range(n)] for n in (5, 9, 1)]

    # ---- what it runs

    def test_every_token_is_forwarded_once_and_routed_as_the_anatomy_says(self) -> None:
        found, backend = self.run(), self.backend()
        assert sorted(found.tokens) == [(n, at) for n, row in enumerate(self.rows()) for at in range(len(row))]
        for number in backend.facts.anatomy.moe_layers if backend.can.keep is not None else ():
            layer = backend.facts.anatomy.layer(number)
            for token, slots in found.slots[number].items():
                assert len(slots) == layer.top_k, f"layer {number}, token {token}: {len(slots)} different experts"
                assert set(slots) <= set(range(layer.n_experts)), f"layer {number}, token {token}: {sorted(slots)}"

    def test_answers_end_and_all_but_their_last_token_was_forwarded(self) -> None:
        found = self.run(how=self.greedy())
        expected = list[tuple[int, int]]()
        for n, (row, answer) in enumerate(zip(self.rows(), found.responses, strict=True)):
            assert len(answer.ids) == self.n_tokens, (
                f"row {n}: {len(answer.ids)} tokens, and no token ends an answer here"
            )
            assert all(p <= CLOSE for p in answer.logprobs), f"row {n}: log-probabilities above 0"
            expected += [(n, at) for at in range(len(row) + len(answer.ids) - 1)]
        assert sorted(found.tokens) == expected
        made = [p.made for p in found.portions if p.made is not None]
        ends = {n: np.concatenate([m.ends[m.row == n] for m in made]).tolist() for n in range(len(self.rows()))}
        assert all(e == [False] * (len(e) - 1) + [True] for e in ends.values()), f"ends: {ends}"

    def test_neighbours_in_a_batch_change_no_answer(self) -> None:
        together = [r.ids for r in self.run(how=self.greedy()).responses]
        alone = [self.run([row], how=self.greedy()).responses[0].ids for row in self.rows()]
        assert together == alone

    def test_an_end_token_ends_an_answer_and_belongs_to_it(self) -> None:
        free = self.run(how=self.greedy()).responses[0].ids
        (answer,) = self.run(self.rows()[:1], how=replace(self.greedy(), stop=frozenset({free[0]}))).responses
        assert answer.ids == free[:1]

    def test_the_likeliest_tokens_are_told_where_they_are_asked_for(self) -> None:
        how = replace(self.greedy(), shaping={}, alternatives=3)
        for portion in self.run(how=how).portions:
            if portion.made is None or portion.made.likeliest is None:
                continue
            ids, logprobs = portion.made.likeliest
            assert (np.diff(logprobs, axis=-1) <= 0).all(), "the likeliest is not the first"
            assert (ids[:, 0] == portion.made.id).all(), "greedy did not take the likeliest"
            assert np.abs(logprobs[:, 0] - portion.made.logprob).max() <= CLOSE

    def test_samples_depend_on_their_seeds_alone(self) -> None:
        how = replace(self.greedy(), temperature=1.5)
        if not self.backend().can.sampling:
            return _is_refused(lambda: check_decoding(self.backend(), how))
        rows = self.rows()
        together = [r.ids for r in self.run(rows, how=how, seeds=[3, 4, 5]).responses]
        assert together == [
            self.run([r], how=how, seeds=[s]).responses[0].ids for r, s in zip(rows, (3, 4, 5), strict=True)
        ]
        others = {self.run(rows[:1], how=how, seeds=[s]).responses[0].ids for s in range(8)}
        assert len(others) > 1, "eight seeds gave one answer"
        return None

    def test_what_is_kept_is_there_and_nothing_else(self) -> None:
        can = self.backend().can
        for name in sorted(KEEPS - (can.keep or frozenset())):
            _is_refused(lambda name=name: check_keep(self.backend(), {name}))
        for name in sorted(can.keep or ()):
            for portion in self.run(keep=Keep(frozenset({name}))).portions:
                assert portion.record is not None
                assert bool(portion.record.residual) <= (name == "residual")
                for record in portion.record.layers.values():
                    assert (record.output_l2 is not None) == (name == "norms")
                    assert (record.logits is not None) == (name == "logits")
                    assert (record.outputs is not None) == (name == "outputs")
                    assert (record.router_input is not None) == (name == "router_input")
                    assert (record.inner is not None) == (name == "inner")

    # ---- what it reads

    def test_scores_are_distributions_and_those_that_answers_came_from(self) -> None:
        backend = self.backend()
        if not backend.can.scoring:
            return _is_refused(lambda: check_scoring(backend, "this test"))
        answers = self.run(how=self.greedy()).responses
        rows = [[*row, *answer.ids] for row, answer in zip(self.rows(), answers, strict=True)]
        batch = Batch(rows, read=[len(answer.ids) for answer in answers])
        found = backend.score(batch, compiled_for(self.model()))
        assert found.shape == (len(rows), max(batch.read) + 1, backend.facts.n_embeddings)
        assert found.logsumexp(-1).abs().max() <= CLOSE, "no log-probabilities"
        for n, answer in enumerate(answers):
            said = found[n, -1 - len(answer.ids) : -1].gather(-1, torch.tensor(answer.ids)[:, None].to(found.device))[
                :, 0
            ]
            assert (said.cpu() - torch.tensor(answer.logprobs)).abs().max() <= CLOSE, f"row {n}"
        return None

    # ---- what it edits

    def test_edits_do_what_their_names_say(self) -> None:
        can, bare = self.backend().can, self.run()
        for kind in KINDS:
            plan = self.plan(kind)
            if kind not in can.edits:
                _is_refused(lambda plan=plan: check_plan(self.backend(), plan))
            elif can.keep is not None and kind not in ("bias", "replace", "mute"):
                ref, layer = plan.experts[0], plan.layers[0]
                slots = self.run(plan=plan).slots[layer]
                for token, received in slots.items():
                    _check_edit(kind, ref.expert, received, bare.slots[layer][token], str(token))

    def test_a_plan_is_dosed_and_gone_when_its_run_is_over(self) -> None:
        before = self.run()
        assert before.dose.tokens_changed == 0, "the empty plan changed something"
        for kind in sorted(self.backend().can.edits):
            dose = self.run(plan=self.plan(kind)).dose
            assert dose.tokens == len(before.tokens), f"{kind}: {dose.tokens} tokens counted"
            assert 0 < dose.tokens_changed <= dose.slots_changed, f"{kind}: {dose}"
            with closing(self.backend().run(Batch(self.rows()), compiled_for(self.model(), self.plan(kind)))) as begun:
                next(begun)
            assert _alike(before, self.run()), f"{kind} is still in force"

    def test_plans_in_one_batch_are_what_each_is_alone(self) -> None:
        backend: Any = self.backend()
        if not backend.can.together:
            return
        rows = self.rows()
        kinds = sorted(backend.can.edits)[: len(rows) - 1]
        plans = [*map(self.plan, kinds), Plan()]
        doses = [Dose(slots_per_token(backend.facts.anatomy)) for _ in rows]
        compiled = [compiled_for(self.model(), plan) for plan in plans]
        with closing(backend.run_each(Batch(rows), compiled, self.greedy(), Keep(), doses)) as running:
            portions = list(running)
        answers, slots = generated([p.made for p in portions if p.made is not None], len(rows)), _slots(portions)
        for n, (row, plan) in enumerate(zip(rows, plans, strict=True)):
            alone = self.run([row], plan, self.greedy())
            assert answers[n].ids == alone.responses[0].ids, f"row {n} under {plan}"
            assert doses[n].counts()[:4] == alone.dose[:4], f"row {n} under {plan}"
            for layer, tokens in alone.slots.items():
                assert all(_close(slots[layer][n, at], received) for (_, at), received in tokens.items())

    def test_an_edit_of_what_is_generated_leaves_the_prompt_alone(self) -> None:
        can = self.backend().can
        if "off" not in can.edits or "phase" not in can.scopes or can.keep is None:
            return
        plan = self.plan("off", phase="generated")
        layer, ends = plan.layers[0], [len(row) for row in self.rows()]
        bare, found = self.run(how=self.greedy()).slots[layer], self.run(plan=plan, how=self.greedy()).slots[layer]
        assert all(_close(found[n, at], bare[n, at]) for n, at in found if at < ends[n])
        assert not any(plan.experts[0].expert in slots for (n, at), slots in found.items() if at >= ends[n])

    def test_a_compiled_plan_is_the_same_from_plain_data(self) -> None:
        for kind in sorted(self.backend().can.edits):
            compiled = compiled_for(self.model(), self.plan(kind))
            again = CompiledPlan.from_data(json.loads(json.dumps(compiled.to_data())))
            assert again.plan == compiled.plan
            assert _alike(self.run(compiled=compiled), self.run(compiled=again))

    # ---- with what they ask

    def backend(self) -> Backend:
        """The engine."""
        return backend_of(self.model())

    def greedy(self) -> Decoding:
        """As the checkpoint generates, without end tokens."""
        return replace(decoding_of(self.model(), self.n_tokens), stop=frozenset())

    def plan(self, kind: str, **scope: Any) -> Plan:
        """An edit of the expert that the rows select most in the first layer that routes; of the last one for force."""
        layer = self.backend().facts.anatomy.layer(self.backend().facts.anatomy.moe_layers[0])
        used = np.zeros(layer.n_experts)
        for slots in self.run().slots.get(layer.layer, {}).values():
            used[list(slots)] += 1
        ref = ExpertRef(layer.layer, int(used.argmin() if kind == "force" else used.argmax()))
        width = layer.output_size or self.backend().facts.anatomy.hidden_size
        value: dict[str, Any] = {"scale": 3.0, "bias": -4.0, "replace": (0.5,) * width}
        return getattr(Plan, kind)([ref], *([value[kind]] if kind in value else []), **scope)

    def run(
        self,
        rows: Sequence[Sequence[int]] | None = None,
        plan: Plan | None = None,
        how: Decoding | None = None,
        seeds: Sequence[int] = (),
        keep: Keep | None = None,
        compiled: CompiledPlan | None = None,
    ) -> Whole:
        """Runs rows on the engine and puts together what it hands over; slots are always recorded where they can be."""
        backend, rows = self.backend(), self.rows() if rows is None else rows
        dose = Dose(slots_per_token(backend.facts.anatomy))
        keep = keep or (None if backend.can.keep is None else Keep())
        compiled = compiled or compiled_for(self.model(), plan)
        with closing(backend.run(Batch(rows, seeds), compiled, how, keep, dose)) as running:
            portions = list(running)
        made = [p.made for p in portions if p.made is not None]
        answers = generated(made, len(rows)) if made else []
        return Whole(answers, _slots(portions), dose.counts(), portions)


class SameNumbers:
    """Two engines with one model give the same numbers in what both can."""

    def models(self) -> tuple[MoEModel, MoEModel]:
        """The same model on either engine."""
        raise NotImplementedError

    def test_runs_and_scores_are_the_same(self) -> None:
        one, other = (type("Of", (BackendContract,), {"model": lambda self, m=m: m})() for m in self.models())
        assert _alike(one.run(), other.run())
        a, b = one.run(how=one.greedy()), other.run(how=other.greedy())
        assert [r.ids for r in a.responses] == [r.ids for r in b.responses]
        assert _alike(a, b)
        for x, y in zip(a.responses, b.responses, strict=True):
            assert np.abs(np.subtract(x.logprobs, y.logprobs)).max() <= CLOSE
        if one.backend().can.scoring and other.backend().can.scoring:
            batch = Batch(one.rows(), read=[1, 2, 0])
            x, y = (c.backend().score(batch, compiled_for(c.model())) for c in (one, other))
            for a, b, read in zip(x.exp(), y.exp(), batch.read, strict=True):
                assert (a[-1 - read :] - b[-1 - read :]).abs().max() <= CLOSE


def _slots(portions: Sequence[Ran]) -> dict[int, dict[tuple[int, int], dict[int, float]]]:
    found: dict[int, dict[tuple[int, int], dict[int, float]]] = {}
    for portion in portions:
        for number, record in portion.record.layers.items() if portion.record is not None else ():
            tokens = zip(portion.where.sequence.tolist(), portion.where.position.tolist(), strict=True)
            for token, row in zip(tokens, portion.where.rows.tolist(), strict=True):
                found.setdefault(number, {})[token] = _received(record, row)
    return found


def _received(record: LayerRecord, row: int) -> dict[int, float]:
    return dict(zip(record.index[row].tolist(), record.weight[row].float().tolist(), strict=True))


def _check_edit(kind: str, expert: int, received: dict[int, float], bare: dict[int, float], token: str) -> None:
    if kind == "off":
        assert expert not in received, f"off: {token} received expert {expert}"
    elif kind == "force":
        assert expert in received, f"force: {token} did not receive expert {expert}"
    elif expert in bare:
        factor = 3.0 if kind == "scale" else 0.0
        assert abs(received[expert] - factor * bare[expert]) <= CLOSE, f"{kind}: {token} weighs {received[expert]}"
    else:
        assert _close(received, bare), f"{kind}: {token} was changed without the expert"


def _alike(a: Whole, b: Whole) -> bool:
    return a.slots.keys() == b.slots.keys() and all(
        tokens.keys() == b.slots[layer].keys() and all(_close(s, b.slots[layer][t]) for t, s in tokens.items())
        for layer, tokens in a.slots.items()
    )


def _close(a: dict[int, float], b: dict[int, float]) -> bool:
    return a.keys() == b.keys() and all(abs(weight - b[expert]) <= CLOSE for expert, weight in a.items())


def _is_refused(call: Any) -> None:
    try:
        call()
    except WorkbenchError:
        return
    raise AssertionError("The engine says that it cannot do this, and it is not refused.")
