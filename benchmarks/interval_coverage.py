"""How often the 95 % intervals of sftlens hold the truth, beside two bootstraps that are in common use.

  python benchmarks/interval_coverage.py [REPEATS]         (default: 2000; two minutes)

Simulated studies: 1,000 questions in five buckets; a seed moves all accuracies together (SD 1.5 points); a question
is known or not (right 95 or 5 times in 100), and in one of ten questions the two conditions of a contrast disagree
about that. `accuracy` is one condition over S seeds, `contrast` the difference of two with the same seeds. Every study
draws new questions and new seeds, and `truth` is the mean over all questions and all seeds; `these seeds` is the mean
over all questions for the very models that were trained.

  crossed       sftlens: t interval, questions crossed with seeds; fewer than three seeds: questions only
  t always      the same with the seeds' variance also at two seeds
  nested        bootstrap that draws seeds, then questions anew for each drawn seed (percentiles of 500)
  questions     bootstrap of the questions alone, over the mean of the seeds (percentiles of 500)
"""

import math
import sys
from collections import defaultdict

import numpy as np

from sftlens.statistics import crossed
from sftlens.statistics.intervals import satterthwaite

SEED = 20250916
PER_BUCKET = 200
SEED_SD = 0.015
KNOWN = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
RIGHT = np.array([0.05, 0.95])
CHANGED = 0.1
DRAWS = 500
BUCKETS = np.repeat(np.arange(5), PER_BUCKET)
TRUTH = {
    "accuracy": float(np.mean(RIGHT[0] + (RIGHT[1] - RIGHT[0]) * (KNOWN * (1 - CHANGED) + (1 - KNOWN) * CHANGED))),
    "contrast": float(np.mean((RIGHT[1] - RIGHT[0]) * CHANGED * (1 - 2 * KNOWN))),
}


def study(rng: np.random.Generator, seeds: int, kind: str) -> tuple[np.ndarray, float]:
    """Return simulated answers (or differences) [seeds, questions], and the truth for these seeds."""
    # Cut at three SD, so that no probability leaves [0, 1] and the truth is exact.
    shift = np.clip(rng.normal(0, SEED_SD, seeds), -3 * SEED_SD, 3 * SEED_SD)
    before = (rng.random(len(BUCKETS)) < KNOWN[BUCKETS]).astype(int)
    after = before ^ (rng.random(len(BUCKETS)) < CHANGED)
    y = (rng.random((seeds, len(BUCKETS))) < RIGHT[after] + shift[:, None]).astype(float)
    if kind == "contrast":
        y -= rng.random((seeds, len(BUCKETS))) < RIGHT[before]
    return y, TRUTH[kind] + float(shift.mean())


def nested(rng: np.random.Generator, y: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval that resamples seeds, then questions within each bucket for each drawn seed."""
    shares = _shares(y)
    drawn = shares[rng.integers(len(y), size=(DRAWS, len(y)))]
    return _percentiles(rng.multinomial(PER_BUCKET, drawn) @ np.unique(y))


def questions(rng: np.random.Generator, y: np.ndarray) -> tuple[float, float]:
    """Return the percentile interval that resamples questions within each bucket."""
    mean = y.sum(axis=0, keepdims=True)
    drawn = rng.multinomial(PER_BUCKET, _shares(mean), size=(DRAWS, 1, 5))
    return _percentiles(drawn @ np.unique(mean) / len(y))


def _shares(y: np.ndarray) -> np.ndarray:
    """Return the share of each distinct value [seeds, bucket, value]: to resample n of n draws from it."""
    return (y.reshape(len(y), 5, PER_BUCKET, 1) == np.unique(y)).mean(axis=2)


def _percentiles(sums: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(sums.mean(axis=(1, 2)) / PER_BUCKET, [2.5, 97.5])
    return float(low), float(high)


def always(y: np.ndarray, found: crossed.Estimate) -> tuple[float, float]:
    """Return the interval with the seeds' part at any number of seeds."""
    if found.scope == crossed.OVER_SEEDS:
        return found.low, found.high
    per_seed = y.reshape(len(y), 5, PER_BUCKET).mean(axis=(1, 2))
    part = (float(per_seed.var(ddof=1)) / len(y), len(y) - 1)
    whole = satterthwaite(found.value, [(found.se**2, found.df), part])
    return whole.low, whole.high


def coverage(kind: str, seeds: int, repeats: int) -> dict[str, tuple[float, float, float]]:
    """Return, per method, the share of intervals that hold the truth, that of these seeds, and the mean width."""
    rng = np.random.default_rng([SEED, seeds])
    rows = defaultdict(list)
    for _ in range(repeats):
        y, here = study(rng, seeds, kind)
        found = crossed.accuracy(y, BUCKETS)
        bounds = {"crossed": (found.low, found.high), "t always": always(y, found)}
        bounds |= {"nested": nested(rng, y), "questions": questions(rng, y)}
        for name, (low, high) in bounds.items():
            rows[name].append((low <= TRUTH[kind] <= high, low <= here <= high, high - low))
    return {name: tuple(np.mean(values, axis=0).tolist()) for name, values in rows.items()}


def main() -> None:
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    error = math.sqrt(0.95 * 0.05 / repeats)
    print(f"{repeats} studies a line; standard error of a coverage of 95 %: {100 * error:.2f} points")
    print(f"{'':<10}{'seeds':>5}  {'method':<10}{'truth':>8}{'these seeds':>13}{'width':>8}")
    for kind in TRUTH:
        for seeds in (2, 3, 5):
            for name, (hit, here, width) in coverage(kind, seeds, repeats).items():
                print(f"{kind:<10}{seeds:>5}  {name:<10}{hit:>7.1%}{here:>12.1%}{100 * width:>9.2f}")


if __name__ == "__main__":
    main()
