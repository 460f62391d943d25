"""Chats as values: turns, tools, parts, and what a template shows of them."""

import json
from typing import Any

import pytest

from tests.support.refusals import refused
from workbench.errors import WorkbenchError
from workbench.prompts.chat_forms import check_tools, lost_words, marked, marker, shown, unread
from workbench.prompts.chats import calls_of, joined, messages_of, options_of, tools_of
from workbench.prompts.chats import said as words_of

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
        assert lost_words("weather None", "", CHAT) == ["weather"]
        assert lost_words("weather None", "None", CHAT) == []
        assert lost_words("weather", "weather", CHAT) == ["weather"]

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
