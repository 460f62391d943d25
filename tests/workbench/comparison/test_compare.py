"""`compare`: its numbers against plain transformers calls made here, one prompt at a time."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from tests.support.stores import anatomy, random_tables
from workbench import Plan, capture, compare, load, read_prompts, steered
from workbench.comparison import cluster_keys, expert_loads, paired_interval
from workbench.errors import WorkbenchError
from workbench.responses import METRICS, metrics_from
from workbench.store import write_store

NEW_TOKENS = 10
PROMPTS = [
    {"id": "a", "prompt": "hello", "labels": {"answer": "x"}, "response": "some text", "pair": "1"},
    {"id": "b", "prompt": "a longer question than the others", "pair": "1"},
    {"id": "c", "text": "plain text to score", "cluster": "alone"},
]


@pytest.fixture(scope="module")
def model():
    return load("tiny/olmoe")


@pytest.fixture(scope="module")
def plan():
    return Plan.off("L0E2,L1E3,L2E5")


@pytest.fixture(scope="module")
def report(model, plan):
    return compare(
        model, PROMPTS, plan, metrics=("length",), controls={"count": 2, "layer": 1}, max_new_tokens=NEW_TOKENS
    )


def ids_of(model, prompt):
    if prompt.text is not None:
        return model.tokenizer(prompt.text, return_tensors="pt")["input_ids"]
    text = model.tokenizer.apply_chat_template(list(prompt.messages), tokenize=False, add_generation_prompt=True)
    return model.tokenizer(text, add_special_tokens=False, return_tensors="pt")["input_ids"]


def alone(model, prompt):
    """Greedy answer of one prompt, unpadded."""
    ids = ids_of(model, prompt)
    return ids, model.hf.generate(ids, max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)[0, ids.shape[1] :]


def until_end(ids):
    return list(ids[: list(ids).index(1)]) if 1 in ids else list(ids)


def text_of(model, ids):
    return model.tokenizer.decode(until_end(ids), skip_special_tokens=True).strip()


def test_answers_are_those_of_single_unpadded_generations(model, plan, report):
    for prompt, row in zip(read_prompts(PROMPTS), report.responses.to_dict("records"), strict=True):
        assert row["base"] == text_of(model, alone(model, prompt)[1].tolist())
        with steered(model, plan):
            steered_to = alone(model, prompt)[1].tolist()
        assert row["steered"] == text_of(model, steered_to)
    assert report.responses["changed"].any(), "a plan on three layers of a lively model should change some answer"


def test_kl_is_that_of_two_forwards_by_hand(model, plan, report):
    for prompt, row in zip(read_prompts(PROMPTS), report.divergence.to_dict("records"), strict=True):
        ids, answered = alone(model, prompt)
        answered = until_end(answered.tolist())
        whole = torch.cat([ids, torch.tensor([answered], dtype=torch.long)], 1)
        with torch.no_grad():
            p = model.hf(whole).logits[0, ids.shape[1] - 1 :].double().softmax(-1).numpy()
            with steered(model, plan):
                q = model.hf(whole).logits[0, ids.shape[1] - 1 :].double().softmax(-1).numpy()
        kl = (p * np.log(p / q)).sum(-1)
        assert kl.max() > 1e-4
        assert row["kl_first_nats"] == pytest.approx(kl[0], abs=1e-5)
        if answered:
            assert row["kl_nats"] == pytest.approx(kl[:-1].mean(), abs=1e-5)


def test_perplexity_is_that_of_the_given_texts(model, report):
    """Response after its prompt, and plain text after its first token; pooled over tokens."""
    a, _, c = read_prompts(PROMPTS)
    answer = model.tokenizer(a.response, add_special_tokens=False, return_tensors="pt")["input_ids"]
    total, n = 0.0, 0
    for before, text in ((ids_of(model, a), answer), (ids_of(model, c)[:, :1], ids_of(model, c)[:, 1:])):
        whole = torch.cat([before, text], 1)
        with torch.no_grad():
            logp = model.hf(whole).logits[0].double().log_softmax(-1)
        for position in range(before.shape[1], whole.shape[1]):
            total -= logp[position - 1, whole[0, position]].item()
            n += 1
    assert report.perplexity["n_tokens"] == n
    assert report.perplexity["base"] == pytest.approx(np.exp(total / n), rel=1e-4)
    assert report.perplexity["steered"] != report.perplexity["base"]


def test_metrics_are_means_of_the_function_over_the_shown_answers(report):
    row = report.metrics.iloc[0]
    assert row["base"] == pytest.approx(np.mean([len(t) for t in report.responses["base"]]))
    assert row["steered"] == pytest.approx(np.mean([len(t) for t in report.responses["steered"]]))
    assert row["difference"] == pytest.approx(row["steered"] - row["base"])
    assert (row["n"], row["n_clusters"]) == (3, 2), "a and b are one pair, c has a cluster of its own"


def test_every_random_draw_is_shown_and_leaves_the_plan_out(report, plan):
    assert list(zip(report.controls["match"], report.controls["draw"], strict=True)) == [
        ("count", 0),
        ("count", 1),
        ("layer", 0),
    ]
    for text in report.controls["plan"]:
        drawn = Plan.parse(text)
        assert len(drawn) == len(plan)
        assert not set(drawn.experts) & set(plan.experts)
    assert Plan.parse(report.controls["plan"].iloc[2]).layers == plan.layers


def test_a_draws_row_is_what_its_plan_does(model, report):
    """Base, steered and difference of every draw, from this test's own answers, one prompt at a time."""
    prompts = read_prompts(PROMPTS)
    base = np.mean([len(text_of(model, alone(model, prompt)[1].tolist())) for prompt in prompts])
    for row in report.controls.to_dict("records"):
        with steered(model, Plan.parse(row["plan"])):
            lengths = [len(text_of(model, alone(model, prompt)[1].tolist())) for prompt in prompts]
        assert row["base"] == pytest.approx(base)
        assert row["steered"] == pytest.approx(np.mean(lengths))
        assert row["difference"] == pytest.approx(np.mean(lengths) - base)
        assert row["n"] == len(prompts)
    assert report.controls["difference"].abs().max() > 0, "some draw changes some answer"


