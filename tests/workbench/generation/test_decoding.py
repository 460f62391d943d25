"""How tokens are chosen: draws, log-probabilities and the generation config's rules, against numbers worked out apart."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.support import families
from workbench import Plan, WorkbenchError, capture, open_store
from workbench.answering import answer
from workbench.generation import Choosing, Decoding, Generated, Made, decoding_of, generated
from workbench.loading import tiny_model

NO_MODEL: Any = None
SHARES = np.array([0.1, 0.2, 0.3, 0.4])


def draws(seed: int, n: int) -> list[float]:
    """The uniform numbers that a sequence's seed gives."""
    return torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).tolist()


def logits(shares: np.ndarray, rows: int = 1) -> torch.Tensor:
    return torch.tensor(np.log(shares), dtype=torch.float32).repeat(rows, 1)


def said_by(choosing: Choosing, steps: list[torch.Tensor]) -> list[Generated]:
    """What is made of the logits of each step, the last of them again and again."""
    made = [choosing.choose(step) for step in steps]
    while choosing.alive.any():
        made.append(choosing.choose(steps[-1]))
    return generated(made, len(choosing.alive))


def test_every_step_has_a_draw_of_its_own_and_each_token_its_own_log_probability() -> None:
    seeds, n = (3, 11), 12
    choosing = Choosing(NO_MODEL, [(0,), (0,)], Decoding(n, temperature=1.0), seeds)
    for seed, said in zip(seeds, said_by(choosing, [logits(SHARES, 2)]), strict=True):
        wanted = [next(i for i, below in enumerate((0.1, 0.3, 0.6, 1.0)) if u < below) for u in draws(seed, n)]
        assert list(said.ids) == wanted
        assert len(set(wanted)) > 2
        assert said.logprobs == pytest.approx(np.log(SHARES[wanted]))


def test_a_temperature_sharpens_what_is_drawn_from_and_not_what_is_recorded() -> None:
    choosing = Choosing(NO_MODEL, [(0,)], Decoding(20, temperature=0.5), [5])
    (said,) = said_by(choosing, [logits(SHARES)])
    sharp = np.array([1, 4, 9, 16]) / 30  # squares
    wanted = [int((u >= sharp.cumsum()).sum()) for u in draws(5, 20)]
    assert list(said.ids) == wanted
    assert wanted != [int((u >= SHARES.cumsum()).sum()) for u in draws(5, 20)]
    assert said.logprobs == pytest.approx(np.log(SHARES[wanted]))


def test_a_response_ends_with_its_end_token_or_its_last() -> None:
    choosing = Choosing(NO_MODEL, [(0,), (0,), (0,)], Decoding(3, stop=frozenset({2, 5})))
    steps = [[1, 2, 3], [2, 0, 5], [1, 1, 1]]
    made, alive = list[Made](), list[list[bool]]()
    for step in steps:
        made.append(choosing.choose(torch.nn.functional.one_hot(torch.tensor(step), 6).float()))
        alive.append(choosing.alive.tolist())
    assert alive == [[True, False, True], [False] * 3, [False] * 3]
    assert [r.ids for r in generated(made, 3)] == [(1, 2), (2,), (3, 5)]
    assert [(m.row.tolist(), m.ends.tolist()) for m in made[:2]] == [
        ([0, 1, 2], [False, True, False]),
        ([0, 2], [True] * 2),
    ]


@pytest.mark.parametrize("options", [{}, {"repetition_penalty": 1.5, "min_new_tokens": 4}], ids=["plain", "penalty"])
def test_samples_are_drawn_by_the_prompts_seed_from_the_configs_distribution(options: Any, tmp_path: Path) -> None:
    """Every sampled token against a float64 loop over whole forwards of a model that the product never touched."""
    model, bare, n, t = families.build("olmoe"), tiny_model("olmoe"), 8, 0.7
    model.hf.generation_config.update(top_k=2, top_p=0.3, do_sample=True, **options)  # the first three are not used
    rows = [{"id": "a", "text": "once upon"}, {"id": "b", "text": "two"}]
    store = capture(model, rows, tmp_path / "store", generate=n, samples=3, temperature=t, seed=4, progress=False)
    judged, unlikely = 0, 0
    for i, row in enumerate(rows):
        prompt = model.tokenizer(row["text"])["input_ids"]
        for sample in range(3):
            found = store.tokens.query(f"prompt_id == '{row['id']}' and sample == {sample} and generated")
            said, logprobs = found["token_id"].tolist(), found["logprob"].tolist()
            for step, u in enumerate(draws(store.plan_json["seeds"][i] + sample, n)[: len(said)]):
                with torch.no_grad():
                    scores = bare(torch.tensor([[*prompt, *said[:step]]])).logits[0, -1].double().numpy()
                usual = scores - np.log(np.exp(scores).sum())
                assert logprobs[step] == pytest.approx(usual[said[step]], abs=1e-4)
                unlikely += said[step] != usual.argmax()
                share = np.exp(_shaped(scores, [*prompt, *said[:step]], options, step) / t)
                below = (share / share.sum()).cumsum()
                if np.abs(below - u).min() > 1e-5:  # else rounding may decide
                    assert said[step] == int((u >= below).sum())
                    judged += 1
    assert judged >= 20
    assert unlikely >= 5


def _shaped(scores: np.ndarray, before: list[int], options: Any, step: int) -> np.ndarray:
    scores = scores.copy()
    for token in set(before) if options else ():
        scores[token] *= 1.5 if scores[token] < 0 else 1 / 1.5
    if options and step < 4:
        scores[1] = -np.inf  # the tiny models' end
    return scores


