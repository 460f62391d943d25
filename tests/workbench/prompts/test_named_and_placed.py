"""Positions, anatomies, experts, prompts and chats as values: every mask, list and sentence worked out by hand."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import workbench.loading.loader as loading
from tests.support.stores import anatomy
from workbench.anatomy import Anatomy, ExpertRef, LayerAnatomy, RoutingRule, parse_experts
from workbench.errors import WorkbenchError, listed, suggestion
from workbench.loading import tiny_tokenizer
from workbench.model import MoEModel
from workbench.plan import Edit, Scope
from workbench.plan.edits import parse_positions
from workbench.prompts import (
    Prompt,
    PromptSet,
    encode,
    encode_responses,
    label_text,
    plain,
    read_prompts,
    responses_of,
    rows_of,
    warnings,
)
from workbench.prompts.chat_forms import _lost, check_tools, marked, marker, shown, unread
from workbench.prompts.chats import calls_of, joined, messages_of, options_of, tools_of
from workbench.prompts.chats import said as words_of
from workbench.prompts.encoding import _offsets_by_decoding
from workbench.prompts.rows import unflattened
from workbench.routing import Positions, leave_trail, prompt_length, read_positions
from workbench.routing.positions import Trail, _cache_in, _two_dimensional

T, F = True, False


def refused(call: Any, *args: Any, **how: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        call(*args, **how)
    return str(caught.value)


class TestPositions:
    def forward(self, past: int = 0, length: int = 5, prompt: Any = 3, **how: Any) -> Positions:
        """Two rows, the second padded on the left by two columns; 8 opens and 9 closes."""
        ids = torch.tensor([[8, 1, 9, 1, 8], [0, 0, 9, 8, 1]])[:, :length]
        mask = torch.tensor([[1, 1, 1, 1, 1], [0, 0, 1, 1, 1]])
        given = {"mask": mask, "ids": ids, "device": torch.device("cpu"), "prompt_columns": prompt} | how
        return Positions(2, length, past, **given)

    @pytest.mark.parametrize(
        ("scope", "inside"),
        [
            (Scope(), [[T, T, T, T, T], [F, F, T, T, T]]),
            (Scope("prompt"), [[T, T, T, F, F], [F, F, T, F, F]]),
            (Scope("generated"), [[F, F, F, T, T], [F, F, F, T, T]]),
            (Scope(positions=((0, 1), (3, None))), [[T, F, F, T, T], [F, F, T, F, F]]),
            (Scope(positions=((1, 3),)), [[F, T, T, F, F], [F, F, F, T, T]]),
            (Scope("generated", ((0, 2),)), [[F, F, F, F, F], [F, F, F, T, F]]),
        ],
    )
    def test_masks(self, scope: Scope, inside: list[list[bool]]) -> None:
        assert self.forward().in_scope(scope, None).view(2, 5).tolist() == inside

    def test_spans_and_what_goes_on(self) -> None:
        made = self.forward()
        found = made.in_scope(Scope(span=("o", "c")), (8, 9)).view(2, 5).tolist()
        assert found == [[T, T, T, F, T], [F, F, F, T, T]]
        assert made.trail.inside[8, 9].tolist() == [T, T]
        assert made.trail[:2] == (3, 5)
        goes_on = Trail(3, 4, {(8, 9): torch.tensor([T, F])})
        ids = torch.tensor([[1], [9]])
        after = self.forward(4, 1, ids=ids, carried=goes_on)
        assert after.in_scope(Scope(span=("o", "c")), (8, 9)).tolist() == [T, F]
        assert after.trail.inside[8, 9].tolist() == [T, F]
        closing = self.forward(4, 1, ids=torch.tensor([[9], [8]]), carried=goes_on)
        assert closing.in_scope(Scope(span=("o", "c")), (8, 9)).tolist() == [T, T]
        assert closing.trail.inside[8, 9].tolist() == [F, T]
        for trail in (None, goes_on._replace(columns=3), goes_on._replace(inside={})):
            lost = self.forward(4, 1, ids=ids, carried=trail)
            assert refused(lost.in_scope, Scope(span=("o", "c")), (8, 9)).startswith(
                "Edits between tokens need every forward of the sequence: 4 cached columns were not seen; start the generation"
            )
        three = goes_on._replace(inside={(8, 9): torch.ones(3, dtype=torch.bool)})
        assert "the batch changed from 3 to 2 rows within" in refused(
            self.forward(4, 1, ids=ids, carried=three).in_scope, Scope(span=("o", "c")), (8, 9)
        )
        assert refused(self.forward(ids=None).in_scope, Scope(span=("o", "c")), (8, 9)).startswith(
            "Edits between tokens need input"
        )

    def test_where_the_prompt_ends(self) -> None:
        rows = self.forward(prompt=(1, 4)).in_scope(Scope("prompt"), None).view(2, 5).tolist()
        assert rows == [[T, F, F, F, F], [F, F, T, T, F]]
        assert refused(self.forward(prompt=(1,)).in_scope, Scope("prompt"), None) == (
            "prompt_length was given 1 rows and this forward has 2; state one number for each."
        )
        unseen = self.forward(2, 3, prompt=None)
        with pytest.warns(UserWarning, match="taken for the whole prompt") as said:
            assert not unseen.in_scope(Scope("prompt"), None).any()
        assert str(said[0].message) == (
            "2 cached columns were computed outside of the block, and are taken for the whole prompt; if it ends elsewhere, "
            "state it with `prompt_length(columns)` from workbench.routing.positions."
        )
        cut = replace(self.forward(2, 3, prompt=None), carried=Trail(3, 5, {}))
        assert refused(cut.in_scope, Scope("prompt"), None) == (
            "Edits of one phase need to know where the prompt ends: 2 cached columns are left of a cache that was cut within "
            "its prompt; state it with `prompt_length(columns)` from workbench.routing.positions."
        )
        assert [Trail(3, 5, {}).prompt_before(n) for n in (2, 3, 9)] == [None, 3, 3]
        assert [Trail((1, 4), 5, {}).prompt_before(n) for n in (3, 4)] == [None, (1, 4)]
        assert Trail(None, 5, {}).prompt_before(9) is None

    def test_without_a_mask(self) -> None:
        made = self.forward(mask=None)
        assert (made.first_real.tolist(), made.real.tolist()) == ([0, 0], [T] * 10)
        assert self.forward().first_real.tolist() == [0, 2]
        later = self.forward(3, 2)
        assert (later.columns.tolist(), later.real.tolist()) == ([3, 4], [T] * 4)

    def test_what_is_read_off_the_arguments(self) -> None:
        ids = torch.zeros(2, 3, dtype=torch.long)
        first = read_positions({"input_ids": ids}, None)
        assert (first.batch, first.length, first.past, first.prompt_columns, first.mask) == (2, 3, 0, 3, None)
        cache = SimpleNamespace(get_seq_length=lambda: 3)
        leave_trail(first, cache, None)
        mask = torch.ones(2, 9)
        second = read_positions(
            {"inputs_embeds": torch.zeros(2, 1, 4), "past_key_values": cache, "attention_mask": mask}, None
        )
        assert (second.past, second.prompt_columns, second.ids, tuple(second.mask.shape)) == (3, 3, None, (2, 4))  # type: ignore[union-attr]
        with prompt_length([1, 2]):
            assert read_positions({"input_ids": ids, "past_key_values": cache}, None).prompt_columns == (1, 2)
        with prompt_length(2):
            assert read_positions({"input_ids": ids}, None).prompt_columns == 2
        assert refused(read_positions, {}, None).startswith("This forward has neither input_ids nor inputs_embeds, so")

    def test_a_cache_that_holds_nothing(self) -> None:
        class Bare:
            __slots__ = ()

            def get_seq_length(self) -> int:
                return 3

        ids, bare = torch.zeros(2, 1, dtype=torch.long), Bare()
        before = read_positions({"input_ids": torch.zeros(2, 3)}, None)
        assert read_positions({"input_ids": ids, "past_key_values": bare}, before).prompt_columns == 3
        for other in (None, replace(before, batch=3), replace(before, length=2)):
            assert read_positions({"input_ids": ids, "past_key_values": bare}, other).prompt_columns is None
        fresh = SimpleNamespace(get_seq_length=lambda: 3)
        assert read_positions({"input_ids": ids, "past_key_values": fresh}, before).prompt_columns is None
        assert _cache_in((1, bare)) is bare
        assert _cache_in(SimpleNamespace(past_key_values=fresh)) is fresh
        assert _cache_in(SimpleNamespace()) is None

    def test_masks_of_many_kinds(self) -> None:
        flat = torch.tensor([[0, 1, 1, 1]])
        four = torch.tensor([[0.0, -9, -9, -9], [0, 0, -9, -9], [-9, 0, 0, -9]]).view(1, 1, 3, 4)
        assert _two_dimensional(flat, 3).tolist() == [[0, 1, 1]]  # type: ignore[union-attr]
        assert _two_dimensional(four, 3).tolist() == [[F, T, T]]  # type: ignore[union-attr]
        assert _two_dimensional(four == 0, 4).tolist() == [[F, T, T, F]]  # type: ignore[union-attr]
        assert _two_dimensional({"other": four, "full_attention": flat}, 4) is not None
        assert _two_dimensional({"other": flat}, 2).tolist() == [[0, 1]]  # type: ignore[union-attr]
        assert _two_dimensional(None, 3) is None

    def test_scopes_and_edits_as_text(self) -> None:
        assert parse_positions("0-3, 7,9-") == ((0, 4), (7, 8), (9, None))
        scope = Scope("prompt", ((0, 4), (7, 8), (9, None)), ("<a>", "b c"))
        assert str(scope) == 'in prompt at 0-3,7,9- between <a> "b c"'
        assert [
            Scope(x).can_meet(Scope(y)) for x, y in (("prompt", None), ("prompt", "prompt"), ("prompt", "generated"))
        ] == [T, T, F]  # type: ignore[arg-type]
        assert [
            s.is_everywhere for s in (Scope(), Scope("prompt"), Scope(positions=((0, 1),)), Scope(span=("a", "b")))
        ] == [T, F, F, F]
        edit = Edit("scale", ExpertRef(1, 4), 8, Scope("generated"))
        assert (str(edit), edit.to_dict()) == (
            "scale L1E4=8 in generated",
            {"kind": "scale", "expert": "L1E4", "value": 8.0, "phase": "generated"},
        )
        for positions, said in (
            (((2, 2),), "Positions (2, 2) hold nothing"),
            (((-1, 2),), "Positions (-1, 2) hold nothing"),
        ):
            assert refused(Scope, None, positions).startswith(said)


class TestAnatomy:
    shape = Anatomy(
        "m",
        "fam",
        4,
        50,
        "w",
        (LayerAnatomy(0), LayerAnatomy(1, 3, 2, 2), LayerAnatomy(2, 4, 1)),
        adapters=("x", "y"),
        identity="i",
    )

    @pytest.mark.parametrize(
        ("rule", "said"),
        [
            (RoutingRule("softmax", True), "softmax, top-k, renormalised"),
            (RoutingRule("sigmoid", False, True, 8, 4, "top2", 2.5),
             "sigmoid, + correction bias, in 4 of 8 groups (by top2), top-k, not renormalised, x 2.5"),
            (RoutingRule("softmax", True, True, bias_on="logit", expert_scale=True, skip=True),
             "softmax, + correction bias on logits, top-k, renormalised, x a scale per expert, the last class skips"),
            (RoutingRule("sparsemixer", True, jitter=0.1), "sparsemixer, within 0.2 of the best"),
        ],
    )  # fmt: skip
    def test_rules(self, rule: RoutingRule, said: str) -> None:
        assert str(rule) == said

    def test_experts(self) -> None:
        assert (self.shape.moe_layers, self.shape.n_experts) == ((1, 2), 7)
        assert list(map(str, self.shape.refs())) == ["L1E0", "L1E1", "L1E2", "L2E0", "L2E1", "L2E2", "L2E3"]
        assert list(map(str, self.shape.refs(shared=True)))[7:] == ["L1S0", "L1S1"]
        for ref, said in (
            (ExpertRef(1, 3), "L1E3: layer 1 of m has experts 0-2; name one of those."),
            (ExpertRef(1, 2, True), "L1S2: layer 1 of m has shared experts 0-1; name one of those."),
            (ExpertRef(2, 0, True), "L2S0: layer 2 of m has no shared experts; name one of those."),
            (ExpertRef(0, 0), "L0E0: layer 0 of m has no experts (it is dense); name one of those."),
            (ExpertRef(3, 0), "Layer 3 does not exist: m has layers 0-2."),
        ):
            assert refused(self.shape.check_ref, ref) == said
        self.shape.check_ref(ExpertRef(1, 1, True))
        assert refused(self.shape.layer, -1) == "Layer -1 does not exist: m has layers 0-2."
        assert list(map(str, parse_experts("L*S*, l2e1-3,L1E0", self.shape))) == [
            "L1E0",
            "L1S0",
            "L1S1",
            "L2E1",
            "L2E2",
            "L2E3",
        ]
        assert len(parse_experts("L0E1-65536")) == 65_536
        assert refused(parse_experts, "L0E0-65536") == (
            "'L0E0-65536' names more than 65536 experts, and no layer has so many; write it like L12E3-7."
        )
        assert list(map(str, parse_experts("L0E3-3"))) == ["L0E3"]

    def test_fingerprints(self) -> None:
        import hashlib

        shape = [[0, 0, 0, 0], [1, 3, 2, 2], [2, 4, 1, 0]]
        before, now = json.dumps(["fam", 4, 50, "w", shape]), json.dumps([2, "fam", 4, 50, "i", shape])
        assert self.shape.unversioned == hashlib.sha256(before.encode()).hexdigest()[:16]
        assert self.shape.fingerprint == "2:" + hashlib.sha256(now.encode()).hexdigest()[:16]
        assert replace(self.shape, identity="").fingerprint == self.shape.unversioned
        assert Anatomy.from_dict(json.loads(json.dumps(self.shape.to_dict()))) == self.shape
        for known, same in (
            (self.shape.fingerprint, T),
            (self.shape.unversioned, T),
            ("2:0", F),
            (f"2:0,{self.shape.unversioned}", F),
        ):
            assert self.shape.is_same(known) == same
        self.shape.check_same(None, "It")
        assert refused(self.shape.check_same, "2:0", "It") == (
            f"It was made on another model (fingerprint 2:0; m with the adapters x, y is {self.shape.fingerprint}); "
            f"expert numbers mean "
            f"nothing across models, so make it again on this one."
        )
        old = replace(self.shape, identity="")
        assert refused(old.check_same, "2:0", "It").startswith(
            "It cannot be compared with m, which is known here by a fingerprint"
        )


class TestLoading:
    def test_words(self) -> None:
        assert [loading._first_line(e) for e in (ValueError("a!\nb"), KeyError(), OSError(" . "))] == [
            "a.",
            "KeyError.",
            ".",
        ]
        assert loading._dtype("bfloat16") is torch.bfloat16
        assert (loading._dtype("auto"), loading._dtype(torch.int8)) == ("auto", torch.int8)
        for wrong in ("int8", "nothing", "load"):
            assert refused(loading._dtype, wrong) == (
                f"'{wrong}' is no torch dtype of weights; use auto, float32, bfloat16 or float16."
            )
        assert loading._device("cuda:7") == "cuda:7"
        assert loading._device("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
        assert refused(loading._moved, nn.Linear(2, 2), "nowhere").startswith(
            "The model could not be put on the device 'nowhere' ("
        )

    def test_what_it_is(self) -> None:
        hf = SimpleNamespace(config=SimpleNamespace(image_token_index=0), dtype=torch.float16)
        runtime: Any = SimpleNamespace(anatomy=anatomy(), hf=hf, far=False, far_dtype=None)
        made = MoEModel(None, runtime, lambda _: None)
        assert repr(made) == "<MoEModel synthetic: none, 2 MoE layers, 10 experts, torch.float16>"
        far: Any = SimpleNamespace(**{**vars(runtime), "far": True, "far_dtype": torch.bfloat16})
        assert (made.image_token, replace(made, local=far).dtype) == (0, torch.bfloat16)
        assert (made.hf, replace(made, local=far).device) == (hf, "NDIF")
        hf.config = SimpleNamespace(image_token_id=5, image_token_index=0)
        assert made.image_token == 5
        hf.config = SimpleNamespace()
        assert made.image_token is None

    def test_a_checkpoint_with_holes(self) -> None:
        hf = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        loading._check_whole("c", hf, {"missing_keys": ["rotary"]})
        assert refused(loading._check_whole, "c", hf, {"missing_keys": ["1.bias", "0.weight", "0.bias", "rotary"]}) == (
            "The checkpoint 'c' has no values for 3 of the parameters of a Sequential (0.bias, 0.weight and 1 more), "
            "which would be "
            "random; take a complete checkpoint of this architecture."
        )

    def test_what_is_no_source(self) -> None:
        resolve = loading._resolve
        assert refused(resolve, " ", None, "auto", "auto", {}) == (
            "load(' ') names no model; give 'demo', tiny/FAMILY, a folder or a Hugging Face id."
        )
        assert refused(resolve, 3, None, "auto", "auto", {}).endswith("TransformerLens or nnsight, not a int.")
        built = SimpleNamespace(config=SimpleNamespace(name_or_path="n"), generate=print)
        assert resolve(built, "t", "auto", "auto", {}) == (built, "t", "n")
        built.config.name_or_path = ""
        assert resolve(built, None, "auto", "auto", {})[2] == "SimpleNamespace"
        for how in (("cpu", "auto", {}), ("auto", "float32", {}), ("auto", "auto", {"revision": "x"})):
            assert refused(resolve, built, None, *how).startswith(
                "A model already built keeps its device, dtype and options;"
            )
        base = nn.Linear(2, 2)
        base.config = 1  # type: ignore[assignment]
        assert refused(resolve, base, None, "auto", "auto", {}).startswith(
            "A Linear predicts no next token, so there is nothing"
        )
        assert refused(loading._opened_tokenizer, 3, {}).endswith("or the name or folder of one, not a int.")


class TestPrompts:
    def test_a_set(self) -> None:
        rows = [
            {"text": "a", "split": "y", "labels": {"k": "2"}},
            {"prompt": "b", "split": "x", "labels": {"k": True, "j": None}},
        ]
        found = read_prompts(rows)
        assert [p.to_dict() for p in found] == [
            {"id": "p00000", "text": "a", "labels": {"k": "2"}, "split": "y"},
            {"id": "p00001", "messages": [{"role": "user", "content": "b"}], "labels": {"k": "true"}, "split": "x"},
        ]
        assert (found.splits, found.label_values) == (("x", "y"), {"k": ("2", "true")})
        assert repr(found) == f"PromptSet(2 prompts from these prompts, fingerprint {found.fingerprint})"
        assert repr(PromptSet(found.prompts, "f.csv")).startswith("PromptSet(2 prompts from 'f.csv', fingerprint ")
        assert [p.said for p in found] == ["a", "b"]
        assert read_prompts(Prompt("q", text="x")).prompts[0].id == "q"
        assert [label_text(x) for x in (True, "True", 1, 1.5, np.bool_(False))] == ["true", "True", "1", "1.5", "false"]
        assert refused(found.filter, split="x", labels={"k": ["2"]}) == (
            "No prompt of these prompts meets split=x and labels={'k': ('2',)} together."
        )
        assert (
            refused(found.filter, labels={"k": "3"})
            == "No prompt of these prompts has the value of the label 'k' '3'; there is 2, true."
        )
        assert [p.id for p in found.filter(labels={"k": ["true", "2"]}, split="y")] == ["p00000"]

    @pytest.mark.parametrize(
        ("row", "said"),
        [
            (
                {"text": "a", "tools": [{"name": "f"}]},
                "The 'tools' of item 0 of the list are the chat template's affair, and 'text' is",
            ),
            (
                {"text": "a", "chat_template_kwargs": {"x": 1}},
                "The 'chat_template_kwargs' of item 0 of the list is the chat template's",
            ),
            (
                {"text": "a", "labels": {"": 1}},
                "The label '' of item 0 of the list should have a name and one value, not 1.",
            ),
            (
                {"text": "a\ud800"},
                "The 'text' of item 0 of the list holds half of a surrogate pair (or a byte that is not UTF-8), which",
            ),
            ({"text": "a", "id": True}, "The 'id' of item 0 of the list is bool; it should be text."),
        ],
    )
    def test_refused(self, row: Any, said: str) -> None:
        assert refused(read_prompts, [row]).startswith(said)

    def test_rows(self) -> None:
        assert list(rows_of({"text": ["a", "b"], "label.k": [1, 2]})) == [
            ("row 0 of the dict", {"text": "a", "label.k": 1}),
            ("row 1 of the dict", {"text": "b", "label.k": 2}),
        ]
        frame = pd.DataFrame({"text": ["a"], "n": [1]}, index=pd.Index(["q"], name="id"))
        assert list(rows_of(frame)) == [("row 0 of the DataFrame", {"id": "q", "text": "a", "n": 1})]
        assert list(rows_of({"train": frame})) == [
            ("row 0 of the DataFrame of the split 'train'", {"id": "q", "text": "a", "n": 1, "split": "train"})
        ]
        assert list(rows_of(x for x in ["a"])) == [("item 0 of the list", "a")]
        assert unflattened({"text": "a", "label.k": 1, "label.j": 2}) == {"text": "a", "labels": {"k": 1, "j": 2}}
        assert unflattened({"labels": 3, "label.k": 1}) == {"labels": 3, "label.k": 1}
        assert plain({"a": np.array([1, 2]), "b": (float("nan"), pd.NA), "c": np.float32(0.5)}) == {
            "a": [1, 2],
            "b": (None, None),
            "c": 0.5,
        }
        assert responses_of({1: "a", "b": np.array(["c", "d"])}) == {"1": ["a"], "b": ["c", "d"]}
        assert responses_of(pd.Series({"x": "y"})) == {"x": ["y"]}
        for source, said in (
            (b"x", "Prompts cannot be read from the bytes; pass the path of the file, or a list."),
            (3, "Prompts cannot be read from the int; give a path, the name of a bundled file, or a list of prompts."),
            ({"text": ["a"], "id": ["b", "c"]}, "The dict with the keys text, id is read neither by its keys nor as "
             "columns of equal "
             "length; put it into a list."),
            ({"x": "a"}, "The dict with the keys x is read neither by its keys nor as columns of equal length; give a "
             "list of prompts, "
             "and names as their 'id'."),
            ({"messages": [{"role": "user"}]}, "The dict with the keys messages is read neither by its keys"),
            (pd.DataFrame([[1, 2]], columns=["text", "text"]), "The DataFrame has two columns 'text'; name each column once."),
        ):  # fmt: skip
            assert refused(lambda s: list(rows_of(s)), source).startswith(said)
        assert (
            refused(responses_of, {1: "a", "1": "b"})
            == "The prompt '1' is given responses twice; give it a list of them."
        )
        assert (
            refused(responses_of, {"a": [3]})
            == "The response of the prompt 'a' is [3]; it should be text, or a list of it."
        )

    def test_words(self) -> None:
        assert listed(list("abcdefgh")) == "a, b, c, d, e, f, g, h"
        assert listed(list("abcdefghij")) == "a, b, c, d, e, f, g, h and 2 more"
        assert (listed([]), listed([1, 2, 3], 2)) == ("nothing", "1, 2 and 1 more")
        assert (suggestion("refusl", ["other", "refusal"]), suggestion("x", ["other"])) == (
            "; did you mean 'refusal'?",
            "",
        )


CALL = {"type": "function", "function": {"name": "weather", "arguments": {"at": None, "n": 1}}}
CHAT = ({"role": "user", "content": "hi"}, {"role": "assistant", "content": None, "tool_calls": [CALL]})


class TestChats:
    def test_turns(self) -> None:
        parts = [{"type": "text", "text": "a"}, {"text": "b"}]
        found = messages_of([{"role": "user", "content": parts, "name": None}, dict(CHAT[1])], "it")
        assert found == ({"role": "user", "content": parts}, CHAT[1])
        assert (joined(parts), joined(None), words_of(CHAT[1])) == ("ab", "", json.dumps([CALL], sort_keys=True))
        assert words_of({"content": "x", "tool_calls": [CALL]}) == "x"
        assert (words_of({"content": None}), calls_of(CHAT[1])) == ("", [CALL["function"]])
        assert calls_of({"tool_calls": [{"name": "f"}, {"function": {"name": ""}}, 3, {"x": 1}]}) == [{"name": "f"}]
        assert tools_of('[{"name": "f"}]', "it") == ({"name": "f"},)
        assert (tools_of([], "it"), tools_of(None, "it"), options_of({}, "it"), options_of(None, "it")) == (None,) * 4
        assert options_of('{"enable_thinking": false}', "it") == {"enable_thinking": False}

    @pytest.mark.parametrize(
        ("read", "value", "said"),
        [
            (messages_of, [], "The 'messages' of it should be a list of objects with 'role' and 'content'."),
            (messages_of, [{"role": "assistant", "content": "a"}], "The 'messages' of it are the assistant's alone; "
             "begin with a turn"),
            (messages_of, [{"role": "usr", "content": "a"}], "A message of it has the role 'usr'; it can be system, "
             "developer, user, assistant, "
             "tool; did you mean 'user'?"),
            (messages_of, [{"role": "user", "content": []}], "A message of it should be an object with 'role' and "
             "'content', both text"),
            (messages_of, [{"role": "user", "content": [{"type": "image"}]}], "A message of it has a part of the type "
             "'image'; parts can be"),
            (messages_of, [{"role": "user", "content": [{"text": 3}]}], "A message of it has a part of the type "
             "'None'; parts can be text"),
            (messages_of, [{"role": "user", "content": None, "tool_calls": [CALL]}], "A message of it calls tools as "
             "'user'; only the"),
            (messages_of, [CHAT[0], {"role": "assistant", "content": None, "tool_calls": [3]}], "The 'tool_calls' of "
             "a message of it should"),
            (messages_of, [{"role": "user", "content": "a", "x": {1}}], "The 'messages' of it should hold text, "
             "numbers, lists and objects: "),
            (tools_of, [{"function": {}}], "The 'tools' of it should be a list of objects like"),
            (tools_of, "{", "The 'tools' of it should be JSON: "),
            (options_of, [1], "The 'chat_template_kwargs' of it should be an object of names and values, not [1]."),
            (options_of, {"tools": 1}, "The 'chat_template_kwargs' of it cannot set 'tools', which is decided here; "
             "give 'tools' beside it."),
            (options_of, {"padding": 1}, "The 'chat_template_kwargs' of it cannot set 'padding', which is decided here."),
        ],
    )  # fmt: skip
    def test_refused(self, read: Any, value: Any, said: str) -> None:
        assert refused(read, value, "it").startswith(said)

    def test_the_form_that_a_template_shows(self) -> None:
        def write(as_json: bool) -> Any:
            def apply(messages: Any) -> str:
                out = []
                for m in messages:
                    for call in m.get("tool_calls") or ():
                        given = call["function"]["arguments"]
                        if isinstance(given, str) != as_json:
                            raise WorkbenchError("another form")
                        out.append(call["function"]["name"] + (given if as_json else json.dumps(given)))
                    out.append(str(m.get("content") or ""))
                return "|".join(out)

            return apply

        for as_json in (False, True):
            text, form = shown(write(as_json), CHAT, "p")
            assert text == 'hi|weather{"at": null, "n": 1}|'
            assert form[1]["content"] is None
            given = form[1]["tool_calls"][0]["function"]["arguments"]
            assert given == ('{"at": null, "n": 1}' if as_json else {"at": None, "n": 1})
        assert refused(shown, lambda m: "nothing", CHAT, "p") == (
            "The chat template does not show the call of weather in the prompt 'p'; take the calls out, or load a "
            "tokenizer whose "
            "template knows tools."
        )
        assert shown(lambda m: "a", CHAT[:1], "p") == ("a", CHAT[:1])
        assert _lost("weather None", "", CHAT) == ["weather"]
        assert _lost("weather None", "None", CHAT) == []
        assert _lost("weather", "weather", CHAT) == ["weather"]

    def test_parts(self) -> None:
        chat = ({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},)

        def joins(messages: Any) -> str:
            return "".join(joined(m["content"]) for m in messages)

        assert shown(joins, chat, "p") == ("ab", chat)

        def prints(messages: Any) -> str:
            return "".join(str(m["content"]) for m in messages)

        assert shown(prints, chat, "p") == ("ab", ({"role": "user", "content": "ab"},))
        assert marked(CHAT) == ({"role": "user", "content": marker(0)}, {"role": "assistant", "content": marker(1)})
        assert marker(3) == "\ue0003\ue001"

    def test_options_that_are_not_read(self) -> None:
        assert unread("{{ enable_thinking }} {{ budget2 }}", {"enable_thinking": 1, "budget": 2}) == ["budget"]
        assert unread({"a": "x", "b": "budget"}, {"budget": 2}) == []
        assert unread("x", None) == []
        check_tools("a", "b", "p")
        assert refused(check_tools, "a", "a", "p").startswith(
            "The chat template shows nothing of the tools of the prompt 'p'; take"
        )


class TestEncoding:
    def test_notes(self) -> None:
        tokenizer = tiny_tokenizer()
        found = encode(
            tokenizer, [{"id": "a", "text": "x"}, {"id": "b", "prompt": "y", "chat_template_kwargs": {"z": 1}}, "</s>q"]
        )
        assert [list(p.ids) for p in found] == [[123, 1], [b + 3 for b in b"[user] y\n[assistant] "], [1, 116, 1]]
        assert [p.text for p in found] == ["x", "[user] y\n[assistant] ", "</s>q"]
        plain = "roles are unknown: text is tokenised as it is, so no chat template says who speaks"
        assert [p.notes for p in found] == [
            (plain,),
            ("the chat template does not read z, so it changes nothing",),
            (plain, "has special tokens typed in its text"),
        ]
        assert warnings(found) == [
            "has special tokens typed in its text (1 prompts, the first is 'p00002')",
            f"{plain} (2 prompts, the first is 'a')",
            "the chat template does not read z, so it changes nothing (1 prompts, the first is 'b')",
        ]
        assert encode_responses(tokenizer, {"a": ["x", "yz"]}) == {"a": [(123,), (124, 125)]}
        assert refused(encode_responses, tokenizer, {"a": ["x", ""]}) == (
            "A given response of the prompt 'a' is empty; leave it out or give it text."
        )

    def test_characters_of_byte_tokens(self) -> None:
        tokenizer = tiny_tokenizer()
        text = "a\u00e9\u6f22b"
        ids = [b + 3 for b in text.encode()]
        found = _offsets_by_decoding(tokenizer, ids, text)
        assert found is not None
        assert found.tolist() == [[0, 1], [1, 2], [1, 2], [2, 3], [2, 3], [2, 3], [3, 4]]
        assert _offsets_by_decoding(tokenizer, ids, text + "c") is None
        assert _offsets_by_decoding(tokenizer, ids, "b" + text) is None