def test_loads_are_shares_of_a_layers_selections(tmp_path):
    """Layer 1: experts 0, 0, 1, 2 of four selections; layer 2: 3, 3, 3, 4."""
    tables = random_tables()
    keys = [("p", 0, position) for position in range(4)]
    tables["prompts"] = pd.DataFrame({"prompt_id": ["p"], "text": ["x"], "n_tokens": [4]})
    names = ["prompt_id", "sample", "position"]
    tables["tokens"] = pd.DataFrame(keys, columns=names).assign(token_id=1, role="user", generated=False)
    chosen = {1: [0, 0, 1, 2], 2: [3, 3, 3, 4]}
    slots = [
        (*key, layer, 0, expert, 1.0) for layer, of in chosen.items() for key, expert in zip(keys, of, strict=True)
    ]
    tables["slots"] = pd.DataFrame(slots, columns=[*names, "layer", "slot", "expert", "weight"])
    found = expert_loads(write_store(tmp_path / "store", anatomy(top_k=1), tables))
    assert found[["layer", "expert"]].to_numpy().tolist() == [[n, e] for n in (1, 2) for e in range(5)]
    assert found["score"].tolist() == [0.5, 0.25, 0.25, 0, 0, 0, 0, 0, 0.75, 0.25]


def test_prompts_that_hang_together_are_resampled_together():
    """Pair 1 joins the clusters X and Y; d and e are a pair of which one has a cluster; f stands alone."""
    prompts = read_prompts(
        [
            {"id": "a", "text": "x", "pair": "1", "cluster": "Y"},
            {"id": "b", "text": "x", "pair": "1", "cluster": "X"},
            {"id": "c", "text": "x", "cluster": "Y"},
            {"id": "d", "text": "x", "pair": "2"},
            {"id": "e", "text": "x", "pair": "2", "cluster": "Z"},
            {"id": "f", "text": "x"},
        ]
    )
    assert cluster_keys(prompts) == ["c:X", "c:X", "c:X", "c:Z", "c:Z", "i:f"]


