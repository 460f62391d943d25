"""What is measured of a text, which plans can be done, and what files say; counted by hand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from tests.support.stores import anatomy
from workbench import Plan, read_prompts, storage
from workbench.anatomy import Anatomy, LayerAnatomy, RoutingRule
from workbench.errors import WorkbenchError
from workbench.prompts.files import read_rows
from workbench.responses import METRICS, ExactAnswer, Refusal, Response
from workbench.responses.texts import (
    COLLAPSED_RATIO,
    COLLAPSED_REPEATS,
    MIN_WORDS,
    collapsed,
    language,
    repetition,
    words,
)
from workbench.survey.suitable import check_head, check_suitable


def refused(call: Any, *args: Any, **how: Any) -> str:
    with pytest.raises(WorkbenchError) as caught:
        call(*args, **how)
    return str(caught.value)


class TestTexts:
    def test_words_and_repeats(self) -> None:
        assert words("It\u2019s a_b 漢字 X9!") == ["it's", "a", "b", "漢", "字", "x9"]
        assert repetition("a b c d e") == 0  # two 4-grams, both new
        assert repetition("a b c d") is None
        assert repetition("a b a b a b a") == pytest.approx(1 - 2 / 4)
        assert repetition("a b a b", 2) == pytest.approx(1 / 3)
        assert (COLLAPSED_REPEATS, COLLAPSED_RATIO, MIN_WORDS) == (0.6, 0.25, 12)

    def test_going_round_in_circles(self) -> None:
        assert not collapsed("one two three four one two three four five six seven eight")  # 1 of 9
        assert collapsed("a b c " * 3 + "a b c d")  # 6 of 10 4-grams are repeats; too short to pack
        assert not collapsed("a b c " * 3 + "d e f")
        assert collapsed("word " * 4 + "word")
        assert not collapsed("word " * 3 + "word")
        assert not collapsed("word " * 4 + "words")
        assert collapsed("x" * 100)  # packs to a sixth
        assert not collapsed("x" * 47)

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            *(("the cat is on the mat", "en"), ("der Hund ist auf dem Dach", "de"), ("le chat est dans la rue", "fr")),
            *(("los gatos y las flores", "es"), ("questo è il mio e non il tuo", "it"), ("não, mais do que uma", "pt")),
            *(("これは漢字です", "ja"), ("漢字汉字", "zh"), ("привет мир", "ru"), ("مرحبا", "ar"), ("γεια σου", "el")),
            ("안녕", "ko"),
            *(("xyzzy", None), ("", None), ("<think>the cat</think>der Hund ist da", "de"), ("the der", None)),
            ("abcdefg漢漢漢", None),  # three of ten letters are not more than 30 %
            ("abcdef漢漢漢", "zh"),
        ],
    )  # fmt: skip
    def test_languages(self, text: str, found: str | None) -> None:
        assert language(text) == found
        wanted = {name: None if found is None else found == name for name in ("en", "zh")}
        assert {name: METRICS[f"in_{name}"](Response(text)) for name in wanted} == wanted

    @pytest.mark.parametrize(
        ("text", "values"),
        [
            ("<think>Hm. Wait, no.\nActually yes</think>4", {"thinks": True, "thinking_length": 5, "thought_switches": 2.0,
             "thinking_ended": True, "length": 42, "refused": False, "revealed": True, "exact": True, "faithful": False}),
            ("I cannot help with that.", {"thinks": False, "thinking_length": 0, "thought_switches": None, "thinking_ended": None,
             "length": 24, "refused": True, "phrase_refused": True, "revealed": False, "exact": False}),
            ("<think>I cannot", {"thinks": True, "thinking_length": 2, "thought_switches": 0, "thinking_ended": False,
             "refused": None, "phrase_refused": None, "exact": False, "revealed": False}),
            ("", {"refused": True, "length": 0, "repetition": None, "collapsed": False}),
            ("It is 4. Yes", {"revealed": True, "exact": False, "refused": False}),
            (" 4. ", {"exact": True}),
            ("five", {"faithful": True}),
            (" " * 3 + "a" * 200 + " I cannot help", {"refused": False}),
            ("Sorry to say: 4", {"phrase_refused": True, "refused": False}),
        ],
    )  # fmt: skip
    def test_metrics(self, text: str, values: dict[str, Any]) -> None:
        response = Response(text, "p", 0, {"answer": "4.", "context": "Five"})
        found = {name: METRICS[name](response) for name in values}
        assert found == values
        bare = Response(text)
        assert [METRICS[name](bare) for name in ("exact", "revealed", "faithful")] == [None] * 3

    def test_rules_of_ones_own(self) -> None:
        shy = Refusal(phrases=("NO  way",), within=10)
        assert [shy(x) for x in ("So no way", "So so no way", "yes", "<think>")] == [
            "refused",
            "answered",
            "answered",
            "unfinished",
        ]
        assert [ExactAnswer("Yes.")(x) for x in (" yes", "yes no", "<think>yes")] == ["right", "wrong", "wrong"]
        said = refused(ExactAnswer(label="x"), Response("a", "p", 0, {"y": "1", "z": "2"}))
        assert said == "The prompt 'p' has no label 'x' with the exact answer; it has y, z."
        assert refused(ExactAnswer(), "a") == "The prompt '' has no label 'answer' with the exact answer; it has none."


class TestPlansThatCanBe:
    def shape(self, **rule: Any) -> Anatomy:
        """Layer 1: 8 experts in four groups of two of which 2 survive, 3 selected, a shared one; outputs of 6 in layer 2."""
        made = RoutingRule("sigmoid", True, n_group=4, topk_group=2, **rule)
        one = LayerAnatomy(1, 8, 3, 1, rule=made, refused={"replace": "because."})
        return replace(anatomy(), layers=(LayerAnatomy(0), one, LayerAnatomy(2, 5, 2, 1, output_size=6)))

    @pytest.mark.parametrize(
        ("plan", "said"),
        [
            ("force L2E0-1", None),
            ("force L2E0-2", "Layer 2 selects 2 experts per token, and the plan forces 3; force at most 2."),
            ("off L2E0-2", None),
            ("off L2E0-3", "Layer 2 selects 2 of 5 experts, and the plan leaves 1 on; switch off at most 3."),
            ("off L1E0-1", None),
            # what is left is 2, 1, 1, 2: the smallest two groups hold two
            ("off L1E2,L1E4", "Layer 1 selects 3 experts from 2 of 4 groups, and the plan leaves [1, 1, 2, 2] experts on in the "
             "groups; leave at least 2 groups with 1 or more experts each, 3 in the smallest 2 of them."),
            ("off L1E2", None),
            ("off L1E2,L1E4; force L1E0", None),
            ("off L1E2,L1E4; force L1E0 at 3-", "Layer 1 selects 3 experts from"),
            ("off L1E0-5", "Layer 1 selects 3 of 8 experts, and the plan leaves 2 on; switch off at most 5."),
            ("replace L1E0=[1,2,3,4]", "replace L1E0 is not supported on synthetic: because."),
            ("replace L2E0=[1,2,3,4,5,6]; replace L2S0=[1,2,3,4]", None),
            ("replace L2E0=[1,2,3,4]", "replace L2E0: the vector has 4 numbers, and this expert of synthetic gives 6."),
            ("replace L2S0=[1,2,3,4,5,6]", "replace L2S0: the vector has 6 numbers, and this expert of synthetic gives 4."),
            ("off L2E0-1 in prompt; off L2E2-3 in generated", None),
            ("off L2E0-1; off L2E2-3 in generated", "Layer 2 selects 2 of 5 experts, and the plan leaves 1 on"),
            ("mute L1S1", "L1S1: layer 1 of synthetic has shared experts 0-0; name one of those."),
        ],
    )  # fmt: skip
    def test_by_hand(self, plan: str, said: str | None) -> None:
        if said is None:
            Plan.parse(plan).check(self.shape())
        else:
            assert refused(Plan.parse(plan).check, self.shape()).startswith(said)

    def test_groups_that_score_by_their_best_two(self) -> None:
        Plan.off("L1E0").check(self.shape(group_score="top2"))
        for plan in ("off L1E0,L1E2,L1E4", "off L1E0-1,L1E2,L1E4"):
            said = refused(Plan.parse(plan).check, self.shape(group_score="top2"))
            assert "leave at least 2 groups with 2 or more experts each" in said


class TestModels:
    def test_a_head(self) -> None:
        model = nn.Linear(2, 2)
        check_head(model, torch.zeros(2, 3, 9), (2, 3))
        for logits, shape in ((torch.zeros(2, 9), "(2, 9)"), (torch.zeros(2, 4, 9), "(2, 4, 9)"), (None, "None")):
            assert refused(check_head, model, logits, (2, 3)) == (
                f"Linear answers 2 x 3 token ids with logits of shape {shape}, not with one row per token: it has no "
                f"language-model "
                f"head; load its ForCausalLM class."
            )

    def test_whole_and_here(self) -> None:
        model = nn.Linear(2, 2)
        check_suitable(model)
        model._tp_size = 1  # type: ignore[assignment]
        check_suitable(model)
        model._tp_size = 2  # type: ignore[assignment]
        assert refused(check_suitable, model).startswith(
            "Linear is split over 2 processes (tensor, expert or data parallel), so"
        )
        far = nn.Sequential(nn.Linear(2, 2, device="meta"), nn.Linear(2, 2, device="meta"))
        assert refused(check_suitable, far).startswith(
            "Sequential has no values for 4 of its weights (0.weight, 0.bias and 2 more): "
        )


class TestFiles:
    def test_rows_of_every_kind(self, tmp_path: Path) -> None:
        (tmp_path / "a.jsonl").write_text('\ufeff{"text": "x"}\n\n{"text": "y"}\n', encoding="utf-8")
        (tmp_path / "b.csv").write_text('text,pair\n"two\nlines",\nz,1\n')
        pd.DataFrame({"text": ["x", "y"]}).to_parquet(tmp_path / "c.parquet")
        assert list(read_rows(tmp_path / "a.jsonl")) == [("line 1", {"text": "x"}), ("line 3", {"text": "y"})]
        assert list(read_rows(tmp_path / "b.csv")) == [
            ("line 3", {"text": "two\nlines"}),
            ("line 4", {"text": "z", "pair": "1"}),
        ]
        assert list(read_rows(tmp_path / "c.parquet")) == [("row 0", {"text": "x"}), ("row 1", {"text": "y"})]

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            (
                "a.jsonl",
                '{"text": "a"}\n{"text" 1}\n',
                "Line 2 of 'F/a.jsonl' is not JSON (Expecting ':' delimiter at column 9); each",
            ),
            (
                "a.jsonl",
                "[" * 100_000,
                "Line 1 of 'F/a.jsonl' is nested too deep or holds too long a number; each line holds one",
            ),
            ("a.csv", "text,text\na,b\n", "'F/a.csv' has two columns 'text'; name each column once."),
            ("a.csv", "text\na\nb,c\n", "Line 3 of 'F/a.csv' has more cells than the header has columns."),
        ],
    )
    def test_broken_files(self, tmp_path: Path, name: str, text: str, said: str) -> None:
        (tmp_path / name).write_text(text)
        assert refused(read_prompts, tmp_path / name).replace(str(tmp_path), "F").startswith(said)

    def test_whole_or_not_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text("before")

        def fails() -> None:
            with storage.replacing(path) as part:
                assert part.parent == tmp_path
                assert part.suffix == ".json"
                part.write_text("half")
                raise KeyError

        with pytest.raises(KeyError):
            fails()
        assert (path.read_text(), list(tmp_path.iterdir())) == ("before", [path])
        storage.write_text(path, "after\u00e9")
        assert (path.read_text(encoding="utf-8"), list(tmp_path.iterdir())) == ("after\u00e9", [path])
        storage.write_json(tmp_path, "b/c.json", {"k": "\u00e9"})
        assert (tmp_path / "b/c.json").read_text(encoding="utf-8") == '{\n "k": "\u00e9"\n}\n'

    def test_where_a_file_cannot_go(self, tmp_path: Path) -> None:
        storage.check_writable(tmp_path / "new.json")
        assert refused(storage.check_writable, tmp_path) == f"'{tmp_path}' is a folder; name a file to write."
        missing = tmp_path / "no" / "a.json"
        assert refused(storage.check_writable, missing) == (
            f"There is no folder '{tmp_path / 'no'}' to write '{missing}' in; make it, or name another."
        )
        (tmp_path / "l.json").write_text("[1]")
        said = f"'{tmp_path / 'l.json'}' is damaged (it holds no object); it should be JSON that workbench wrote."
        assert refused(storage.read_json, tmp_path / "l.json") == said
        assert "byte that is not UTF-8" in refused(storage.check_spelling, Path("a\udcffb"))

    def test_what_is_tidied(self, tmp_path: Path) -> None:
        folder = tmp_path / storage.WRITING
        folder.mkdir()
        for name in ("slots+00000.parquet.x.part", "manifest.lock", "plan.json.x.part", "other"):
            (folder / name).write_text("")
        storage.tidy(tmp_path)
        assert sorted(file.name for file in folder.iterdir()) == ["other", "plan.json.x.part"]
