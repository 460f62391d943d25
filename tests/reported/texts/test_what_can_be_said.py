"""Tools and their calls, content in parts or null, options of the template."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.support import families
from workbench import Plan, WorkbenchError, capture, compare, read_prompts
from workbench.loading import tiny_tokenizer
from workbench.model import MoEModel
from workbench.prompts import ROLES, encode

# as Qwen3's: calls in tags, results in a turn of the user's, a thought that is over when thinking is switched off
QWEN = (
    "{%- if tools %}<|s|>system\nTools:{% for t in tools %}{{ '\n' + t | tojson }}{% endfor %}{{ '<|e|>\n' }}{% endif %}"
    "{%- for m in messages %}{%- if m.role == 'tool' %}{{ '<|s|>user\n<result>\n' + m.content + '\n</result><|e|>\n' }}"
    "{%- else %}{{ '<|s|>' + m.role + '\n' }}{{ m.content }}{% for c in m.tool_calls %}"
    '{{ \'\n<call>\n{"name": "\' + c.function.name + \'", "arguments": \' }}{{ c.function.arguments | tojson }}'
    "{{ '}\n</call>' }}"
    "{% endfor %}{{ '<|e|>\n' }}{%- endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|s|>assistant\n' }}"
    "{% if enable_thinking is defined and not enable_thinking %}{{ '<think>\n\n</think>\n\n' }}{% endif %}{% endif %}"
)

# adds arguments to a text, and fails on an object; shows parts one by one
ADDING = (
    "{% for m in messages %}{{ '<' + m.role + '>' }}{% if m.content is string %}{{ m.content }}"
    "{% else %}{% for p in m.content %}{{ p.text }}|{% endfor %}{% endif %}"
    "{% for c in m.tool_calls %}{{ '!' + c.function.name + ' ' + c.function.arguments }}{% endfor %}{% endfor %}"
)

ASKED = {"role": "user", "content": "weather?"}


def call(name: str, arguments: Any = None, content: Any = None) -> dict[str, Any]:
    given = {} if arguments is None else {"arguments": arguments}
    return {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "function": {"name": name, **given}}],
    }


def tokenizer(template: str) -> Any:
    found = tiny_tokenizer()
    found.chat_template = template
    return found


def spoken(template: str, **prompt: Any) -> list[tuple[str, str]]:
    """Stretches of the prompt's text by role."""
    (found,) = encode(tokenizer(template), [prompt])
    stretches: list[tuple[str, str]] = []
    for i, code in zip(found.ids, found.roles, strict=True):
        role, said = ROLES[code], tiny_tokenizer().decode([i])
        if stretches and stretches[-1][0] == role:
            stretches[-1] = (role, stretches[-1][1] + said)
        else:
            stretches.append((role, said))
    assert "".join(said for _, said in stretches) == found.text
    return stretches


def text_of(template: str, **prompt: Any) -> str:
    (found,) = encode(tokenizer(template), [prompt])
    return found.text


def test_a_call_is_the_assistants_and_its_result_the_tools() -> None:
    chat = [ASKED, call("w", {"city": "Rom"}), {"role": "tool", "content": "22"}, {"role": "user", "content": "ok"}]
    assert spoken(QWEN, messages=chat) == [
        ("template", "<|s|>user\n"),
        ("user", "weather?"),
        ("template", "<|e|>\n<|s|>assistant\n"),
        ("assistant", '\n<call>\n{"name": "w", "arguments": {"city": "Rom"}}\n</call>'),
        ("template", "<|e|>\n<|s|>user\n<result>\n"),
        ("tool", "22"),
        ("template", "\n</result><|e|>\n<|s|>user\n"),
        ("user", "ok"),
        ("template", "<|e|>\n<|s|>assistant\n"),
    ]


def test_words_and_thoughts_before_a_call() -> None:
    two = call("w", {}, "<think>hm</think>I ask.")
    two["tool_calls"].append({"type": "function", "function": {"name": "v", "arguments": {}}})
    found = spoken(QWEN, messages=[ASKED, two, {"role": "tool", "content": "22"}])
    assert found[3:5] == [
        ("think", "<think>hm</think>"),
        (
            "assistant",
            'I ask.\n<call>\n{"name": "w", "arguments": {}}\n</call>\n<call>\n{"name": "v", "arguments": {}}\n</call>',
        ),
    ]
    assert ("tool", "22") in found