def test_the_bundled_prompts_are_resampled_by_place():
    """72 pairs about 32 places: what one pair about a place does, the others do."""
    prompts = read_prompts("refusal")
    assert cluster_keys(prompts) == [f"c:{p.cluster}" for p in prompts]
    assert len({p.pair for p in prompts}) == 72
    assert len(set(cluster_keys(prompts))) == 32


def test_an_interval_of_few_clusters_is_as_wide_as_students():
    """Twelve clusters of equal size: standard error times Student's t of 11 degrees of freedom, 2.201, both by hand."""
    per_cluster = np.array([0.3, -0.1, 0.8, 0.4, 0.2, -0.5, 0.9, 0.1, 0.6, 0.0, -0.2, 0.7])
    difference, clusters = np.repeat(per_cluster, 3), np.repeat(np.arange(12), 3)
    low, high = paired_interval(np.full(36, 5.0), 5 + difference, clusters, 0)
    mean = sum(per_cluster) / 12
    error = (sum((x - mean) ** 2 for x in per_cluster) / 11 / 12) ** 0.5
    assert (low, high) == (pytest.approx(mean - 2.201 * error, abs=0.04), pytest.approx(mean + 2.201 * error, abs=0.04))


def test_every_answer_changed_is_no_certainty_either():
    """All of ten yeses turned to no: up to 1 - 0.05^(1/10) = 25.9 % of clusters may not."""
    ones, clusters = np.ones(20), np.repeat(np.arange(10), 2)
    assert paired_interval(ones, 0 * ones, clusters, 0) == (-1, pytest.approx(-0.7411, abs=1e-4))
    assert paired_interval(0 * ones, ones, clusters, 0) == (pytest.approx(0.7411, abs=1e-4), 1)


def test_an_empty_plan_changes_nothing_and_says_so(model):
    report = compare(model, PROMPTS[:2], Plan(), metrics="length", max_new_tokens=4)
    assert not report.responses["changed"].any()
    assert report.divergence["kl_first_nats"].eq(0).all()
    assert report.controls.empty
    assert "changed nothing" in str(report)


def test_a_plan_whose_expert_is_never_selected_says_that_it_changed_nothing(model):
    """Scaling by 1 selects nothing else and weighs nothing else."""
    report = compare(model, PROMPTS[:1], Plan.scale("L0E1", 1.0), controls=0, metrics="length", max_new_tokens=4)
    assert report.dose.slots_changed == 0
    assert "changed nothing" in str(report)


