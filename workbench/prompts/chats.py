"""Chats as people write them: turns of text, parts or tool calls, the tools offered, and options for the template; checked."""

import json
from collections.abc import Mapping
from typing import Any

from workbench.errors import WorkbenchError, suggestion

SPEAKERS = ("system", "developer", "user", "assistant", "tool")
Messages = tuple[Mapping[str, Any], ...]
Tools = tuple[Mapping[str, Any], ...]
# arguments of `apply_chat_template` that decide what comes back; which of them are used is not the prompt's to say
_OURS = ("tokenize", "add_generation_prompt", "continue_final_message", "return_dict", "return_tensors", "padding")
_OURS += ("truncation", "max_length", "return_assistant_tokens_mask", "tokenizer_kwargs", "conversation", "messages")
_OURS += ("tools", "chat_template")


def messages_of(value: Any, place: str) -> Messages:
    """The turns of a chat: `content` as text, as parts of text, or null beside `tool_calls`.

    Raises `WorkbenchError` for what is no turn, and for a chat of the assistant alone.
    """
    value = from_json(value, "messages", place) if isinstance(value, str) else value
    if not isinstance(value, list | tuple) or not value:
        raise WorkbenchError(f"The 'messages' of {place} should be a list of objects with 'role' and 'content'.")
    messages = tuple(_message(message, place) for message in value)
    if all(message["role"] == "assistant" for message in messages):
        raise WorkbenchError(
            f"The 'messages' of {place} are the assistant's alone; begin with a turn of the user, and give an answer of its "
            f"own as 'response'."
        )
    _check_json(messages, "messages", place)
    return messages


def tools_of(value: Any, place: str) -> Tools | None:
    """The functions that are offered, each an object with a name as chat templates take it; None without any."""
    value = from_json(value, "tools", place) if isinstance(value, str) else value
    if value is None or value == []:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(tool, Mapping) and _function(tool) for tool in value):
        raise WorkbenchError(
            f"The 'tools' of {place} should be a list of objects like "
            f'{{"type": "function", "function": {{"name": "weather"}}}}.'
        )
    _check_json(value, "tools", place)
    return tuple(value)


def options_of(value: Any, place: str) -> Mapping[str, Any] | None:
    """What the chat template is told beside the messages, such as `enable_thinking`; None for nothing."""
    key = "chat_template_kwargs"
    value = from_json(value, key, place) if isinstance(value, str) else value
    if value is None or value == {}:
        return None
    if not isinstance(value, Mapping):
        raise WorkbenchError(f"The '{key}' of {place} should be an object of names and values, not {value!r:.40}.")
    if ours := [name for name in value if name in _OURS]:
        instead = "; give 'tools' beside it" if ours[0] == "tools" else ""
        raise WorkbenchError(f"The '{key}' of {place} cannot set '{ours[0]}', which is decided here{instead}.")
    _check_json(value, key, place)
    return {str(name): entry for name, entry in value.items()}


def said(message: Mapping[str, Any]) -> str:
    """A turn's words: its content, parts put together; the calls as JSON where there is nothing else."""
    content = joined(message.get("content"))
    return content if content or not message.get("tool_calls") else json.dumps(message["tool_calls"], sort_keys=True)


def joined(content: Any) -> str:
    """A content as one text: its parts one after the other, as templates that know parts show them; null is empty."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content or ())


def calls_of(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The functions that a turn calls, each with `name` and, where given, `arguments`."""
    return [
        found for call in message.get("tool_calls") or () if isinstance(call, Mapping) and (found := _function(call))
    ]


def from_json(text: str, key: str, place: str) -> Any:
    """The value of a cell that holds JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WorkbenchError(f"The '{key}' of {place} should be JSON: {error}.") from error


def _message(message: Any, place: str) -> Mapping[str, Any]:
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    content = message.get("content") if isinstance(message, Mapping) else None
    if not isinstance(message, Mapping) or not (isinstance(content, str) or _are_parts(content, place) or calls):
        raise WorkbenchError(
            f"A message of {place} should be an object with 'role' and 'content', both text (content may be parts of "
            f"text, or null beside tool_calls)."
        )
    if message.get("role") not in SPEAKERS:
        role = str(message.get("role"))
        raise WorkbenchError(
            f"A message of {place} has the role '{role}'; it can be "
            f"{', '.join(SPEAKERS)}{suggestion(role, list(SPEAKERS)) or '.'}"
        )
    if calls and content is None:
        _check_calls(message, place)
    kept = {key: value for key, value in message.items() if value is not None}
    return kept | ({"content": None} if content is None else {})


def _are_parts(content: Any, place: str) -> bool:
    if not isinstance(content, list | tuple) or not content or not all(isinstance(part, Mapping) for part in content):
        return False
    for part in content:
        if part.get("type", "text") != "text" or not isinstance(part.get("text"), str):
            raise WorkbenchError(
                f"A message of {place} has a part of the type '{part.get('type')}'; parts can be text, like "
                f'{{"type": "text", "text": "Hi"}}.'
            )
    return True


def _check_calls(message: Mapping[str, Any], place: str) -> None:
    calls = message["tool_calls"]
    if message["role"] != "assistant":
        raise WorkbenchError(f"A message of {place} calls tools as '{message['role']}'; only the assistant can.")
    if not isinstance(calls, list | tuple) or not all(isinstance(call, Mapping) and _function(call) for call in calls):
        raise WorkbenchError(
            f"The 'tool_calls' of a message of {place} should be a list of objects like "
            f'{{"type": "function", "function": {{"name": "weather", "arguments": {{}}}}}}.'
        )


def _function(tool: Mapping[str, Any]) -> Mapping[str, Any]:
    """The object with the name: `function` of a call or tool, or itself; empty where neither has one."""
    inner = tool.get("function", tool)
    return inner if isinstance(inner, Mapping) and isinstance(inner.get("name"), str) and inner["name"] else {}


def _check_json(value: Any, key: str, place: str) -> None:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError) as error:
        raise WorkbenchError(
            f"The '{key}' of {place} should hold text, numbers, lists and objects: {error}."
        ) from error
