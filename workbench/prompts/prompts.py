"""Prompts with labels, pairs and splits: read from JSONL, CSV, Parquet or a list, and checked before anything runs.

{"id": "p1", "text": "Tokenised as it is", "labels": {"topic": "war"}}
{"id": "p2", "prompt": "Goes through the chat template", "pair": "1", "split": "ranking", "cluster": "Paris"}
{"id": "p3", "messages": [{"role": "user", "content": "Hi"}], "response": "A given answer"}
{"id": "p4", "prompt": "And the weather?", "tools": [...], "chat_template_kwargs": {"enable_thinking": false}}
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, overload

from workbench.errors import WorkbenchError, listed, suggestion
from workbench.prompts.chats import Messages, Tools, from_json, messages_of, options_of, said, tools_of
from workbench.prompts.rows import KEYS, name_of, plain, rows_of, unflattened


@dataclass(frozen=True)
class Prompt:
    """One prompt: `text` is tokenised as it is, `messages` go through the chat template; exactly one of them is set."""

    id: str
    text: str | None = None
    messages: Messages | None = None
    response: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    pair: str | None = None
    split: str | None = None
    cluster: str | None = None
    tools: Tools | None = None
    """Functions that the chat template offers to the model."""
    chat_template_kwargs: Mapping[str, Any] | None = None
    """What the chat template is told besides, such as `{"enable_thinking": False}`."""

    def __post_init__(self) -> None:
        texts = {str(name): label_text(value) for name, value in self.labels.items() if value is not None}
        if texts != self.labels:  # labels are text in the store, whoever made the prompt
            object.__setattr__(self, "labels", texts)
        check_characters(self.to_dict(), f"the prompt '{self.id}'")

    @property
    def is_chat(self) -> bool:
        """Whether it goes through the chat template."""
        return self.messages is not None

    @property
    def said(self) -> str:
        """Its words: the text, or what was said last."""
        return said(self.messages[-1]) if self.messages else self.text or ""

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, as a line of JSONL; keys that are not set are left out."""
        values = {
            "id": self.id,
            "text": self.text,
            "messages": None if self.messages is None else [dict(m) for m in self.messages],
            "response": self.response,
            "labels": dict(self.labels) or None,
            "pair": self.pair,
            "split": self.split,
            "cluster": self.cluster,
            "tools": None if self.tools is None else [dict(t) for t in self.tools],
            "chat_template_kwargs": None if self.chat_template_kwargs is None else dict(self.chat_template_kwargs),
        }
        return {key: value for key, value in values.items() if value is not None}


@dataclass(frozen=True)
class PromptSet:
    """Prompts in order, with unique ids. Iterates over `Prompt`s."""

    prompts: tuple[Prompt, ...]
    source: str = field(default="", compare=False)

    def __len__(self) -> int:
        return len(self.prompts)

    def __iter__(self) -> Iterator[Prompt]:
        return iter(self.prompts)

    @overload
    def __getitem__(self, at: int) -> Prompt: ...
    @overload
    def __getitem__(self, at: slice) -> "PromptSet": ...
    def __getitem__(self, at: int | slice) -> "Prompt | PromptSet":
        """A prompt by its place, or a part of them. Raises `WorkbenchError` for a part that holds none."""
        if not isinstance(at, slice):
            return self.prompts[at]
        if not self.prompts[at]:
            raise WorkbenchError(f"{self._name[:1].upper()}{self._name[1:]}, {len(self)} in all, hold none in {at}.")
        return PromptSet(self.prompts[at], self.source)

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits of everything in the prompts, in order."""
        text = json.dumps([p.to_dict() for p in self.prompts], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that occur, sorted."""
        return tuple(sorted({p.split for p in self.prompts if p.split is not None}))

    @property
    def label_values(self) -> dict[str, tuple[str, ...]]:
        """Each label's name and the values it takes, sorted."""
        found: dict[str, set[str]] = {}
        for prompt in self.prompts:
            for name, value in prompt.labels.items():
                found.setdefault(name, set()).add(value)
        return {name: tuple(sorted(values)) for name, values in sorted(found.items())}

    def filter(
        self, *, split: str | None = None, labels: Mapping[str, str | Collection[str]] | None = None
    ) -> "PromptSet":
        """The prompts of a split and with these label values (`{"sensitive": "yes"}`, or several values).

        Raises `WorkbenchError` when no prompt has that split, label or value, or none is left.
        """
        if split is not None and split not in self.splits:
            raise WorkbenchError(_unknown("split", split, list(self.splits), self))
        wanted = {name: _several(value) for name, value in (labels or {}).items()}
        self._check_labels(wanted)
        kept = tuple(
            p
            for p in self.prompts
            if (split is None or p.split == split) and all(p.labels.get(n) in vs for n, vs in wanted.items())
        )
        if not kept:
            raise WorkbenchError(f"No prompt of {self._name} meets split={split} and labels={wanted} together.")
        return PromptSet(kept, self.source)

    def _check_labels(self, wanted: Mapping[str, tuple[str, ...]]) -> None:
        known = self.label_values
        for name, values in wanted.items():
            if name not in known:
                raise WorkbenchError(_unknown("label", name, list(known), self))
            for value in values:
                if value not in known[name]:
                    raise WorkbenchError(_unknown(f"value of the label '{name}'", value, list(known[name]), self))

    @property
    def _name(self) -> str:
        return f"'{self.source}'" if self.source else "these prompts"

    def __repr__(self) -> str:
        return f"PromptSet({len(self)} prompts from {self._name}, fingerprint {self.fingerprint})"


