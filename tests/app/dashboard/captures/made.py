"""Captures at work, half-written stores and runs, made by hand for the tests of this folder."""

import json
import os

from workbench_app.dashboard.captures.jobs import Job, Wanted

from tests.app.world import SHAPE
from workbench import Plan, PromptSet
from workbench.capturing import Options
from workbench.prompts import Prompt
from workbench.shards import SCHEMA_VERSION

PROMPTS = PromptSet((Prompt("a", text="one"), Prompt("b", text="two")), "dir/my prompts.jsonl")


def job(view, name="stores/a", state="waiting", owner="", **more):
    made = Job(name, view.catalog.project / name, owner, view.machine, Wanted(PROMPTS, Plan(), Options()))
    made.state = state
    for key, value in more.items():
        setattr(made, key, value)
    return made


def half(project, name="stores/half", done=1, shards=3, **plan):
    path = project / name
    (path / "shards").mkdir(parents=True)
    for i in range(done):
        (path / "shards" / f"{i}.json").write_text("{}")
    options = {"keep": ["norms"], "generate": 2, "samples": 1, "temperature": 0.0, "layers": None, "experts": None,
               "batch_tokens": 5, "shard_tokens": 6, "seed": 7, "text": True, "responses": None, "more": 1}  # fmt: skip
    made = {"schema_version": SCHEMA_VERSION, "shards": list(range(shards)), "options": options,
            "anatomy": {"fingerprint": SHAPE.fingerprint}, "prompts": {"fingerprint": PROMPTS.fingerprint}} | plan  # fmt: skip
    (path / "plan.json").write_text(json.dumps(made))
    return path


def run_of(project, name, **files):
    path = project / "runs" / name
    (path / "tables").mkdir(parents=True)
    for file, text in files.items():
        (path / file.replace("_", ".")).write_text(text)
    os.utime(path, (1_000_000_000.6,) * 2)
    return path
