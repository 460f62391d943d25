"""Plans that a server must refuse, by a grammar: each kind of fault draws as many different ones as one likes.

They are written for a model of 4 layers with 32 experts each, 4 of them selected, hidden size unlike 3, no shared experts (the
bundled one). Those of ENGINE are plans in themselves, and refused by what serves them.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

WIDE = ("ｏｆｆ", "оff", "of\u200bf")
KINDS = ("off", "drop", "mute", "force")
Fault = Callable[[Random], Any]


class Drawn(NamedTuple):
    """One hostile plan, and which kind of fault it has."""

    fault: str
    plan: Any


def faults(folder: Path) -> dict[str, Fault]:
    """By name, what draws plans with that fault. folder: what they name of files lies there, and is there to be opened."""
    secret = folder / "plan.json"
    secret.write_text('{"edits": [{"kind": "off", "expert": "L1E2"}]}', encoding="utf-8")
    return {**_grammar(), **_numbers(), **_model(), **_json(), **_files(secret), **_sizes(), **_types()}


def drawn(folder: Path, n: int, seed: int) -> Iterator[Drawn]:
    """`n` of them, every kind in turn."""
    rng, made = Random(seed), faults(folder)
    for i in range(n):
        name = [*made][i % len(made)]
        yield Drawn(name, made[name](rng))


def _expert(rng: Random) -> str:
    return f"L{rng.randrange(4)}E{rng.randrange(32)}"


def _off(rng: Random) -> str:
    return f"{rng.choice(KINDS)} {_expert(rng)}"


def _edit(rng: Random, **more: Any) -> str:
    return json.dumps({"edits": [{"kind": "off", "expert": _expert(rng), **more}]})


def _grammar() -> dict[str, Fault]:
    return {
        "letters": lambda rng: "".join(rng.choices("abcxyz <>{}[]%$|&'`", k=rng.randrange(1, 60))) + "!",
        "a typo": lambda rng: rng.choice(["of", "offf", "mutee", "Force", "biass", "replac"]) + f" {_expert(rng)}",
        "no expert": lambda rng: rng.choice(KINDS) + " " * rng.randrange(9),
        "no expert's name": lambda rng: f"off L{rng.randrange(4)}{rng.choice('XQZ-')}{rng.randrange(32)}",
        "a negative number": lambda rng: f"off L{rng.randrange(4)}E-{rng.randrange(1, 99)}",
        "backwards": lambda rng: f"off L1E{rng.randrange(9, 30)}-{rng.randrange(9)}",
        "an unknown phase": lambda rng: f"{_off(rng)} in {rng.choice(['nowhere', 'prompts', 'Prompt', '1'])}",
        "positions backwards": lambda rng: f"{_off(rng)} at {rng.randrange(5, 99)}-{rng.randrange(4)}",
        "positions that are none": lambda rng: f"{_off(rng)} at {rng.choice([',', '--', '-3', '1-2-3', '1,,2'])}",
        "an open quote": lambda rng: f'{_off(rng)} between "a {"b" * rng.randrange(9)}',
        "another script's digits": lambda rng: f"off L{rng.choice('١٢٣')}E{rng.choice('１２３')}",
        "wide letters": lambda rng: f"{rng.choice(WIDE)} {_expert(rng)}",
        "half a character": lambda rng: f"{_off(rng)}{chr(rng.randrange(0xD800, 0xDFFF))}",
        "control characters": lambda rng: f"{_off(rng)}{chr(rng.choice([0, 7, 27, 127]))}\x1b[2J",
        "code": lambda rng: rng.choice(
            ["__import__('os').system('id')", "${jndi:ldap://x}", "'; drop table plans; --"]
        ),
    }


def _numbers() -> dict[str, Fault]:
    valued = ("scale", "bias")
    return {
        "not a number": lambda rng: f"{rng.choice(valued)} {_expert(rng)}={rng.choice(['nan', 'NaN', '-nan'])}",
        "infinite": lambda rng: f"{rng.choice(valued)} {_expert(rng)}={rng.choice(['inf', '-Infinity', '1e999'])}",
        "too large for float32": lambda rng: f"{rng.choice(valued)} {_expert(rng)}=-{rng.randrange(4, 9)}e38",
        "too large together": lambda rng: f"scale L1E4=1e30 in prompt; scale L1E4={rng.randrange(1, 9)}e30",
        "no number": lambda rng: f"{rng.choice(valued)} {_expert(rng)}={rng.choice(['abc', '', '1,2', '0x1F', '--1'])}",
        "a missing value": lambda rng: f"{rng.choice(valued)} {_expert(rng)}",
        "a value of none": lambda rng: f"{_off(rng)}={rng.randrange(9)}",
        "a long number": lambda rng: f"off L{'9' * rng.randrange(4400, 9000)}E1",
        "a long value": lambda rng: f"scale {_expert(rng)}={'8' * rng.randrange(400, 9000)}",
        "a long position": lambda rng: f"{_off(rng)} at 1{'0' * rng.randrange(12, 5000)}",
        "a position past all": lambda rng: _edit(rng, positions=[[0, 2 ** rng.randrange(40, 200)]]),
    }


def _model() -> dict[str, Fault]:
    return {
        "no such layer": lambda rng: f"off L{rng.randrange(4, 999)}E1",
        "no such expert": lambda rng: f"off L{rng.randrange(4)}E{rng.randrange(32, 9999)}",
        "no shared expert": lambda rng: f"mute L{rng.randrange(4)}S{rng.randrange(3)}",
        "a shared expert selected": lambda rng: f"off L{rng.randrange(4)}S0",
        "off and force": lambda rng: f"off L1E{(n := rng.randrange(32))}; force L1E{n}",
        "replaced twice": lambda rng: "replace L1E1=mean; replace L1E1=[1,2,3]",
        "too much force": lambda rng: f"force L{rng.randrange(4)}E0-{rng.randrange(4, 31)}",
        "too much off": lambda rng: f"off L{rng.randrange(4)}E{rng.randrange(3)}-31",
        "a narrow vector": lambda rng: f"replace {_expert(rng)}=[{rng.random()},1,2]",
        "another model": lambda rng: json.dumps(
            {**json.loads(_edit(rng)), "fingerprint": f"2:{rng.randbytes(8).hex()}"}
        ),
        "an old fingerprint": lambda rng: json.dumps({**json.loads(_edit(rng)), "fingerprint": rng.randbytes(8).hex()}),
    }


def _json() -> dict[str, Fault]:
    return {
        "broken JSON": lambda rng: _edit(rng)[: rng.randrange(2, 30)],
        "deep JSON": lambda rng: '{"edits": ' + rng.choice("[{") * rng.randrange(9000, 60000),
        "JSON without edits": lambda rng: json.dumps({rng.choice(["edit", "plan", "Edits"]): []}),
        "an unknown key": lambda rng: _edit(rng, **{rng.choice(["expert2", "where", "file", "__class__"]): 1}),
        "keys of a wrong type": lambda rng: _edit(
            rng, **{rng.choice(["positions", "span", "phase"]): rng.choice([1, {"a": 1}])}
        ),
        "booleans for numbers": lambda rng: _edit(rng, positions=[[rng.choice([True, False]), 3]]),
        "a key of 60 KB": lambda rng: _edit(rng, **{rng.choice("ab") * 60_000: 1}),
        "NaN in JSON": lambda rng: _edit(rng, kind="scale", value=float(rng.choice(["nan", "inf"]))),
        "null": lambda rng: json.dumps({"edits": [rng.choice([None, [], 3, "off L1E1"])]}),
    }


def _files(secret: Path) -> dict[str, Fault]:
    return {
        "a file's experts": lambda rng: f"{rng.choice(KINDS)} @{secret}",
        "a file among experts": lambda rng: f"off {_expert(rng)},@{secret}",
        "a plan's file": lambda rng: rng.choice(["", " "]) + str(secret),
        "a file above": lambda rng: f"off @{'../' * rng.randrange(1, 9)}etc/passwd",
        "a vector's file": lambda rng: (
            f"replace {_expert(rng)}={rng.choice(['', '@'])}{secret.with_name('vector.npy')}"
        ),
    }


def _sizes() -> dict[str, Fault]:
    return {
        "over 64 KiB": lambda rng: "; ".join([_off(rng)] * rng.randrange(9000, 20000)),
        "stars": lambda rng: f"{rng.choice(('drop', 'mute'))} " + "L*E*," * rng.randrange(2000, 13000),
        "clauses of stars": lambda rng: "mute L*E*;" * rng.randrange(2000, 6500),
        "a range of everything": lambda rng: f"mute L0E0-{10 ** rng.randrange(3, 9)}",
        "many ranges": lambda rng: f"{_off(rng)} at " + ",".join(str(2 * n) for n in range(rng.randrange(300, 9000))),
        "many phases": lambda rng: ";".join(f"off L0E1 in prompt at {n}" for n in range(rng.randrange(900, 2000))),
        "quotes in quotes": lambda rng: f"{_off(rng)} between " + '"\\' * rng.randrange(9000, 32000),
        "white space": lambda rng: f"{_off(rng)}{' ' * rng.randrange(9000, 60000)}x",
    }


def _types() -> dict[str, Fault]:
    return {
        "a number": lambda rng: rng.randrange(-9, 9),
        "a list": lambda rng: [_off(rng)],
        "a fraction": lambda rng: rng.random(),
    }


ENGINE: dict[str, Fault] = {
    "a span": lambda rng: f"{_off(rng)} between <a> <b>",
    "a mean of nothing": lambda rng: f"replace {_expert(rng)}=mean",
    "too many rows": lambda rng: "; ".join(f"mute L0E{n % 32} at {2 * n}-" for n in range(rng.randrange(70, 99))),
}
