"""A capture as it was asked, without a model: the plan that is written, how it is cut into batches, and every refusal."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.stores import anatomy
from workbench.anatomy import Anatomy, ExpertRef
from workbench.backends import Capabilities
from workbench.capturing import Options, make_request
from workbench.capturing.plan_json import check_same, plan_json
from workbench.errors import NotCompared, WorkbenchError
from workbench.loading import tiny_tokenizer
from workbench.plan import Plan
from workbench.prompts import PromptSet, read_prompts

ROWS = [
    {"id": "a", "text": "hi", "response": "no"},
    {"id": "b", "text": "xyz", "response": "yes"},
]
A, B = [107, 108, 1], [123, 124, 125, 1]  # bytes + 3, and the end token
ASKED: dict[str, Any] = {
    "keep": {"norms"}, "generate": 3, "samples": 2, "temperature": 0.5, "responses": None, "layers": None, "experts": None,
    "batch_tokens": 14, "shard_tokens": 20, "seed": 7, "text": True,
}  # fmt: skip
GIVEN = ASKED | {"generate": 0, "temperature": 0.0, "samples": 1, "responses": True}


def model(shape: Anatomy | None = None, rows: int = 384, engine: str = "native", **generation: Any) -> Any:
    """What a request looks at."""
    facts = SimpleNamespace(
        anatomy=shape or anatomy(),
        kind="Fake",
        n_embeddings=rows,
        config=SimpleNamespace(eos_token_id=[1, 5], _experts_implementation="eager"),
        generation_config=SimpleNamespace(eos_token_id=None, **generation),
    )
    backend = SimpleNamespace(can=Capabilities(engine), facts=facts)
    return SimpleNamespace(
        facts=facts, tokenizer=tiny_tokenizer(), anatomy=facts.anatomy, image_token=None, dtype="torch.bfloat16",
        device="NDIF" if "NDIF" in engine else "cpu", local=None, engine=lambda _: backend,
    )  # fmt: skip


def made(shape: Anatomy | None = None, prompts: Any = ROWS, **how: Any) -> Any:
    known = {k: how.pop(k) for k in ("rows", "engine", "repetition_penalty") if k in how}
    run = {k: how.pop(k) for k in ("begun", "plan") if k in how}
    return make_request(model(shape, **known), read_prompts(prompts), Options(**(ASKED | how)), **run)


def planned(*args: Any, **how: Any) -> dict[str, Any]:
    return plan_json(made(*args, **how))


def refused(**how: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        made(**how)
    return str(caught.value)


def digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


class TestPlan:
    def test_the_plan_that_is_written(self) -> None:
        plan = planned(repetition_penalty=1.25)
        versions = plan.pop("versions")
        assert set(versions) == {"workbench", "numpy", "torch", "transformers", "tokenizers", "pyarrow"}
        assert versions["numpy"] == np.__version__
        assert plan == {
            "schema_version": 2,
            "model": {"name": "synthetic", "revision": None, "weights": "w", "class": "Fake"},
            "anatomy": anatomy().to_dict(),
            "dtype": "bfloat16",
            "device": "cpu",
            "experts_implementation": "eager",
            "options": {
                **{k: v for k, v in ASKED.items() if k != "keep"},
                **{"keep": ["norms"], "responses": None},
            },
            "layers": [1, 2],
            "prompts": {"source": "", "n": 2, "fingerprint": read_prompts(ROWS).fingerprint, "tokens": digest([A, B])},
            "steering": None,
            "warnings": [
                "roles are unknown: text is tokenised as it is, so no chat template says who speaks (2 prompts, the first is 'a')"
            ],
            "seeds": [int(hashlib.sha256(f"7:{name}".encode()).hexdigest()[:16], 16) // 2048 for name in "ab"],
            "batches": [[2, 3], [0, 1]],  # both samples of b: (4 + 3) x 2; then of a: (3 + 3) x 2
            "shards": [[0], [1]],
            "backend": "native",
            "decoding": {"stop": [1, 5], "repetition_penalty": 1.25},
        }

    def test_sequences_and_sizes(self) -> None:
        asked = made()
        assert [asked.sequence(n) for n in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert [asked.ids(n) for n in range(4)] == [tuple(A), tuple(A), tuple(B), tuple(B)]
        assert [asked.shard_size(n) for n in range(2)] == [2 * (4 + 2), 2 * (3 + 2)]  # the last of 3 is not forwarded
        assert asked.estimate.tokens == 2 * (4 + 2) + 2 * (3 + 2)
        assert asked.estimate.tables == {"tokens": 88, "slots": 22 * 4 * 14, "residual": 0, "logits": 0, "outputs": 0}

    def test_given_responses(self) -> None:
        asked = made(**GIVEN)
        assert asked.decoding is None
        assert [asked.ids(n) for n in range(2)] == [(*A, 113, 114), (*B, 124, 104, 118)]
        assert plan_json(asked)["options"]["responses"] == digest({"a": ["no"], "b": ["yes"]})
        assert asked.estimate.tokens == asked.shard_size(0) == 12
        two = made(**GIVEN | {"responses": {"b": ["x", "y"], "a": ["z", "w"]}})
        assert two.options.samples == 2
        assert [two.ids(n)[-1] for n in range(4)] == [125, 122, 123, 124]  # z, w, x, y
        assert made(**GIVEN | {"responses": False}).responses is None

    def test_where_it_runs(self) -> None:
        there = planned(engine="nnsight on NDIF")
        assert (there["backend"], there["device"]) == ("nnsight on NDIF", "NDIF")
        chat = {"id": "c", "prompt": "hi"}
        assert "template_date" not in planned(prompts=[chat])  # this template does not ask
        asked = model()
        asked.tokenizer.chat_template = "{{ strftime_now('%Y') }}"
        begun = {"template_date": "2024-05-06T07:08:09", "decoding": {}}
        for prompts, date in (([chat, *ROWS], "2024-05-06T07:08:09"), (ROWS, None)):
            plan = plan_json(make_request(asked, read_prompts(prompts), Options(**ASKED), begun=begun))
            assert plan.get("template_date") == date

    def test_what_an_earlier_version_left_out(self) -> None:
        """It had no use for penalties: a capture that it began goes on without them, and says so."""
        asked = made(repetition_penalty=1.25, begun={})
        assert asked.decoding.shaping == {}
        assert plan_json(asked)["warnings"][1:] == [
            "responses are made as this capture was begun, without repetition_penalty of the generation config"
        ]
        for how in ({"begun": {"decoding": {}}}, {}, {"begun": {"backend": "nnsight"}, "engine": "nnsight"}):
            assert made(repetition_penalty=1.25, **how).decoding.shaping == {"repetition_penalty": 1.25}
        assert len(planned(begun={})["warnings"]) == 1

    def test_layers_and_experts_in_order(self) -> None:
        asked = made(keep="outputs", layers=[2, 1, 2], experts=["L2E4", (1, 3), "L1E0"])
        assert (asked.options.layers, asked.options.experts) == (
            (1, 2),
            (ExpertRef(1, 0), ExpertRef(1, 3), ExpertRef(2, 4)),
        )
        assert asked.options.keep == ("outputs",)
        assert plan_json(asked)["options"]["experts"] == ["L1E0", "L1E3", "L2E4"]
        assert asked.estimate.tables["outputs"] == round(22 * 3 * 0.4 * (4 * 3.7 + 0.5))
        assert Options(keep=["outputs"], experts=[ExpertRef(3, 1), ExpertRef(2, 1, True)]).expert_numbers == [
            (2, -2),
            (3, 1),
        ]

    def test_what_steers_meanwhile_is_what_it_was_given(self) -> None:
        plan = Plan.off("L1E3").for_model(anatomy())
        assert planned(plan=plan)["steering"] == json.loads(plan.to_json())
        assert planned(plan=Plan())["steering"] is None


class TestOptions:
    def test_there_and_back(self) -> None:
        """As plan.json holds them; the experts are experts again, and given responses are asked of the prompts."""
        asked = Options(
            ["outputs", "norms"], 0, 2, 0.5, {2, 1}, ["L2E4", "L1S0"], 14, 20, 7, False, {"a": ["x", "y"]}
        )  # fmt: skip
        held = asked.to_dict()
        assert list(held.items()) == [
            ("keep", ["norms", "outputs"]), ("generate", 0), ("samples", 2), ("temperature", 0.5), ("layers", [1, 2]),
            ("experts", ["L1S0", "L2E4"]), ("batch_tokens", 14), ("shard_tokens", 20), ("seed", 7), ("text", False),
            ("responses", digest({"a": ["x", "y"]})),
        ]  # fmt: skip
        assert Options.from_dict(held) == replace(asked, responses=True)
        assert Options.from_dict(Options().to_dict()) == Options()

    def test_the_order_and_the_kind_of_collections_do_not_matter(self) -> None:
        one = Options(keep={"outputs", "norms"}, layers=[2, 1, 2], experts={ExpertRef(1, 3), ExpertRef(1, 0)})
        assert one == Options(keep=("norms", "outputs"), layers=(1, 2), experts=["L1E0", "L1E3"])  # type: ignore

    @pytest.mark.parametrize("damage", [{"layers": 3}, {"experts": [4]}, {"samples": None}, {"keep": None}])
    def test_damaged_ones_are_refused_in_a_sentence(self, damage: dict[str, Any]) -> None:
        with pytest.raises(
            WorkbenchError, match=r"^The options of this plan\.json are damaged \(.*; they should be as"
        ):
            Options.from_dict(Options().to_dict() | damage)
        short = {k: v for k, v in Options().to_dict().items() if k != next(iter(damage))}
        with pytest.raises(WorkbenchError, match="are damaged"):
            Options.from_dict(short)
        with pytest.raises(WorkbenchError, match="does not know 'norm'"):
            Options.from_dict(Options().to_dict() | {"keep": ["norm"]})


class TestRefused:
    def test_lengths(self) -> None:
        shape = anatomy()
        assert planned(replace(shape, context_length=6))["shards"]
        said = "The prompt 'b' has 4 tokens and 3 to generate, and synthetic takes 5; shorten it or leave it out."
        assert refused(shape=replace(shape, context_length=5)) == said
        said = "The prompt 'b' has 7 tokens, and synthetic takes 6; shorten it or leave it out."
        assert refused(shape=replace(shape, context_length=6), **GIVEN) == said

    def test_ids_of_another_vocabulary(self) -> None:
        assert planned(rows=126)["shards"]
        assert refused(rows=125) == (
            "The prompt 'b' has the token id 125, and synthetic has embeddings 0-124: the tokenizer is another model's; "
            "load(..., tokenizer) with its own."
        )
        assert "has the token id 125" in refused(rows=125, **GIVEN | {"responses": {"a": "z", "b": "b"}})

    def test_options(self) -> None:
        least = {"generate": 0, "samples": 1, "batch_tokens": 1, "shard_tokens": 1, "temperature": 0}
        ok: dict[str, Any] = GIVEN | least | {"keep": (), "responses": True}
        Options(**ok)
        for name, value in least.items():
            with pytest.raises(WorkbenchError) as caught:
                Options(**ok | {name: value - 1})
            assert str(caught.value) == f"capture({name}={value - 1}) makes no sense; it should be at least {value}."
        Options(**ok | {"samples": 1_000_000})
        with pytest.raises(
            WorkbenchError, match=r"samples=1000001\) makes no sense; it should be at most 1,000,000\.$"
        ):
            Options(**ok | {"samples": 1_000_001})
        sampled = ok | {"samples": 2, "responses": None, "generate": 1, "temperature": 0.1}
        Options(**sampled)
        for wrong in ({"generate": 0}, {"temperature": 0.0}):
            with pytest.raises(WorkbenchError, match="would make the same rows 2 times; give generate=N and a temp"):
                Options(**sampled | wrong)
        with pytest.raises(WorkbenchError, match="takes given responses or generates, not both"):
            Options(**ok | {"generate": 1})

    @pytest.mark.parametrize(
        ("how", "said"),
        [
            ({"keep": ["norm"]}, "does not know 'norm'; it can be alignments, directions, inner, logits, matrices, norms, "),
            ({"layers": [1, 0]}, "Layer 0 of synthetic is dense: it has no logits or expert outputs to keep."),
            ({"experts": ["L1E5"], "keep": ["outputs"]}, "L1E5: layer 1 of synthetic has experts 0-4; name one of those."),
            ({"experts": []}, "capture(experts=...) chooses output vectors and neurons; add 'outputs' or 'inner' to keep."),
            (GIVEN | {"responses": {"a": "x"}}, "The prompt 'b' has no given response; give one for each prompt."),
            (GIVEN | {"responses": {"a": [], "b": []}}, "have different numbers of given responses; give each the same"),
            (GIVEN | {"responses": {"a": "x", "b": "\ud800"}}, "The 'response' of the prompt 'b' holds half of a surrogate"),
            ({"prompts": [{"id": "c", "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}]},
             "The prompt 'c' ends with the assistant's turn"),
        ],
    )  # fmt: skip
    def test_sentences(self, how: dict[str, Any], said: str) -> None:
        assert said in refused(**how)

    def test_without_a_tokenizer(self) -> None:
        bare = model()
        bare.tokenizer = None
        with pytest.raises(WorkbenchError, match="synthetic was loaded without a tokenizer; load"):
            make_request(bare, PromptSet(()), Options(**ASKED))


class TestSame:
    def begun(self, **how: Any) -> dict[str, Any]:
        return json.loads(json.dumps(planned(replace(anatomy(), identity="i"), **how)))

    def said(self, begun: dict[str, Any], **how: Any) -> str:
        with pytest.raises(WorkbenchError) as caught:
            check_same(Path("s"), begun, self.begun(**how))
        start, end = (
            "The store 's' was begun with another ",
            "; nothing was changed: ask for the same, or capture into ",
        )
        assert str(caught.value).startswith(start)
        assert str(caught.value).endswith(f"{end}another folder.")
        return str(caught.value)[len(start) :].partition(end)[0]

    def test_the_same_is_the_same(self) -> None:
        check_same(Path("s"), self.begun(), self.begun())
        check_same(
            Path("s"), self.begun() | {"schema_version": 1}, self.begun()
        )  # one that an earlier version began goes on

    def test_what_differs_is_named_the_first_three(self) -> None:
        assert self.said(self.begun(), seed=8, keep=["logits"]).startswith('keep (["norms"] there, ["logits"] here), ')
        assert self.said(self.begun(text=False)) == "text (false there, true here)"
        said = self.said(self.begun() | {"schema_version": 3, "dtype": "x", "backend": "y", "steering": {}})
        assert said == "schema version (3 there, 2 here), another dtype (x there, bfloat16 here), another steering plan ({} " \
            "there, none here)"  # fmt: skip
        assert self.said(self.begun() | {"backend": "nnsight"}) == "engine (nnsight there, native here)"
        assert self.said(self.begun() | {"decoding": {"stop": [2]}}) == (
            'decoding by the generation config ({"stop": [2]} there, {"stop": [1, 5]} here)'
        )
        assert self.said(self.begun() | {"batches": [[0]]}).startswith("list of batches ([[0]] there, [[2, 3], [0, 1]]")
        other = self.begun()
        other["prompts"] |= {"fingerprint": "f", "tokens": "t"}
        now = self.begun()["prompts"]
        assert self.said(other) == (
            f"prompt set (f there, {now['fingerprint']} here), another tokenisation (t there, {now['tokens']} here)"
        )
        earlier = {k: v for k, v in self.begun().items() if k not in ("backend", "decoding")}
        check_same(Path("s"), earlier, self.begun())  # what an earlier version did not write is not compared

    def test_long_values_are_cut(self) -> None:
        for n, shown in ((60, "d" * 60), (61, "d" * 57 + "...")):
            assert self.said(self.begun() | {"dtype": "d" * n}) == f"dtype ({shown} there, bfloat16 here)"

    def test_another_model(self) -> None:
        other = self.begun()
        other["anatomy"] |= {"fingerprint": "2:0", "adapters": ["x"]}
        other["anatomy"]["layers"][1]["top_k"] = 1
        here = replace(anatomy(), identity="i").fingerprint
        assert self.said(other) == (
            f'model (2:0 there, {here} here), another set of active adapters (["x"] there, [] here), another top-k ([0, 1, 2] '
            f"there, [0, 2, 2] here)"
        )
        other["anatomy"]["fingerprint"] = "0"
        assert self.said(other).startswith(f"model (0 there, {anatomy().fingerprint} here)")

    def test_before_fingerprints_had_a_version(self) -> None:
        other = self.begun()
        other["anatomy"] |= {"fingerprint": anatomy().fingerprint}
        with pytest.warns(
            NotCompared, match=r"^The store 's' is taken for one of this model, but its fingerprint is of before"
        ):
            check_same(Path("s"), other, self.begun())