def test_the_report_is_json_without_nan(report, tmp_path):
    path = tmp_path / "report.json"
    report.to_json(path)
    data = json.loads(path.read_text(), parse_constant=lambda name: pytest.fail(f"{name} in JSON"))
    assert Plan.from_json(json.dumps(data["plan"])) == report.plan
    assert len(data["responses"]) == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda m: compare(m, PROMPTS, Plan.off("L0E2"), metrics="refusal"),
            "no metric 'refusal'; did you mean 'refused'",
        ),
        (
            lambda m: compare(m, PROMPTS[1:], Plan.off("L0E2"), metrics="exact", max_new_tokens=2),
            "'exact' applies to none",
        ),
        (lambda m: compare(m, PROMPTS, Plan.off("L9E2")), "Layer 9 does not exist"),
        (lambda m: compare(m, PROMPTS, Plan.replace("L0E2", "mean")), "resolve it with plan.with_means"),
        (lambda m: compare(m, PROMPTS, Plan.off("L0E2"), max_new_tokens=600), "takes 512; shorten it"),
        (lambda m: compare(m, PROMPTS, Plan.off("L0E2"), controls={"usage": 1}), "needs usage="),
        (lambda m: compare(m, [], Plan.off("L0E2")), "no prompts"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_a_sentence(model, make, message):
    with pytest.raises(WorkbenchError, match=message):
        make(model)


def test_a_store_of_another_model_is_refused(model, tmp_path):
    other = capture(load("tiny/mixtral"), ["hello"], tmp_path / "other", progress=False)
    with pytest.raises(WorkbenchError, match="made on another model"):
        compare(model, PROMPTS, Plan.off("L0E2"), store=other)


def test_the_base_is_never_steered(model):
    with steered(model, Plan.mute("L0E1")), pytest.raises(WorkbenchError, match="outside `with steered`"):
        compare(model, PROMPTS, Plan.off("L0E2"))


def test_paired_interval_resamples_clusters():
    """Ten pairs of equal differences: resampling rows would be narrower by about sqrt(2)."""
    rng = np.random.default_rng(0)
    per_cluster = rng.normal(size=40)
    difference, clusters = np.repeat(per_cluster, 2), np.repeat(np.arange(40), 2)
    low, high = paired_interval(np.zeros(80), difference, clusters, 0)
    width = 2 * 1.96 * per_cluster.std() / np.sqrt(40)
    assert high - low == pytest.approx(width, rel=0.15)
    assert np.isnan(paired_interval(np.zeros(80), difference, np.zeros(80, int), 0)).all()


def test_no_changed_answer_is_no_certainty():
    """The rule of three: none of 40 clusters changed, so up to 7.2 % of them may; a mean of numbers has no such bound."""
    right, clusters = np.tile([0.0, 1.0], 40), np.repeat(np.arange(40), 2)
    low, high = paired_interval(right, right, clusters, 0)
    assert (low, high) == (-high, pytest.approx(1 - 0.05**0.025))
    assert high == pytest.approx(3 / 40, rel=0.05)
    assert (1 - high) ** 40 == pytest.approx(0.05)  # what it is the bound of
    assert paired_interval(7 * right, 7 * right, clusters, 0) == (0, 0)


def test_rare_changes_of_yes_and_no_widen_by_half_a_change_a_direction():
    """Ten clusters of four, one prompt changed: t(9) = 2.262, so 2.262^2 x max(1, 4 / 2) / 40^2 = 0.0064 in the square."""
    yes, clusters = np.ones(40), np.repeat(np.arange(10), 4)
    steered = np.where(np.arange(40) == 5, 0.0, 1.0)
    as_numbers = paired_interval(
        7 * yes, 7 * yes + steered - yes, clusters, 0
    )  # the same differences, not of yes and no
    low, high = paired_interval(yes, steered, clusters, 0)
    assert (low + 0.025) ** 2 - (as_numbers[0] + 0.025) ** 2 == pytest.approx(0.0064, abs=1e-5)
    assert (high + 0.025) ** 2 - (as_numbers[1] + 0.025) ** 2 == pytest.approx(0.0064, abs=1e-5)
    assert paired_interval(yes[:4], 1.0 * (np.arange(4) > 2), np.arange(4), 0)[0] == -1  # no share is below -1


def test_metrics_by_name_function_and_mapping():
    def shouting(response: str) -> bool:
        return response.isupper()

    assert [m.name for m in metrics_from(["refused", shouting])] == ["refused", "shouting"]
    assert [m.name for m in metrics_from({"loud": shouting})] == ["loud"]
    assert set(METRICS) == {m.name for m in metrics_from(list(METRICS))}


def test_progress_ends_at_its_total(model, plan):
    seen = []
    compare(model, PROMPTS, plan, controls=1, metrics="length", max_new_tokens=4, batch_tokens=60, progress=seen.append)
    assert "Answering 3 prompts 4 times, of them 2 with random experts" in seen[0].message
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert len({p.done for p in seen}) > 4 * 4, "every step of every batch is reported"
    assert all(p.done <= p.total for p in seen)
    assert seen[-1].done == seen[-1].total


def test_prompts_that_a_metric_leaves_out_are_counted(model, plan):
    def short(response):
        return None if response.prompt_id == "a" else len(response)

    report = compare(model, PROMPTS, plan, controls=1, metrics=short, max_new_tokens=4, progress=False)
    assert report.metrics["n"].tolist() == [2]
    assert report.controls["n"].tolist() == [2, 2]
    assert "short leaves out 1 of 3 prompts: it has no value for 1 base and 1 steered answers." in report.notes, (
        report.notes
    )


def test_a_metric_without_any_value_stops_before_the_other_arms(model, plan, monkeypatch):
    from workbench import answering as respond

    arms, answer = [], respond.answer

    def counted(*args, **how):
        arms.append(args)
        return answer(*args, **how)

    monkeypatch.setattr(respond, "answer", counted)
    with pytest.raises(WorkbenchError, match="applies to none"):
        compare(model, PROMPTS[1:], plan, metrics="exact", max_new_tokens=2, progress=False)
    assert len(arms) == 1
