"""A chat in a form that its template shows: parts or text, null or empty content, arguments of calls as objects or as JSON.

Templates disagree about what they take: some join parts, some print Python's list of them; some write arguments as JSON,
some add them to a text; some fail without a content. The chat as given comes first; what no form shows is refused, since a
template drops or garbles it without a word.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from workbench.errors import WorkbenchError, listed
from workbench.prompts.chats import Messages, calls_of, joined

Apply = Callable[[Messages], str]
"""The template on a chat, as text; raises `WorkbenchError` where it refuses the chat."""


def shown(apply: Apply, messages: Messages, prompt_id: str) -> tuple[str, Messages]:
    """The chat as text, and the messages in the form that was taken. Raises `WorkbenchError` where no form shows every call."""
    messages = _with_parts(apply, messages)
    if not any(map(calls_of, messages)):
        return apply(messages), messages
    without, refusal = _without_calls(apply, messages), None
    for form in _forms(messages):
        try:
            text = apply(form)
        except WorkbenchError as error:
            refusal = refusal or error
            continue
        if not (lost := lost_words(text, without, form)):
            return text, form
        refusal = WorkbenchError(
            f"The chat template does not show the call of {listed(lost)} in the prompt '{prompt_id}'; take the calls out, or "
            f"load a tokenizer whose template knows tools."
        )
    assert refusal is not None  # there is one form at least
    raise refusal


def check_tools(with_tools: str, without: str, prompt_id: str) -> None:
    """Raises `WorkbenchError` when the tools changed nothing in the text."""
    if with_tools == without:
        raise WorkbenchError(
            f"The chat template shows nothing of the tools of the prompt '{prompt_id}'; take them out, or load a tokenizer "
            f"whose template knows tools."
        )


def unread(template: Any, options: Mapping[str, Any] | None) -> list[str]:
    """Options that the chat template (one, or several by name) does not mention, so that they change nothing."""
    text = "\n".join(map(str, template.values())) if isinstance(template, Mapping) else str(template)
    return [name for name in options or () if not re.search(rf"\b{re.escape(name)}\b", text)]


def marker(number: int) -> str:
    """What stands for the words of a turn while the template's own are looked for."""
    return f"\ue000{number}\ue001"  # private-use characters: no real prompt has them, no template looks for them


def marked(messages: Messages) -> Messages:
    """The chat with a marker for the words of each turn; a turn that calls tools has one for its calls as well."""
    return tuple(
        {**{k: v for k, v in message.items() if k != "tool_calls"}, "content": _like(message.get("content"), marker(i))}
        for i, message in enumerate(messages)
    )


def _like(content: Any, text: str) -> Any:
    return text if content is None or isinstance(content, str) else [{"type": "text", "text": text}]


def _with_parts(apply: Apply, messages: Messages) -> Messages:
    """The chat as it is where the template shows parts one by one, else with the parts of each turn as one text."""
    if all(m.get("content") is None or isinstance(m["content"], str) for m in messages):
        return messages
    try:
        found = apply(marked(messages))
    except WorkbenchError:
        found = ""
    quoted = any(f"{quote}{marker(i)}" in found for i in range(len(messages)) for quote in "'\"")
    if not quoted and all(marker(i) in found for i in range(len(messages))):
        return messages
    return tuple({**m, "content": None if m.get("content") is None else joined(m["content"])} for m in messages)


def _without_calls(apply: Apply, messages: Messages) -> str:
    """The text of the same turns without their calls; empty where the template refuses them."""
    try:
        return apply(tuple({**m, "content": m.get("content") or "", "tool_calls": None} for m in messages))
    except WorkbenchError:
        return ""


def _forms(messages: Messages) -> Iterator[Messages]:
    for as_json in (False, True):
        for null in (None, ""):
            yield tuple(_form(message, null, as_json) for message in messages)


def _form(message: Mapping[str, Any], null: str | None, as_json: bool) -> Mapping[str, Any]:
    if not calls_of(message):
        return message
    calls = [_call(call, as_json) for call in message["tool_calls"]]
    content = message.get("content")
    return {**message, "content": null if content is None else content, "tool_calls": calls}


def _call(call: Mapping[str, Any], as_json: bool) -> Mapping[str, Any]:
    """The call with its arguments as an object, or as the JSON of one; text that is no JSON stays."""
    if isinstance(call.get("function"), Mapping):
        return {**call, "function": _call(call["function"], as_json)}
    given = call.get("arguments")
    try:
        value = json.loads(given) if isinstance(given, str) else {} if given is None else given
    except ValueError:
        return call
    return {**call, "arguments": json.dumps(value, ensure_ascii=False) if as_json else value}


def lost_words(text: str, without: str, messages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names of called functions that the calls did not bring into the text, or brought with Python's spelling of a value."""
    calls = [call for message in messages for call in calls_of(message)]
    nulls = text.count("None") - without.count("None") - json.dumps([dict(c) for c in calls]).count("None")
    return [call["name"] for call in calls if nulls > 0 or not _is_shown(call, text, without)]


def _is_shown(call: Mapping[str, Any], text: str, without: str) -> bool:
    name, arguments = call["name"], call.get("arguments")
    spelt_by_python = bool(arguments) and not isinstance(arguments, str) and str(arguments) != json.dumps(arguments)
    return text.count(name) > without.count(name) and not (spelt_by_python and str(arguments) in text)
