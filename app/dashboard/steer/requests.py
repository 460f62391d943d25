"""A plan as what is sent to a running server: a script with the openai client, and a line of curl, to copy."""

import json
import shlex
from typing import Any, NamedTuple

from workbench import Plan

from ..session import Machine


class Served(NamedTuple):
    """A server's address, and the name that its model has there."""

    url: str
    model: str


def served_at(machine: Machine) -> Served | None:
    """None for a model in this process, or in an engine that is no server."""
    own: Any = machine.engine
    asking = getattr(own, "asking", None)
    return None if asking is None else Served(asking.url, own.model)


def as_script(plan: Plan, at: Served, question: str) -> str:
    """With the openai client; a server that wants a key reads it from the client."""
    return "\n".join(
        [
            "from openai import OpenAI",
            "",
            f'client = OpenAI(base_url={at.url + "/v1"!r}, api_key="none")',
            "said = client.chat.completions.create(",
            f"    model={at.model!r}, messages={_messages(question)!r},",
            f'    extra_body={{"vllm_xargs": {{"expert_plan": {_said(plan)!r}}}}},',
            ")",
            'print(said.choices[0].message.content, said.expert_plan["dose"])',
        ]
    )


def as_curl(plan: Plan, at: Served, question: str) -> str:
    """The same as a line of a shell."""
    body = {"model": at.model, "messages": _messages(question), "vllm_xargs": {"expert_plan": _said(plan)}}
    words = [
        "curl",
        "-s",
        f"{at.url}/v1/chat/completions",
        "-H",
        "content-type: application/json",
        "-d",
        json.dumps(body),
    ]
    return shlex.join(words)


def _said(plan: Plan) -> str:
    """With the fingerprint of its model, so that another model refuses it."""
    return json.dumps(json.loads(plan.to_json()))


def _messages(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question or "..."}]