def test_tiny_models_take_tools() -> None:
    plain = [{"role": "system", "content": "be brief"}, ASKED, {"role": "assistant", "content": "no"}, ASKED]
    wanted = "[system] be brief\n[user] weather?\n[assistant] no\n[user] weather?\n[assistant] "  # as they always did
    assert text_of(tiny_tokenizer().chat_template, messages=plain) == wanted
    template = tiny_tokenizer().chat_template
    found = spoken(template, messages=[ASKED, call("w"), {"role": "tool", "content": "22"}], tools=[{"name": "w"}])
    assert found == [
        ("template", '[tools] [{"name": "w"}]\n[user] '),
        ("user", "weather?"),
        ("template", "\n[assistant] "),
        ("assistant", '<tool_call>{"name": "w", "arguments": {}}</tool_call>'),
        ("template", "\n[tool] "),
        ("tool", "22"),
        ("template", "\n[assistant] "),
    ]


@pytest.mark.parametrize("arguments", [{"a": 'say "ü"', "b": None}, '{"a": "say \\"ü\\"", "b": null}'])
@pytest.mark.parametrize("template", [QWEN, ADDING])
def test_arguments_are_json_whichever_way_they_come(template: str, arguments: Any) -> None:
    """As OpenAI's text or as an object, for a template that writes JSON and for one that adds texts."""
    found = text_of(template, messages=[ASKED, call("w", arguments)])
    assert '{"a": "say \\"ü\\"", "b": null}' in found
    assert "None" not in found


def test_parts_are_one_text_unless_the_template_shows_them() -> None:
    parts = [{"type": "text", "text": "hi "}, {"type": "text", "text": "there"}]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]
    assert text_of(QWEN, messages=messages) == "<|s|>system\nbe brief<|e|>\n<|s|>user\nhi there<|e|>\n<|s|>assistant\n"
    assert text_of(ADDING, messages=messages) == "<system>be brief<user>hi |there|"
    assert ("user", "hi there") in spoken(QWEN, messages=messages)
    (prompt,) = read_prompts([{"messages": messages}])
    assert prompt.said == "hi there"
    demo = families.get("demo")
    assert (
        encode(demo.tokenizer, [{"messages": messages[1:]}])[0].ids
        == encode(demo.tokenizer, [{"prompt": "hi there"}])[0].ids
    )


def test_options_of_the_template() -> None:
    off, on = ({"chat_template_kwargs": {"enable_thinking": value}} for value in (False, True))
    assert text_of(QWEN, prompt="hi", **off) == "<|s|>user\nhi<|e|>\n<|s|>assistant\n<think>\n\n</think>\n\n"
    assert text_of(QWEN, prompt="hi", **on) == text_of(QWEN, prompt="hi") == "<|s|>user\nhi<|e|>\n<|s|>assistant\n"
    (found,) = encode(tiny_tokenizer(), [{"prompt": "hi", **off}])
    assert found.notes == ("the chat template does not read enable_thinking, so it changes nothing",)
    assert encode(tokenizer(QWEN), [{"prompt": "hi", **off}])[0].notes == ()


def test_prompts_of_one_set_have_their_own(tmp_path: Path) -> None:
    model = MoEModel(**{**vars(families.get("olmoe")), "tokenizer": tokenizer(QWEN)})
    asked = [
        {"id": "a", "prompt": "hi", "chat_template_kwargs": {"enable_thinking": False}},
        {"id": "b", "prompt": "hi"},
        {"id": "c", "messages": [ASKED, call("w"), {"role": "tool", "content": "22"}], "tools": [{"name": "w"}]},
    ]
    store = capture(model, asked, tmp_path / "s", progress=False)
    texts = dict(zip(store.prompts["prompt_id"], store.prompts["text"], strict=True))
    assert texts["a"] == texts["b"] + "<think>\n\n</think>\n\n"
    tokens = store.tokens[store.tokens["prompt_id"] == "c"]
    assert "".join(tokens["token"][tokens["role"] == "tool"]) == "22"
    assert '"name": "w"' in "".join(tokens["token"][tokens["role"] == "assistant"])
    how: dict[str, Any] = {"metrics": {"n": lambda r: 1.0}, "controls": 0, "max_new_tokens": 1, "progress": False}
    assert compare(model, asked, Plan.mute(["L0E1"]), **how).responses["prompt"].tolist() == ["hi", "hi", "22"]


