"""One change to one expert: `Edit`, a frozen value, with where it applies (`Scope`) and its one-line grammar.

off L0E15 | scale L1E4=8 | mute L2S0 in generated | bias L1E2=-1.5 at 0-3,7- | replace L1E2=mean between <think> </think>

A token of a span that holds white space, a quote or a semicolon is written as a JSON string: between "a b" ";".
"""

import json
import re
import sys
from dataclasses import dataclass
from typing import Any, Literal, get_args

from workbench.anatomy import ExpertRef
from workbench.errors import WorkbenchError, suggestion

Kind = Literal["bias", "off", "force", "drop", "scale", "replace", "mute"]
Phase = Literal["prompt", "generated"]
Vector = tuple[float, ...]
KINDS: tuple[Kind, ...] = get_args(Kind)  # in the one order in which edits apply
ROUTING_KINDS = frozenset({"bias", "off", "force"})
SHARED_KINDS = frozenset({"mute", "scale", "replace"})
VALUED_KINDS = frozenset({"scale", "bias", "replace"})

TOKEN = r'"(?:[^"\\]|\\.)*"|[^\s"]\S*'  # of a span: a JSON string, or what has no white space
_RANGE = re.compile(r"(\d{1,9})(-(\d{0,9}))?", re.ASCII)
_PLAIN = re.compile(r'[^\s;"]+')
_JSON_KEYS = ["kind", "expert", "value", "phase", "positions", "span"]


@dataclass(frozen=True, order=True)
class Scope:
    """Where an edit applies; empty means everywhere.

    phase      "prompt" or "generated": that of the position a computation processes. The last prompt position, which
               decides the first answer token, is "prompt".
    positions  half-open ranges (start, stop) of positions counted from the first real token; stop None is the end
    span       two token strings: from the first (included) to the second (included), such as `<think>` and `</think>`
    """

    phase: Phase | None = None
    positions: tuple[tuple[int, int | None], ...] = ()
    span: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if self.phase not in (None, *get_args(Phase)):
            raise WorkbenchError(f"There is no phase '{self.phase}'; a position is of phase 'prompt' or 'generated'.")
        bad = [r for r in self.positions if r[0] < 0 or (r[1] is not None and r[1] <= r[0])]
        if bad:
            raise WorkbenchError(f"Positions {bad[0]} hold nothing; give (start, stop) with 0 <= start < stop.")
        if self.span is not None and (len(self.span) != 2 or not all(self.span)):
            raise WorkbenchError(f"A span needs an opening and a closing token, not {self.span}.")

    @property
    def is_everywhere(self) -> bool:
        """Whether every position is in scope."""
        return self.phase is None and not self.positions and self.span is None

    def can_meet(self, other: "Scope") -> bool:
        """Whether one position could be in both scopes, as far as phases tell."""
        return self.phase is None or other.phase is None or self.phase == other.phase

    def __str__(self) -> str:
        parts = [f"in {self.phase}"] if self.phase else []
        if self.positions:
            parts.append("at " + ",".join(_print_range(*r) for r in self.positions))
        if self.span:
            parts.append("between " + " ".join(map(_print_token, self.span)))
        return " ".join(parts)


@dataclass(frozen=True)
class Edit:
    """What to do to one expert. `value` is the factor of `scale`, the amount of `bias`, the vector or "mean" of `replace`."""

    kind: Kind
    expert: ExpertRef
    value: float | Vector | Literal["mean"] | None = None
    scope: Scope = Scope()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise WorkbenchError(
                f"There is no edit '{self.kind}'{suggestion(self.kind, list(KINDS)) or '.'} The seven are {', '.join(KINDS)}."
            )
        if self.expert.is_shared and self.kind not in SHARED_KINDS:
            raise WorkbenchError(
                f"{self.kind} {self.expert}: a shared expert is not selected by the router; it can be muted, scaled, replaced."
            )
        _check_value(self)
        # JSON and people write 8 for 8.0: one value, one type
        if isinstance(self.value, tuple):
            object.__setattr__(self, "value", tuple(map(float, self.value)))
        elif isinstance(self.value, int):
            object.__setattr__(self, "value", float(self.value))

    @property
    def key(self) -> tuple[Any, ...]:
        """Sort key: layer, expert, the order of application, scope, value."""
        return (self.expert, KINDS.index(self.kind), str(self.scope), str(self.value))

    def __str__(self) -> str:
        value = "" if self.value is None else f"={_print_value(self.value)}"
        return f"{self.kind} {self.expert}{value} {self.scope}".rstrip()

    def to_dict(self) -> dict[str, Any]:
        """JSON-able; only what is set."""
        out: dict[str, Any] = {"kind": self.kind, "expert": str(self.expert)}
        if self.value is not None:
            out["value"] = list(self.value) if isinstance(self.value, tuple) else self.value
        for name in ("phase", "positions", "span"):
            if found := getattr(self.scope, name):
                out[name] = found
        return out

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Edit":
        """The inverse of `to_dict`; unknown keys are refused."""
        _check_edit_json(data)
        value, span = data.get("value"), data.get("span")
        positions = tuple((a, b) for a, b in data.get("positions") or ())
        scope = Scope(data.get("phase"), positions, tuple(span) if span else None)  # pyright: ignore[reportArgumentType]
        value = tuple(value) if isinstance(value, list) else value
        return cls(data["kind"], ExpertRef.parse(data["expert"]), value, scope)


