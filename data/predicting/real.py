"""A real model measured: which rankings agree on it, what single experts off do to its loss on text, and what predicts that."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from smollm2.documents import documents

from predicting.outside import intervals, matrix, outside, reliability, told
from predicting.scores import KEYS, ranked
from predicting.singles import drawn, effects
from predicting.texts import KINDS, texts
from probes import usage
from probes.agreement import agreement
from workbench import capture, load
from workbench.factorization import digest
from workbench.store import Store

KEEP = frozenset({"logits", "norms", "residual", "matrices", "routers"})


def measure(name: str, packages: Path, into: Path) -> dict[str, Any]:
    """Writes NAME.parquet (effects by expert and document), NAME-scores.parquet, NAME-pairs.parquet and NAME.json."""
    model = load(name)
    kept = begun(into / f"{name}.json", digest(model.hf.state_dict()))
    model.hf.set_experts_implementation("eager")  # on CPUs half as fast again as grouped_mm, which transformers takes
    given = texts(model.tokenizer, documents(packages))
    with tempfile.TemporaryDirectory() as scratch:
        store = capture(model, given.prompts, Path(scratch) / "store", keep=KEEP)
        scores = scored(store, into / f"{name}-scores.parquet")
        own = usage(store, n_bootstrap=0).frame
        load_ = own[~own["is_shared"]].pivot(index="layer", columns="expert", values="score").to_numpy()
        agreed = agreement(store, f"kind={KINDS[0]}")
    agreed.write(into / f"{name}-pairs.parquet")
    found = effects(model, drawn(load_), given.rows, into / f"{name}.parquet")
    figures = {
        **kept,
        "model": name,
        "experts": model.anatomy.n_experts,
        "tokens": {kind: int(ids[:, 1:].numel()) for kind, ids in given.rows.items()},
        "documents": {kind: len(ids) for kind, ids in given.rows.items()},
        "clusters": [list(group) for group in agreed.clusters],
        "cut": agreed.cut,
        "refused": {reason: list(names) for reason, names in agreed.refused.items()},
        "kinds": {kind: _kind(found, scores, kind) for kind in KINDS},
    }
    (into / f"{name}.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    return figures


def begun(path: Path, weights: str) -> dict[str, str]:
    """{"weights": ...}, which is written to PATH; what lies beside it and was measured of other weights is taken away first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() or json.loads(path.read_text("utf-8"))["weights"] != weights:
        for other in path.parent.glob(f"{path.stem}*.parquet"):
            other.unlink()
        path.write_text(json.dumps({"weights": weights}), encoding="utf-8")
    return {"weights": weights}


def scored(store: Store, kept: Path) -> pd.DataFrame:
    """kind, layer, expert and a column for every ranking, each kind against the others; read from `kept` where it is there."""
    if not kept.exists():
        each = [ranked(store, f"kind={kind}", None)[0].reset_index().assign(kind=kind) for kind in KINDS]
        whole = pd.concat(each, ignore_index=True)
        floats = whole.columns.difference([*KEYS, "kind"])
        whole.astype(dict.fromkeys(floats, "float32")).to_parquet(kept, compression="zstd")
    return pd.read_parquet(kept)


def _kind(found: pd.DataFrame, scores: pd.DataFrame, kind: str) -> dict[str, Any]:
    experts, nats = matrix(found, kind)
    own = scores[scores["kind"] == kind].set_index(KEYS).loc[experts].drop(columns="kind")
    low, high = intervals(nats)
    mean = nats.mean(1)
    worst = np.argsort(-mean)[:5]
    return {
        "experts": len(experts),
        "outside noise": outside(nats),
        "median": float(np.median(mean)),
        "worst": [[*experts[i], *(round(float(x[i]), 5) for x in (mean, low, high))] for i in worst],
        "reliability": reliability(nats),
        "told": {name: told(own[name].fillna(-np.inf).to_numpy(), nats) for name in own if own[name].notna().any()},
    }