def read_prompts(source: "str | Path | PromptSet | Prompt | Iterable[str | Mapping[str, Any] | Prompt]") -> PromptSet:
    """Prompts from a JSONL, CSV or Parquet file, the name of a bundled file (`refusal`), or whatever holds rows.

    A list, Series, array or generator holds strings (tokenised as they are) or dicts with the keys of a JSONL line; a
    DataFrame, an Arrow or Polars table, a dataset and a dict of columns are read by rows, a DatasetDict with each row's
    split. In columns a label is `label.NAME`, or all of them JSON in `labels`. Missing ids become `p00000`, `p00001`, ...
    Raises `WorkbenchError` for a missing or empty file, a broken line (which one), an unknown key, an empty prompt, an id
    that occurs twice, and a dict that is no columns.
    """
    if isinstance(source, PromptSet):
        return source
    if isinstance(source, Prompt):
        return PromptSet((source,))
    if isinstance(source, str | Path):
        from workbench.prompts.files import find_prompts, read_rows

        path = find_prompts(source)
        return _collect(((f"{where} of '{source}'", row) for where, row in read_rows(path)), str(source))
    return _collect(rows_of(source), "", name_of(source))


def label_text(value: Any) -> str:
    """How a label's value is stored: text as it is, True and False as `true` and `false`, numbers as printed."""
    return str(value).lower() if str(value) in ("True", "False") and not isinstance(value, str) else str(value)


def _collect(rows: Iterable[tuple[str, Any]], source: str, kind: str = "") -> PromptSet:
    prompts: dict[str, Prompt] = {}
    for place, row in rows:
        prompt = row if isinstance(row, Prompt) else _prompt(row, place, f"p{len(prompts):05d}")
        if prompt.id in prompts:
            raise WorkbenchError(
                f"{_start(place)} has the id '{prompt.id}' a second time; give each prompt its own id."
            )
        prompts[prompt.id] = prompt
    if not prompts:
        raise WorkbenchError(f"{_start(kind) or repr(source)} holds no prompts; it needs at least one.")
    return PromptSet(tuple(prompts.values()), source)