def _check_edit_json(data: Any) -> None:
    """The types of an edit's JSON; its meaning is checked by `Edit`."""
    if not isinstance(data, dict):
        raise WorkbenchError(f"An edit is an object with 'kind' and 'expert', not {_short(data)}.")
    for key in data:
        if key not in _JSON_KEYS:
            raise WorkbenchError(f"An edit has the unknown key '{key}'{suggestion(str(key), _JSON_KEYS) or '.'}")
    for key in ("kind", "expert"):
        if not isinstance(data.get(key), str):
            raise WorkbenchError(f"An edit needs '{key}' as text, and has {_short(data.get(key))} in {_short(data)}.")
    if not _is_ranges(data.get("positions") or []):
        raise WorkbenchError(
            f"The positions of an edit are pairs of numbers, like [[0, 4]], not {_short(data['positions'])}."
        )
    span = data.get("span") or ["<", ">"]
    if not isinstance(span, list | tuple) or len(span) != 2 or not all(isinstance(token, str) for token in span):
        raise WorkbenchError(f"The span of an edit is an opening and a closing token, not {_short(span)}.")


def _is_ranges(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(r, list | tuple)
        and len(r) == 2
        and all(type(end) is int or (at and end is None) for at, end in enumerate(r))
        for r in value
    )


def _short(value: Any) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _check_value(edit: Edit) -> None:
    name, value = f"{edit.kind} {edit.expert}", edit.value
    if edit.kind not in VALUED_KINDS:
        if value is not None:
            raise WorkbenchError(f"{name} takes no value, and {value!r} was given.")
        return
    numbers = value if isinstance(value, tuple) else (value,)
    is_vector = isinstance(value, tuple)
    if edit.kind == "replace" and value == "mean":
        return
    if is_vector != (edit.kind == "replace") or not all(map(_is_number, numbers)):
        wanted = "a vector as wide as the residual, or 'mean'" if edit.kind == "replace" else "one number"
        raise WorkbenchError(f"{name} needs {wanted}; it got {value!r:.60}.")
    if not all(abs(x) <= sys.float_info.max for x in numbers if x is not None and not isinstance(x, str)):
        raise WorkbenchError(f"{name} needs finite numbers; to take an expert out of the selection use off.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _print_value(value: float | Vector | str) -> str:
    if isinstance(value, tuple):
        return "[" + ",".join(map(repr, value)) + "]"
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")


def _print_token(token: str) -> str:
    return token if _PLAIN.fullmatch(token) else json.dumps(token, ensure_ascii=False)


def parse_token(text: str) -> str:
    """A token of a span as written: a JSON string, or the text itself."""
    if not text.startswith('"'):
        return text
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise WorkbenchError(f'{text} is no JSON string; write a token with white space like "a b".') from error


def _print_range(start: int, stop: int | None) -> str:
    if stop is None:
        return f"{start}-"
    return str(start) if stop == start + 1 else f"{start}-{stop - 1}"


def parse_positions(text: str) -> tuple[tuple[int, int | None], ...]:
    """`0-3,7,9-` as half-open ranges ((0, 4), (7, 8), (9, None))."""
    matches = [_RANGE.fullmatch(part.strip()) for part in text.split(",")]
    if not all(matches):
        raise WorkbenchError(f"'{text}' names no positions; write them like 0-3,7,9-.")
    return tuple(_parse_range(m) for m in matches if m)


def _parse_range(match: re.Match[str]) -> tuple[int, int | None]:
    start, dash, stop = match.groups()
    if dash is None:
        return int(start), int(start) + 1
    return int(start), int(stop) + 1 if stop else None
