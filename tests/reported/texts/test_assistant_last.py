"""A chat that ends with the assistant's turn is answered by nobody: refused before the first forward, and read as it is."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from workbench_app.experiments.run import plan_run, run_recipe

from tests.support import families
from tests.support.recipes import make_few, recipe_data
from workbench import Plan, WorkbenchError, capture, compare, read_prompts
from workbench.answering import stream
from workbench.comparison import choose

SAID = "ends with the assistant's turn"
CHOICES = {"choices": '["3.", "4."]', "answer": "3."}
SUMS = [
    [{"role": "user", "content": f"calculate {i} + 2?"}, {"role": "assistant", "content": f"{i + 2}."}]
    for i in range(4)
]
LONGER = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "hello"},
    {"role": "assistant", "content": "Hi!"},
    {"role": "user", "content": "and again"},
    {"role": "assistant", "content": ""},
]
ASKED = {"id": "asked", "prompt": "hello"}
CASES = {
    "every prompt": [{"id": str(i), "messages": chat} for i, chat in enumerate(SUMS)],
    "one of two": [ASKED, {"id": "longer", "messages": LONGER, "labels": CHOICES}],
    "after a thought": [
        {
            "id": "t",
            "messages": [SUMS[0][0], {"role": "assistant", "content": "<think>0+2</think>2."}],
            "labels": CHOICES,
        }
    ],
}
cases = pytest.mark.parametrize("rows", CASES.values(), ids=CASES)


@contextmanager
def no_forward(model: Any) -> Iterator[None]:
    def forward(*_: Any, **__: Any) -> None:
        raise AssertionError("a forward")

    handle = model.hf.register_forward_pre_hook(forward)
    try:
        yield
    finally:
        handle.remove()


@cases
def test_nobody_answers_it(rows: list[Any], tmp_path: Path) -> None:
    model = families.get("demo")
    last = next(r["id"] for r in rows if r is not ASKED)
    with no_forward(model):
        for ask in (
            lambda: compare(model, rows, Plan.off("L0E0"), controls=0, progress=False),
            lambda: capture(model, rows, tmp_path / "store", generate=4, progress=False),
            lambda: list(stream(model, read_prompts(rows[-1:]))),
        ):
            with pytest.raises(WorkbenchError, match=SAID) as refused:
                ask()
            assert f"'{last}'" in str(refused.value) or f"'{rows[-1]['id']}'" in str(refused.value)
    assert not (tmp_path / "store").exists()


def test_nobody_chooses_an_answer_to_it() -> None:
    model = families.get("demo")
    for name in ("one of two", "after a thought"):
        with no_forward(model), pytest.raises(WorkbenchError, match=SAID):
            choose(model, CASES[name][-1:], [Plan()])


@pytest.mark.parametrize(
    ("where", "metrics"), [("held", ["length"]), ("held", ["kl"]), ("other", ["choice"]), ("ranked", ["length"])]
)
def test_no_recipe_answers_it(where: str, metrics: list[str], tmp_path: Path) -> None:
    prompts = {name: spec for name, spec in recipe_data()["prompts"].items() if name != "given"}
    changes: dict[str, Any] = {"capture": {"generate": 2}} if where == "ranked" else {}
    if where != "ranked":
        prompts[where] |= {"metrics": metrics}
    recipe = make_few(tmp_path / "prompts", prompts=prompts, plans=[{"text": "off L1E1"}], **changes)
    chat = {"id": "last", "messages": SUMS[0], "labels": {"kind": "cat", **CHOICES}}
    with (tmp_path / "prompts" / f"{where}.jsonl").open("a", encoding="utf-8") as file:
        file.write("\n" + json.dumps(chat))

    def no_model(_: Any) -> Any:
        raise AssertionError("a model")

    for run in (
        lambda: plan_run(recipe, no_model, own_functions=True),
        lambda: run_recipe(recipe, tmp_path / "run", progress=False, open_model=no_model, own_functions=True),
    ):
        with pytest.raises(WorkbenchError, match=SAID) as refused:
            run()
        assert f"'prompts.{where}'" in str(refused.value)
    assert not (tmp_path / "run").exists()


@cases
def test_it_is_read_as_it_is(rows: list[Any], tmp_path: Path) -> None:
    model = families.get("demo")
    store = capture(model, rows, tmp_path / "read", progress=False)
    given = capture(model, rows, tmp_path / "given", responses={r["id"]: "yes" for r in rows}, progress=False)
    for row in rows:
        chat = row.get("messages") or [{"role": "user", "content": row["prompt"]}]
        open_turn = chat[-1]["role"] != "assistant"
        text = model.tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=open_turn)
        ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
        said = model.tokenizer("yes", add_special_tokens=False)["input_ids"]
        for found, wanted in ((store, ids), (given, ids + said)):
            tokens = found.tokens.query(f"prompt_id == '{row['id']}'")
            assert tokens["token_id"].tolist() == wanted
            assert True not in tokens["generated"].tolist()