def _prompt(row: Any, place: str, default_id: str) -> Prompt:
    if isinstance(row, str):
        row = {"text": row}
    if not isinstance(row, Mapping):
        raise WorkbenchError(f"{_start(place)} is {type(row).__name__}; it should be text or an object with 'text'.")
    named = unflattened({str(key): plain(value) for key, value in row.items()})
    fields = {key: value for key, value in named.items() if value is not None}
    for key in fields:
        if key not in KEYS:
            raise WorkbenchError(
                f"{_start(place)} has the unknown key '{key}'; the keys are "
                f"{', '.join(KEYS)}{suggestion(key, list(KEYS)) or '.'}"
            )
    check_characters(fields, place)
    text, messages = _content(fields, place)
    return Prompt(
        id=_text(fields, "id", place) or default_id,
        text=text,
        messages=messages,
        response=_text(fields, "response", place),
        labels=labels_of(fields.get("labels"), place),
        pair=_text(fields, "pair", place),
        split=_text(fields, "split", place),
        cluster=_text(fields, "cluster", place),
        tools=_of_template(tools_of, fields, "tools", place),
        chat_template_kwargs=_of_template(options_of, fields, "chat_template_kwargs", place),
    )


def _of_template(read: Any, fields: Mapping[str, Any], key: str, place: str) -> Any:
    found = read(fields.get(key), place)
    if found is not None and "text" in fields:
        raise WorkbenchError(
            f"The '{key}' of {place} {'are' if key == 'tools' else 'is'} the chat template's affair, and 'text' is tokenised "
            f"as it is; give 'prompt' or 'messages' instead."
        )
    return found


def check_characters(fields: Mapping[str, Any], place: str) -> None:
    """Half of a surrogate pair, which JSON can spell and UTF-8 cannot, would fail in the tokenizer or the store."""
    for key, value in fields.items():
        found = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        if any("\ud800" <= character <= "\udfff" for character in found):
            raise WorkbenchError(
                f"The '{key}' of {place} holds half of a surrogate pair (or a byte that is not UTF-8), which is no character; "
                f"take it out."
            )


def _content(fields: Mapping[str, Any], place: str) -> tuple[str | None, Messages | None]:
    given = [key for key in ("text", "prompt", "messages") if key in fields]
    if len(given) != 1:
        found = " and ".join(f"'{key}'" for key in given) or "none of them"
        raise WorkbenchError(f"{_start(place)} has {found}; give one of 'text', 'prompt' or 'messages'.")
    if given[0] == "messages":
        return None, messages_of(fields["messages"], place)
    content = fields[given[0]]
    if not isinstance(content, str) or not content.strip():
        what = "is empty" if isinstance(content, str) else f"is {type(content).__name__}"
        raise WorkbenchError(f"The '{given[0]}' of {place} {what}; it should be text.")
    return (content, None) if given[0] == "text" else (None, ({"role": "user", "content": content},))


def labels_of(value: Any, place: str) -> dict[str, str]:
    """Labels as text by name, from an object or its JSON; null leaves one out. `place` is named when they cannot be read."""
    if isinstance(value, str):
        value = from_json(value, "labels", place)
    if isinstance(value, list) and all(isinstance(item, tuple) and len(item) == 2 for item in value):
        value = dict(value)  # a Parquet map
    if value is not None and not isinstance(value, Mapping):
        raise WorkbenchError(f"The 'labels' of {place} should be an object of names and values.")
    labels = {str(name): entry for name, entry in (value or {}).items() if entry is not None}
    for name, entry in labels.items():
        if not name or isinstance(entry, Mapping | list | tuple):
            raise WorkbenchError(f"The label '{name}' of {place} should have a name and one value, not {entry!r}.")
    return {name: label_text(entry) for name, entry in labels.items()}


def _text(fields: Mapping[str, Any], key: str, place: str) -> str | None:
    value = fields.get(key)
    if isinstance(value, Mapping | list | tuple | bool):
        raise WorkbenchError(f"The '{key}' of {place} is {type(value).__name__}; it should be text.")
    if key == "id" and value is not None and not str(value).strip():
        raise WorkbenchError(f"The 'id' of {place} is empty; give it a name or leave it out.")
    return None if value is None else str(value)


def _start(place: str) -> str:
    return place[:1].upper() + place[1:]


def _several(value: str | Collection[str]) -> tuple[str, ...]:
    return (value,) if isinstance(value, str) else tuple(value)


def _unknown(what: str, word: str, known: list[str], prompts: PromptSet) -> str:
    source = f"'{prompts.source}'" if prompts.source else "these prompts"
    has = f"; there is {listed(known)}" if known else ""
    return f"No prompt of {source} has the {what} '{word}'{has}{suggestion(word, known) or '.'}"
