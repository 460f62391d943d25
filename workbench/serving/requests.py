"""A request on its way into the engine: what it asks of plans is read and checked, and its cached prefixes are its own.

A prefix that was computed under a plan is no other plan's, and where a phase limits the plan no other prompt length's.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from workbench.errors import WorkbenchError
from workbench.plan import Plan
from workbench.routing import CompiledPlan
from workbench.serving.steps import Asked

NAME = "expert_request"
RUNNING: dict[str, list[str]] = {}
"""By the name that a call gave its requests (`Asked.name`), how vLLM's callers know them; whoever named them takes it out."""


def asking(
    plan: CompiledPlan | None,
    *,
    prompt: int | None = None,
    keep: bool = False,
    logits: Sequence[int] = (),
    read: int = 0,
    name: str = "",
    follow: str = "",
) -> dict[str, str]:
    """The `extra_args` of a request; see `Asked`. Empty where nothing is asked."""
    said: dict[str, Any] = {"plan": plan.to_data()} if plan is not None and plan.plan else {}
    said |= {"keep": True} if keep else {}
    said |= {"logits": list(logits)} if logits else {}
    said |= {"read": read} if read else {}
    said |= {"prompt": prompt} if prompt is not None else {}
    said |= {"name": name} if name else {}
    said |= {"follow": follow} if follow else {}
    return {NAME: json.dumps(said)} if said else {}


def prepared(request: Any) -> Any:
    """The engine's `EngineCoreRequest`, ready for its plan. Raises `WorkbenchError` (a `ValueError`) for what is no plan."""
    params = request.sampling_params
    extra = None if params is None else params.extra_args
    if not extra or NAME not in extra:
        return request
    try:
        asked = Asked.of(extra, len(request.prompt_token_ids or ()))
    except (KeyError, TypeError, ValueError) as error:
        raise WorkbenchError(f"The {NAME} of a request cannot be read ({error}); make it with `asking`.") from error
    if asked.name:
        RUNNING.setdefault(asked.name, []).append(request.request_id)
    if asked.plan and request.prompt_token_ids is None:
        raise WorkbenchError("A prompt of embeddings has no tokens that a plan could go by; send text or token ids.")
    if asked.plan:
        request.cache_salt = salted(request.cache_salt, asked.plan, asked.prompt)
    if params is not None and (asked.keep or asked.read or asked.follow):
        params.skip_reading_prefix_cache = True  # what is read from the cache is not computed, and so not seen
    return request


def salted(salt: str | None, plan: Plan, prompt: int) -> str:
    """What vLLM keys cached prefixes by, for requests under this plan."""
    ends = prompt if any(edit.scope.phase for edit in plan.edits) else None
    digest = hashlib.sha256(json.dumps([plan.to_json(), ends]).encode()).hexdigest()[:32]
    return f"{salt or ''}|experts:{digest}"
