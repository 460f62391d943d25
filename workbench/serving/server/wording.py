"""What the server says of plans, as JSON: in a reply, in the list of models, in a refusal."""

from typing import Any

from workbench.anatomy import Anatomy
from workbench.plan import Plan
from workbench.routing import DoseCounts

_LONG = 400


def about(plan: Plan, everywhere: Plan, anatomy: Anatomy) -> dict[str, Any]:
    """A plan that is in force: its text, its fingerprint, the model's; with the server's own where it is a part."""
    stamped = plan.for_model(anatomy)
    said = {"plan": shortened(str(plan)), "fingerprint": stamped.digest, "model": anatomy.fingerprint}
    return said | ({"server_plan": shortened(str(everywhere))} if everywhere else {})


def dosed(counts: DoseCounts, cached: int) -> dict[str, Any]:
    """What it changed; tokens_cached: of the prompt, computed before under the same plan and not counted again."""
    said = counts._asdict()
    return {name: said[name] for name in ("tokens", "tokens_changed", "slots", "slots_changed", "tokens_emptied")} | {
        "tokens_cached": cached
    }


def refusal(sentence: object, code: int = 400, kind: str = "BadRequestError") -> dict[str, Any]:
    """An error as vLLM words its own: one line, whatever the request held."""
    shown = "".join(c if c.isprintable() else " " for c in shortened(str(sentence)))
    message = " ".join(shown.split())
    param = "vllm_xargs.expert_plan" if code == 400 else None
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def shortened(text: str) -> str:
    """At most 400 characters."""
    return text if len(text) <= _LONG else f"{text[: _LONG - 1]}…"