@pytest.mark.parametrize(
    ("template", "prompt", "sentence"),
    [
        ("{{ messages[0].content }}", {"prompt": "hi", "tools": [{"name": "w"}]}, "shows nothing of the tools"),
        ("{{ messages | length }}", {"messages": [ASKED, call("w")]}, "does not show the call of w"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}", {"messages": [ASKED, call("we")]}, "the call of we"),
        ("{{ messages[9].content.x }}", {"prompt": "hi"}, "refuses the prompt 'p00000'"),
        ("{{ 1 // 0 }}", {"prompt": "hi"}, "refuses the prompt 'p00000'"),
        ("{% for x %}", {"prompt": "hi"}, "refuses the prompt 'p00000'"),
    ],
)
def test_what_the_template_drops_is_refused(template: str, prompt: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        encode(tokenizer(template), [prompt])


TOOLS = [{"type": "function", "function": {"name": "w"}}]


@pytest.mark.parametrize(
    ("prompt", "sentence"),
    [
        ({"messages": [{"role": "user", "content": None}]}, "both text"),
        ({"messages": [{"role": "assistant"}, ASKED]}, "both text"),
        ({"messages": [{**call("w"), "role": "user"}]}, "calls tools as 'user'"),
        ({"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}]}, "'tool_calls' of a"),
        ({"messages": [ASKED, {"role": "assistant", "content": None, "tool_calls": []}]}, "both text"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "url": "x"}]}]}, "part of the type 'image'"),
        ({"messages": [{"role": "user", "content": []}]}, "both text"),
        ({"messages": [{"role": "user", "content": ["a"]}]}, "both text"),
        (
            {"prompt": "hi", "tools": [{"type": "function"}]},
            "'tools' of item 0 of the list should be a list of objects",
        ),
        ({"prompt": "hi", "tools": {"name": "w"}}, "should be a list of objects"),
        ({"prompt": "hi", "tools": "["}, "should be JSON"),
        ({"text": "hi", "tools": TOOLS}, "'tools' of item 0 of the list are the chat template's affair"),
        ({"text": "hi", "chat_template_kwargs": {"a": 1}}, "is the chat template's affair"),
        ({"prompt": "hi", "chat_template_kwargs": [1]}, "should be an object of names"),
        ({"prompt": "hi", "chat_template_kwargs": {"tokenize": True}}, "cannot set 'tokenize'"),
        ({"prompt": "hi", "chat_template_kwargs": {"tools": TOOLS}}, "give 'tools' beside it"),
        ({"prompt": "hi", "chat_template_kwargs": {"a": {1, 2}}}, "should hold text, numbers"),
        ({"prompt": "hi", "tools": [{"name": "w", "f": print}]}, "should hold text, numbers"),
        ({"prompt": "hi", "tools": [{"name": "w\ud800"}]}, "half of a surrogate pair"),
    ],
)
def test_what_cannot_be_said_is_one_sentence(prompt: Any, sentence: str) -> None:
    with pytest.raises(WorkbenchError, match=sentence):
        read_prompts([prompt])


def test_it_survives_files(tmp_path: Path) -> None:
    rows = [
        {
            "messages": [ASKED, call("w", {"city": "Rom"})],
            "tools": TOOLS,
            "chat_template_kwargs": {"enable_thinking": False},
        },
        {"prompt": "hi", "label.kind": "a"},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
    ]
    wanted = read_prompts(rows)
    (tmp_path / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(p.to_dict()) + "\n" for p in wanted))
    flat = [{k: v if isinstance(v, str) else json.dumps(v) for k, v in row.items()} for row in rows]
    pd.DataFrame(flat).to_parquet(tmp_path / "p.parquet")
    pd.DataFrame(flat).to_csv(tmp_path / "p.csv", index=False)
    for name in ("p.jsonl", "q.jsonl", "p.parquet", "p.csv"):
        assert read_prompts(tmp_path / name) == wanted, name
    assert wanted.prompts[1].labels == {"kind": "a"}
    assert len({read_prompts([row]).fingerprint for row in (*rows, {"prompt": "hi"})}) == 4


def test_fingerprints_of_prompts_without_them_are_what_they_were() -> None:
    """As commit a01768e gave them: what was half captured then goes on."""
    plain = [
        {"id": "a", "text": "one", "labels": {"k": "x", "n": 3}, "pair": "1"},
        "two",
        {"prompt": "three", "split": "s", "cluster": "c"},
    ]
    turns = [("system", "be brief"), ("user", "hi"), ("assistant", "<think>x</think>y"), ("user", "go on")]
    chat = {"messages": [{"role": role, "content": content, "name": None} for role, content in turns], "response": "ok"}
    assert read_prompts(plain).fingerprint == "ebc6e54dd407fc5d"
    assert read_prompts([chat]).fingerprint == "13f1420cbc25dcca"
    assert read_prompts("refusal").fingerprint == "cade2aaeed4df923"
    assert read_prompts([{**plain[2], "tools": [], "chat_template_kwargs": {}}]).fingerprint == (
        read_prompts([plain[2]]).fingerprint
    )
