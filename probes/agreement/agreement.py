"""Whether rankings of one store agree: rank correlations, clusters of those that say the same, and what could not be asked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from probes.agreement.asking import rankings
from probes.agreement.clusters import CUT, clusters
from probes.agreement.correlation import correlations
from probes.ranking import about_of, parquet_written, text_of
from workbench.errors import WorkbenchError
from workbench.storage import write_text

if TYPE_CHECKING:
    from probes.ranking import ExpertScores
    from workbench.store import Store


@dataclass(frozen=True, eq=False)
class Agreement:
    """What all rankings of a store have to say to each other.

    scores    every ranking that could be made, by name
    pairs     a row for each two: method, other, spearman, n (`correlations`), cluster and other_cluster (numbers from 1)
    clusters  rankings that say the same, the largest cluster first
    refused   by reason, the names of those that could not be made
    """

    scores: "Mapping[str, ExpertScores]"
    pairs: pd.DataFrame = field(hash=False)
    clusters: tuple[tuple[str, ...], ...]
    refused: Mapping[str, tuple[str, ...]]
    cut: float
    fingerprint: str
    model: str

    @property
    def matrix(self) -> pd.DataFrame:
        """[rankings, rankings] Spearman's rank correlation, 1 on the diagonal, clusters side by side."""
        names = [name for group in self.clusters for name in group]
        found = pd.DataFrame(float("nan"), index=names, columns=names)
        rows: Any = self.pairs[["method", "other", "spearman"]]
        for one, other, rho in rows.itertuples(index=False, name=None):
            found.loc[one, other] = found.loc[other, one] = rho
        for name in names:
            found.loc[name, name] = 1.0
        return found

    def about(self) -> dict[str, Any]:
        """What was asked and what was not, JSON-able."""
        groups, refused = [list(group) for group in self.clusters], {r: list(n) for r, n in self.refused.items()}
        about = {"clusters": groups, "cut": self.cut, "refused": refused}
        return {**about, "fingerprint": self.fingerprint, "model": self.model}

    def write(self, path: str | Path) -> None:
        """The pairs as .csv or .parquet; clusters and refusals travel in the first line, or in the file's metadata."""
        if Path(path).suffix == ".parquet":
            parquet_written(path, about_of(self.about(), self.pairs), self.pairs)
            return
        if Path(path).suffix != ".csv":
            raise WorkbenchError(f"'{path}' should end in .csv or .parquet, which says how to write the agreement.")
        write_text(path, text_of("csv", about_of(self.about(), self.pairs), self.pairs))


def agreement(store: "Store", target: str | None = None, baseline: str | None = None, *, cut: float = CUT) -> Agreement:
    """Every ranking that the store allows, and which of them say the same of its experts.

    target, baseline  labels, for the probes that compare classes or ask what goes with one
    cut               the mean rank correlation down to which clusters are joined, in (-1, 1]

    A correlation is of ranks over the experts that both rank, and high ones do not say that either is right: rankings that
    count the same selections agree by construction. Raises `WorkbenchError` for a cut outside of its range.
    """
    if not -1 < cut <= 1:
        raise WorkbenchError(
            f"cut={cut:g} is no rank correlation to join rankings at; give more than -1 and at most 1."
        )
    asked = rankings(store, target, baseline)
    pairs = correlations(asked.scores)
    groups = clusters([*asked.scores], pairs, cut)
    number = {name: i for i, group in enumerate(groups, 1) for name in group}
    of = {"cluster": "method", "other_cluster": "other"}
    pairs = pairs.assign(**{name: [number[x] for x in pairs[column]] for name, column in of.items()})
    return Agreement(asked.scores, pairs, groups, asked.refused, cut, store.anatomy.fingerprint, store.anatomy.model)
