"""A seed moves the draws and nothing else; intervals are those of the draws that it gives."""

from math import log2

import numpy as np

from probes import ExpertScores, ftri, npmi, usage
from tests.probes.oracle.cases import empty, label
from tests.probes.oracle.memory import anatomy, memory_store


def test_a_seed_moves_the_draws_and_nothing_else() -> None:
    for ask in (
        lambda seed: ftri(twelve(), "war", "peace", n_permutations=50, n_bootstrap=50, seed=seed),
        lambda seed: usage(twelve(), n_bootstrap=50, seed=seed),
        lambda seed: npmi(twelve(), token="m", n_permutations=50, n_bootstrap=50, seed=seed),
    ):
        one, other = ask(0).frame, ask(1).frame
        assert one["score"].tolist() == other["score"].tolist()
        assert one["low"].tolist() != other["low"].tolist()


def twelve():
    """Twelve prompts of three tokens, two classes, no pairs: each token selects one of four experts."""
    rng, rows = np.random.default_rng(8), empty()
    for number in range(12):
        prompt = f"p{number:02d}"
        rows["prompts"].append({"prompt_id": prompt, "n_tokens": 3})
        rows["labels"].append(label(prompt, "war" if number % 2 else "peace", name="topic"))
        for position in range(3):
            key = {"prompt_id": prompt, "sample": 0, "position": position}
            token = "m" if position == number % 3 else "x"
            rows["tokens"].append({**key, "token": token, "token_id": 1, "role": "user", "generated": False})
            rows["slots"].append({**key, "layer": 0, "slot": 0, "expert": int(rng.integers(4)), "weight": 1.0})
    return memory_store(anatomy((4,), 1), rows)


def student_ends(replicates: np.ndarray, n: float) -> tuple[list[float], list[float]]:
    """Percentiles that reach as far as Student's t with n - 1 degrees of freedom, by scipy and a sort; NaN is left out."""
    from scipy.stats import norm, t

    reach, ends = t.ppf(0.975, n - 1) * (n / (n - 1)) ** 0.5, ([], [])
    for values in replicates.T:
        ordered = sorted(v for v in values.tolist() if v == v)
        for out, tail in zip(ends, (norm.cdf(-reach), norm.cdf(reach)), strict=True):
            at = tail * (len(ordered) - 1)
            below = int(at)
            out.append(ordered[below] + (at - below) * (ordered[below + 1] - ordered[below]))
    return ends


def test_intervals_are_those_of_the_draws_that_a_seed_gives() -> None:
    """The same seed gives the same digits in every version: resamples are drawn from [seed, 1], by a loop here."""
    store, seed, n = twelve(), 5, 400
    draws = np.random.default_rng([seed, 1]).multinomial(12, [1 / 12] * 12, size=n)
    slots, tokens = store.table("slots"), store.tokens
    chosen = {(p, i): e for p, i, e in zip(slots.prompt_id.astype(str), slots.position, slots.expert, strict=True)}
    marked = {
        (p, i) for p, i, w in zip(tokens.prompt_id.astype(str), tokens.position, tokens.token, strict=True) if w == "m"
    }
    a = np.array([[sum(chosen[f"p{p:02d}", i] == e for i in range(3)) for e in range(4)] for p in range(12)], float)
    k = np.array(
        [[sum(chosen[x] == e for x in marked if x[0] == f"p{p:02d}") for e in range(4)] for p in range(12)], float
    )

    def ends(found: ExpertScores) -> tuple[list[float], list[float]]:
        frame = found.frame.sort_values("expert")
        return frame["low"].tolist(), frame["high"].tolist()

    low, high = student_ends(np.array([d @ a / (3 * 12) for d in draws]), 12)
    found = ends(usage(store, n_bootstrap=n, seed=seed))
    np.testing.assert_allclose(found, (low, high), atol=2e-6)
    war = np.arange(12) % 2 == 1
    rows = [[(d * side) @ a / 3 / (d * side).sum() for side in (war, ~war)] for d in draws]
    low, high = student_ends(np.array([one - other for one, other in rows]), 12)
    found = ends(ftri(store, "war", "peace", n_bootstrap=n, n_permutations=0, seed=seed))
    np.testing.assert_allclose(found, (low, high), atol=2e-6)

    def score(d: np.ndarray) -> list[float]:
        met, used = d @ k, d @ a
        return [
            log2((x / 12) / (u / 36)) / -log2(x / 36) if x else -1.0 if u else float("nan")
            for x, u in zip(met, used, strict=True)
        ]

    low, high = student_ends(np.array([score(d) for d in draws]), 12)
    found = ends(npmi(store, token="m", n_bootstrap=n, n_permutations=0, seed=seed))
    np.testing.assert_allclose(found, (low, high), atol=2e-6)
