"""The experts that rows of a table name: layer, expert, is_shared."""

from typing import Any

from workbench.anatomy import ExpertRef


def ref_of(row: Any) -> ExpertRef:
    """The expert of one row (of a dict or a Series); prints as L3E1, or L3S1 for a shared expert."""
    return ExpertRef(int(row["layer"]), int(row["expert"]), bool(row["is_shared"]))


def refs_of(rows: Any, fingerprint: str | None = None) -> list[ExpertRef]:
    """The expert of each row of a frame, in its order; `fingerprint` of the model that they are experts of."""
    columns = (rows["layer"], rows["expert"], rows["is_shared"])
    return [
        ExpertRef(int(layer), int(expert), bool(shared), fingerprint)
        for layer, expert, shared in zip(*columns, strict=True)
    ]
