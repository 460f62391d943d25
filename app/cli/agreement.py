"""`workbench rank --all`: every ranking that a store allows, which of them say the same, and why others cannot be asked."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.errors import WorkbenchError
from workbench.storage import check_writable

from ..terminal import note, print_json, print_table, say, working

if TYPE_CHECKING:
    from probes.agreement import Agreement


def rank_all(
    store: Path, target: str | None, baseline: str | None, out: Path | None, *, incomplete: bool, json: bool
) -> None:
    """Asks the store, shows the clusters and correlations, and writes every pair to `out`."""
    from probes.agreement import agreement
    from workbench import open_store

    if out is not None:
        if out.suffix not in (".csv", ".parquet"):
            raise WorkbenchError(f"'{out}' should end in .csv or .parquet, which says how to write the agreement.")
        check_writable(out)
    opened = open_store(store, incomplete=incomplete)
    opened.check_complete()
    with working(f"Ranking {opened.anatomy.n_experts} experts in every way"):
        found = agreement(opened, target, baseline)
    if out is not None:
        found.write(out)
        note(f"Wrote '{out}'.")
    print_json(_whole(found)) if json else _show(found)


def _whole(found: "Agreement") -> dict[str, Any]:
    return {**found.about(), "pairs": found.pairs.to_dict("records")}


def _show(found: "Agreement") -> None:
    say(f"{len(found.scores)} rankings of the experts of {found.model or 'a model'}, by Spearman's rank correlation")
    columns = ["cluster", "ranking", "experts", "nearest", "correlation", "n"]
    print_table(columns, _rows(found), right=["cluster", "experts", "correlation", "n"])
    say(f"A cluster joins rankings whose mean correlation is {found.cut:g} or more; --out FILE writes every pair.")
    for reason, names in found.refused.items():
        note(f"- not asked: {', '.join(names)}: {reason}")
    note("- that rankings agree does not say that they are right: an effect is measured by compare")


def _rows(found: "Agreement") -> list[list[str]]:
    """Every ranking with the other that it agrees with most."""
    rows: list[list[str]] = []
    for number, group in enumerate(found.clusters, 1):
        for name in group:
            ranked = len(found.scores[name].frame.dropna(subset=["score"]))
            rows.append([str(number), name, f"{ranked:,}", *_nearest(found.pairs, name)])
    return rows


def _nearest(pairs: Any, name: str) -> list[str]:
    own = pairs[((pairs["method"] == name) | (pairs["other"] == name)) & pairs["spearman"].notna()]
    if own.empty:
        return ["-", "-", "-"]
    best: dict[str, Any] = own.sort_values("spearman", ascending=False, kind="stable").to_dict("records")[0]
    other = best["other"] if best["method"] == name else best["method"]
    return [str(other), f"{best['spearman']:+.2f}", f"{int(best['n']):,}"]