@pytest.mark.parametrize("plan", [Plan(), Plan.off("L1E0")], ids=["bare", "steered"])
def test_the_neighbours_in_a_batch_change_no_answer(plan: Plan) -> None:
    model, rows = families.build("qwen3_moe"), [(5, 6), (7,), (9, 8, 7, 6, 5, 4, 3, 2)]
    usual = answer(model, rows, plan, 10, 4096).ids
    ends = [
        usual[0][2],
        usual[1][7],
        usual[2][3],
    ]  # the second may only end from its ninth token on: padding does not count
    model.hf.generation_config.update(min_length=9, repetition_penalty=1.01, eos_token_id=ends)
    together, alone = answer(model, rows, plan, 10, 4096), [answer(model, [row], plan, 10, 4096) for row in rows]
    assert together.ids == tuple(a.ids[0] for a in alone)
    assert [len(ids) for ids in together.ids] != [10] * 3
    assert len({len(ids) for ids in together.ids}) > 1
    assert together.dose.tokens == sum(a.dose.tokens for a in alone), "what follows an end is no token"


def test_a_forced_first_token_comes_after_a_prompt_of_one() -> None:
    model = families.build("qwen3_moe")
    model.hf.generation_config.forced_bos_token_id = 9
    found = answer(model, [(7,), (7, 8)], Plan(), 3, 4096).ids
    assert found[0][0] == 9
    assert found[1][0] != 9


def test_nothing_is_recorded_that_changes_nothing() -> None:
    model = families.build("olmoe")
    config = model.hf.generation_config
    config.update(
        repetition_penalty=1.0, no_repeat_ngram_size=0, min_length=0, temperature=0.6, top_k=20, do_sample=True
    )
    assert decoding_of(model, 4).record() == {"stop": [1]}
    config.update(no_repeat_ngram_size=3, sequence_bias={(4, 5): 2.0}, suppress_tokens=[7], num_beams=1)
    wanted = {"stop": [1], "no_repeat_ngram_size": 3, "sequence_bias": [[[4, 5], 2.0]], "suppress_tokens": [7]}
    assert decoding_of(model, 4).record() == wanted
    assert json.loads(json.dumps(wanted)) == wanted


class _Stop(Exception):
    pass


def _half(model: Any, into: Path) -> None:
    def stop(progress: Any) -> None:
        if progress.done > 20:
            raise _Stop

    with pytest.raises(_Stop):
        _capture(model, into, progress=stop)


def _capture(model: Any, into: Path, progress: Any = False) -> Any:
    rows = [{"id": str(i), "text": f"once {i}"} for i in range(4)]
    return capture(model, rows, into, generate=6, batch_tokens=16, shard_tokens=16, progress=progress)


def _ids(store: Any) -> list[int]:
    return store.tokens.sort_values(["prompt_id", "position"])["token_id"].tolist()


def test_a_capture_goes_on_only_with_the_decoding_it_was_begun_with(tmp_path: Path) -> None:
    model = families.build("qwen3_moe")
    config = model.hf.generation_config
    config.no_repeat_ngram_size = 1
    whole = _ids(_capture(model, tmp_path / "whole"))
    _half(model, tmp_path / "halves")
    config.no_repeat_ngram_size = 2
    with pytest.raises(WorkbenchError, match=r"another decoding by the generation config \(.*ngram_size\": 1.* there"):
        _capture(model, tmp_path / "halves")
    config.no_repeat_ngram_size = 1
    store = _capture(model, tmp_path / "halves")
    assert store.plan_json["decoding"] == {"stop": [1], "no_repeat_ngram_size": 1}
    assert _ids(store) == whole
    config.no_repeat_ngram_size = None
    assert _ids(_capture(model, tmp_path / "free")) != whole


def test_a_capture_of_an_earlier_version_goes_on_as_it_was_begun_and_says_so(tmp_path: Path) -> None:
    model = families.build("qwen3_moe")
    free = _ids(_capture(model, tmp_path / "free"))
    _half(model, tmp_path / "old")
    path = tmp_path / "old" / "plan.json"
    plan = json.loads(path.read_text())
    del plan["decoding"]  # as earlier versions wrote it, whatever the generation config said
    path.write_text(json.dumps(plan))
    model.hf.generation_config.no_repeat_ngram_size = 1
    store = _capture(model, tmp_path / "old")
    assert _ids(store) == free
    (note,) = [w for w in store.manifest["warnings"] if "generation config" in w]
    assert "without no_repeat_ngram_size" in note
    assert _ids(_capture(model, tmp_path / "new")) != free
    assert not [w for w in open_store(tmp_path / "new").manifest["warnings"] if "generation config" in w]


def test_reading_is_not_generating(tmp_path: Path) -> None:
    model = families.build("qwen3_moe")
    before = deepcopy(model.hf.generation_config)
    model.hf.generation_config.no_repeat_ngram_size = 1
    store = capture(model, ["once"], tmp_path / "store", progress=False)
    assert "decoding" not in store.plan_json
    model.hf.generation_config = before
    assert capture(model, ["once"], tmp_path / "store", progress=False).plan_json == store.plan_json


def test_an_answer_of_no_tokens_is_refused() -> None:
    with pytest.raises(WorkbenchError, match="max_new_tokens=0 hold nothing"):
        answer(families.get("olmoe"), [(5,)], Plan(), 0, 64)
