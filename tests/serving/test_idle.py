"""The plugin does nothing unless a process was started with plans: what it imports, what it changes in vLLM, what a step runs."""

import json
import subprocess
import sys

from tests.serving.support.models import folder
from workbench.serving import names
from workbench.serving.plugin import VARIABLE, Settings, settings, started_with

SCRIPT = """
import json, os, sys
from importlib.metadata import entry_points
(point,) = entry_points(group="vllm.general_plugins", name="moe_workbench")
for asked in json.loads(sys.argv[1]):
    os.environ[asked[0]] = asked[1]
    before = set(sys.modules)
    point.load()()
    loaded = {name.partition(".")[0] for name in set(sys.modules) - before}
    print(json.dumps(sorted(loaded - set(sys.stdlib_module_names))))
    from workbench.serving.names import PLACES, found
    print(json.dumps([place for place in PLACES if found(place).__module__.startswith("workbench")
                      or hasattr(found(place), "__wrapped__") and "workbench" in found(place).__code__.co_filename]))
"""


def test_idle_it_imports_the_standard_library_and_patches_nothing_and_at_work_what_it_names() -> None:
    """Idle first, then asked for, in one process."""
    turns = [(VARIABLE, ""), (VARIABLE, json.dumps(Settings()._asdict()))]
    command = [sys.executable, "-c", SCRIPT, json.dumps(turns)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    imported, patched, _, named = (json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))
    assert (imported, patched) == (["workbench"], [])
    assert [place.rpartition(".")[2] for place in named] == [
        *("process_inputs", "execute_model", "_prepare_inputs", "load_model"),
    ]


def test_idle_a_step_runs_stock_vllms_operators_in_their_order() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.serving.support.operators", folder("mixtral")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    stock, idle, work = json.loads(done.stdout.splitlines()[-1])
    assert len(stock) > 100
    assert idle == stock
    assert work != stock, "a plugin at work is not seen, so this says nothing of an idle one"


def test_what_is_asked_for_is_in_the_environment_while_it_is() -> None:
    with started_with(Settings(7, 5)):
        assert settings() == Settings(7, 5)
    assert settings() is None


def test_a_renamed_or_changed_name_is_said(monkeypatch) -> None:
    from vllm.v1.worker.gpu_model_runner import GPUModelRunner

    assert names.mismatch() is None
    own = GPUModelRunner._prepare_inputs
    with monkeypatch.context() as there:
        there.delattr(GPUModelRunner, "_prepare_inputs")
        assert names.mismatch() == "this vLLM has no vllm.v1.worker.gpu_model_runner:GPUModelRunner._prepare_inputs"
    with monkeypatch.context() as there:
        there.setattr(GPUModelRunner, "_prepare_inputs", lambda self, output, counts: own(self, output, counts))
        assert "takes (self, output, counts), not (self, scheduler_output, num_scheduled_tokens)" in str(
            names.mismatch()
        )
