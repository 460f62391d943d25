"""The options of a capture that decide what its store contains: checked and put in order once, then passed whole."""

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from math import isfinite
from numbers import Integral, Real
from typing import Any

from workbench.anatomy import ExpertRef, as_ref
from workbench.errors import WorkbenchError, suggestion
from workbench.generation import SHARD_TOKENS
from workbench.records import KEEPS
from workbench.shards import READ_ONCE, SAMPLED

BATCH_TOKENS = 4096
USUAL = frozenset({"norms", "residual"})
"""What is kept unless asked otherwise."""
_MOST_SAMPLES = 1_000_000
_KNOWN = KEEPS | set(READ_ONCE)
_LEAST = {"generate": 0, "samples": 1, "batch_tokens": 1, "shard_tokens": 1, "temperature": 0, "seed": None}
Responses = Mapping[str, str | Sequence[str]] | bool | None


@dataclass(frozen=True)
class Options:
    """What `capture` is asked for; each option is explained there. Raises `WorkbenchError` for what makes no sense.

    `keep`, `layers` and `experts` are sorted tuples without repetitions, whatever collections they were given as.
    """

    keep: Collection[str] = tuple(USUAL)
    generate: int = 0
    samples: int = 1
    temperature: float = 0.0
    layers: Collection[int] | None = None
    experts: Collection[ExpertRef] | None = None
    batch_tokens: int = BATCH_TOKENS
    shard_tokens: int = SHARD_TOKENS
    seed: int = 0
    text: bool = True
    responses: Responses = None

    def __post_init__(self) -> None:
        self._check_numbers()
        self._put("keep", _kept(self.keep))
        self._put("layers", None if self.layers is None else tuple(sorted({int(n) for n in self.layers})))
        self._put("experts", None if self.experts is None else tuple(sorted({as_ref(e) for e in self.experts})))
        self._put("responses", None if self.responses is False else self.responses)
        if self.experts is not None and not self.recorded & {"outputs", "inner"}:
            raise WorkbenchError(
                "capture(experts=...) chooses output vectors and neurons; add 'outputs' or 'inner' to keep."
            )
        if self.responses is not None and self.generate:
            raise WorkbenchError("capture() takes given responses or generates, not both; drop one of the two.")
        if self.samples > 1 and self.responses is None and not (self.generate and self.temperature):
            raise WorkbenchError(
                f"capture(samples={self.samples}) would make the same rows {self.samples} times; give generate=N and a "
                f"temperature above 0 as well."
            )

    def _put(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def _check_numbers(self) -> None:
        for name, least in _LEAST.items():
            value, whole = getattr(self, name), name != "temperature"
            if not _is_number(value, whole=whole):
                kind = "a whole number" if whole else "a finite number"
                raise WorkbenchError(f"capture({name}={value!r:.60}) makes no sense; it should be {kind}.")
            if least is not None and value < least:
                raise WorkbenchError(f"capture({name}={value}) makes no sense; it should be at least {least}.")
            self._put(name, int(value) if whole else float(value))
        if not isinstance(self.text, bool):
            raise WorkbenchError(f"capture(text={self.text!r:.60}) makes no sense; it should be True or False.")
        if self.samples > _MOST_SAMPLES:
            raise WorkbenchError(
                f"capture(samples={self.samples}) makes no sense; it should be at most {_MOST_SAMPLES:,}."
            )

    @property
    def recorded(self) -> frozenset[str]:
        """What of `keep` forwards are recorded for."""
        return frozenset(name.partition(":")[0] for name in self.keep) - set(READ_ONCE)

    @property
    def read_once(self) -> tuple[str, ...]:
        """What of `keep` is read from the model's weights."""
        return tuple(name for name in READ_ONCE if name in self.keep)

    @property
    def expert_numbers(self) -> list[tuple[int, int]] | None:
        """`experts` as (layer, expert) of the slots table, where shared expert s is -1 - s."""
        refs = self.experts
        return None if refs is None else [(r.layer, -1 - r.expert if r.is_shared else r.expert) for r in refs]

    def to_dict(self) -> dict[str, Any]:
        """As `plan.json` holds them: experts as text, and of given responses the digest alone."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["experts"] = None if self.experts is None else list(map(str, self.experts))
        values["responses"] = None if self.responses is None else digest(self.responses)
        return json.loads(json.dumps(values))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Options":
        """From `to_dict`'s. Where responses were given they are taken from the prompts: a digest does not tell them."""
        try:
            known: dict[str, Any] = {field.name: values[field.name] for field in fields(cls)}
            return cls(**{**known, "responses": None if values["responses"] is None else True})
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise WorkbenchError(
                f"The options of this plan.json are damaged ({str(error).rstrip('.')}); they should be as `capture` wrote them."
            ) from error


def usual(shown: Collection[str] | None) -> frozenset[str]:
    """What is kept unless asked otherwise, as far as an engine shows it; `shown` is its `Capabilities.keep`."""
    return USUAL if shown is None else USUAL.intersection(shown)


def digest(value: Any) -> str:
    """16 hex digits that differ where JSON-able values differ."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _is_number(value: Any, *, whole: bool) -> bool:
    kind = Integral if whole else Real
    return isinstance(value, kind) and not isinstance(value, bool) and isfinite(value)


def several(name: str, given: Any) -> tuple[Any, ...] | None:
    """What a keyword of `capture` lists; None stays. Raises `WorkbenchError` for what is no list."""
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise WorkbenchError(f"capture({name}={given!r:.60}) makes no sense; it should be a list of {name}.")
    return tuple(given)


def _kept(keep: Collection[str]) -> tuple[str, ...]:
    if not isinstance(keep, Iterable):
        raise WorkbenchError(
            f"capture(keep={keep!r:.60}) makes no sense; it should be a list out of {', '.join(sorted(_KNOWN))}."
        )
    chosen = {keep} if isinstance(keep, str) else set(keep)
    whole = {name for name in chosen if str(name).partition(":")[0] not in SAMPLED or name in SAMPLED}
    named = sorted({*whole} | {_share(str(name)) for name in chosen - whole}, key=str)
    for what in SAMPLED:
        if sum(str(name).partition(":")[0] == what for name in named) > 1:
            raise WorkbenchError(f"capture(keep=...) names {what} twice; give it once, whole or as {what}:SHARE.")
    for name in sorted(whole - _KNOWN, key=str):
        raise WorkbenchError(
            f"capture(keep=...) does not know '{name}'; it can be {', '.join(sorted(_KNOWN))} (slots are always kept), and "
            f"outputs:SHARE, router_input:SHARE or inner:SHARE of the tokens{suggestion(str(name), sorted(_KNOWN)) or '.'}"
        )
    return tuple(named)


def _share(name: str) -> str:
    """`outputs:SHARE`, always written alike, and `outputs` where that is all of them."""
    what, _, given = name.partition(":")
    try:
        share = float(given)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise WorkbenchError(
            f"capture(keep=...) has '{name}'; its share of tokens should be above 0, up to 1, like {what}:0.1."
        )
    return what if share == 1 else f"{what}:{share:g}"
