"""One model of a study as evidence: its answers question by question, and the numbers of its tidy table."""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from sftlens import files
from sftlens.dag.cells import Cell, Product
from sftlens.dag.contrasts import Condition
from sftlens.data.buckets import BUCKETS
from sftlens.paper import strategies as table7
from sftlens.paper.evidence import Evidence, Missing, Part, Term, over_seeds
from sftlens.results import choosing
from sftlens.results.answers import Answers
from sftlens.results.unfinished import made
from sftlens.statistics import crossed
from sftlens.strategies import DEFAULT
from sftlens.tasks import DEV, TASKS

_RANKED = ("relative", "transformer")
"""Criterion and region of the paper's restorations."""


class Measured(Evidence):
    """One model of a study."""

    def __init__(self, model: str, answers: Answers) -> None:
        """Take a study's answers with its tidy table; either may be incomplete: what is missing blocks a verdict."""
        self.model, self._answers, self._paths = model, answers, answers.paths
        rows = answers.results
        self._rows = rows[(rows["model"] == model) & (rows["strategy"] == DEFAULT)]

    def scales(self) -> list[int]:
        asked: dict[int, set[str]] = {}
        for one in self._answers.grid:
            plain = one.model == self.model and one.strategy == DEFAULT and one.ratio is None
            if plain and one.trained and one.scale.isdigit() and self._filled(one):
                asked.setdefault(int(one.scale), set()).add(one.train_set)
        return sorted(n for n, sets in asked.items() if sets >= set(BUCKETS))

    def combine(self, terms: Sequence[Term], split: str) -> Part:
        """Return a combination (points): question by question, or for split `train` over seeds alone.

        A training set has questions of its own for each seed: they are nested, so their seeds carry all of the error.
        """
        sets: dict[str, list[tuple[float, dict[int, np.ndarray]]]] = {}
        for term in terms:
            sets.setdefault(term.train_set, []).append((term.weight, self._accuracies(term, split)))
        sides: dict[str, np.ndarray] = {}
        for name, found in sets.items():
            seeds = sorted(set.intersection(*(set(values) for _, values in found)))
            if not seeds:
                raise Missing(f"{name}: no seed has all of the accuracies")
            weighted = [weight * np.stack([values[seed] for seed in seeds]) for weight, values in found]
            sides[name] = np.sum(weighted, axis=0)
        if split == "train":
            # `over_seeds` takes the mean over the sets; the weights make a sum of it.
            return over_seeds({name: len(sides) * values for name, values in sides.items()})
        macro = crossed.combination(list(sides.values()), self._answers.questions(self.model, split).buckets)
        if math.isnan(macro.value):
            raise Missing(f"a test bucket of {split} is empty")
        return Part(macro.value, macro.se, macro.df, macro.seeds)

    def concentration(self, n: int, top: float, train_sets: Sequence[str], *, null: bool) -> Part:
        rows = self._rows[(self._rows["stage"] == "changes") & (self._rows["scale"] == str(n))]
        rows = rows[(rows["ratio"] == top) & (rows["criterion"] == "relative") & (rows["region"] == "transformer")]
        found = {}
        for name in train_sets:
            table = rows[rows["train_set"] == name].pivot_table("value", "seed", "metric")
            if not {"share_of_change", *(["null_share_of_change"] if null else [])} <= set(table):
                raise Missing(f"experiments.concentration: no share of the change for {name}, n = {n}, top {top:g} %")
            values = table["share_of_change"] - (table["null_share_of_change"] if null else 0)
            found[name] = 100 * values.to_numpy(dtype=np.float64)
        return over_seeds(found)

    def divergence(self) -> tuple[pd.DataFrame, int]:
        """Return KL on one half of the D4 facts and accuracy on the other, a row a cell of numbered n."""
        questions, rows, fewest = self._answers.questions(self.model, "test"), [], math.inf
        half = np.array([first_half(fact) for fact in questions.fact_ids])
        asked = (questions.buckets == BUCKETS.index("D4")) & ~half
        for name in BUCKETS:
            for n in self.scales():
                answers = self._accuracies(Term(1, name, n), "test")
                kl = [self._kl(name, n, seed) for seed in answers]
                accuracy = float(np.mean([values[asked].mean() for values in answers.values()]))
                rows.append({"train_set": name, "n": n, "kl": float(np.mean(kl)), "accuracy": accuracy})
                fewest = min(fewest, len(answers))
        if not rows:
            raise Missing("no n is filled by every bucket")
        return pd.DataFrame(rows), int(fewest)

    def strategies(self, split: str) -> Part:
        """Return restoration minus the best other strategy (points), each chosen on dev; paired on shared seeds."""
        found = table7.chosen(self._answers, self.model)
        if len(found) < len(table7.STRATEGIES):
            raise Missing("no cell was chosen on the dev split for every strategy")
        restored, _ = found.pop(table7.RESTORATION)
        name, (other, _) = max(found.items(), key=lambda item: item[1][1])
        a, b = (self._answers.contains(one, split) for one in (restored, other))
        seeds = [seed for seed in a if seed in b]
        if not other.trained:
            sides = [np.stack([100.0 * (y - 1.0 * b[0]) for y in a.values()])]
        elif other == replace(restored, criterion="", region="", ratio=None):
            sides = [np.stack([100.0 * (a[seed] - 1.0 * b[seed]) for seed in seeds])]
        else:
            sides = [100.0 * np.stack(list(a.values())), -100.0 * np.stack(list(b.values()))]
        macro = crossed.combination(sides, self._answers.questions(self.model, split).buckets)
        if math.isnan(macro.value):
            raise Missing(f"a test bucket of {split} is empty")
        return Part(macro.value, macro.se, macro.df, macro.seeds, label=f"against {name}")

    def tasks(self) -> list[Part]:
        """Return the gain (points) of each task's score by `relative` at the k with the best score on dev examples.

        Of a task the largest n that is restored counts; its score is that of `repair`, its last judgement.
        """
        found: dict[str, list[Condition]] = {}
        for one in self._answers.grid:
            by_paper = (one.model, one.strategy, one.criterion, one.region) == (self.model, DEFAULT, *_RANKED)
            published = one.train_set in self._paths.study.tasks and TASKS.get(one.train_set).published
            if by_paper and published and one.scale.isdigit():
                found.setdefault(one.train_set, []).append(one)
        return [self._task(name, restored) for name, restored in found.items()] or super().tasks()

    def blocks(self) -> list[str]:
        """Return the regions of the blocks of layers that the grid restores, in their order."""
        asked = self._paths.study.experiments.blocks
        if asked is None or self.model not in (asked.models or list(self._paths.study.models)):
            raise Missing("experiments.blocks is not part of the study")
        layers = self._paths.study.models[self.model].shape.layers
        return [f"layers{a}-{min(a + asked.size, layers) - 1}" for a in range(0, layers, asked.size)]

    def _task(self, name: str, restored: Sequence[Condition]) -> Part:
        """Return the gain of one task, of the cells that restore models fine-tuned on it."""
        last = max(int(one.scale) for one in restored)
        restored = [one for one in restored if int(one.scale) == last]
        plain, metric = replace(restored[0], criterion="", region="", ratio=None), TASKS.get(name).score
        if not self._paths.study.tasks[name].dev:
            raise Missing(f"key 'tasks.{name}.dev' is unset: k is chosen on its examples")
        for one in (plain, *restored):
            if lost := sorted(set(self._answers.grid.get(one, {})) - set(self._answers.conditions.get(one, {}))):
                what = f"{name}, n = {last}" + (f", {one.ratio:g} %" if one.ratio else "")
                raise Missing(f"failed or unfinished: {what}, seed {lost[0]}")
        best = choosing.best(restored, choosing.scores(self._answers.results, f"{name}{DEV}", metric))
        if best is None:
            raise Missing(f"no score on the dev examples of {name}")
        after, before = (self._answers.scores(one, name, metric) for one in (best, plain))
        seeds = [seed for seed in after if seed in before]
        if not seeds:
            raise Missing(f"{name}, n = {last}: no seed is measured before and after restoring")
        gains = crossed.mean([100 * (after[seed] - before[seed]) for seed in seeds])
        return Part(gains.value, gains.se, gains.df, gains.seeds, label=f"{name}, n = {last}, k = {best.ratio:g} %")

    def _accuracies(self, term: Term, split: str) -> dict[int, np.ndarray]:
        """Return percent by seed: [questions] of a test split, [1] for `train`. Raises Missing for a cell not there."""
        restored = ("", "", None) if term.ratio is None else (term.criterion, term.region, float(term.ratio))
        wanted = Condition(self.model, term.train_set, str(term.n), DEFAULT, *restored)
        where = f"{term.train_set}, n = {term.n}" + (f", {term.criterion} {term.ratio:g} %" if term.ratio else "")
        asked, there = self._answers.grid.get(wanted, {}), self._answers.conditions.get(wanted, {})
        if not asked:
            raise Missing(f"not in the grid: {where}")
        if lost := sorted(set(asked) - set(there)):
            raise Missing(f"failed or unfinished: {where}, seed {lost[0]}")
        if split != "train":
            return {seed: 100.0 * y for seed, y in self._answers.contains(wanted, split).items()}
        stage = "evaluate" if term.ratio is None else "restore"
        rows = self._rows[(self._rows["stage"] == stage) & (self._rows["split"] == "train")]
        rows = rows[(rows["metric"] == "contains") & (rows["bucket"] == "all") & (rows["relation"] == "")]
        rows = rows[(rows["train_set"] == term.train_set) & (rows["scale"] == str(term.n))]
        if term.ratio is not None:
            at = (rows["criterion"] == term.criterion) & (rows["region"] == term.region)
            rows = rows[at & (rows["ratio"] == term.ratio)]
        values = dict(zip(rows["seed"], rows["value"], strict=True))
        if not set(asked) <= set(values):
            raise Missing(f"no accuracy on the training set: {where}")
        return {seed: np.array([100.0 * values[seed]]) for seed in asked}

    def _kl(self, train_set: str, n: int, seed: int) -> float:
        product = Product("divergence", Cell(self.model, train_set, str(n), seed))
        path = Path(self._paths.summary(product)).with_name("kl.parquet")
        if self._paths.study.experiments.divergence is None:
            raise Missing("experiments.divergence is not part of the study")
        if not made(self._paths, product) or not path.is_file():
            raise Missing(f"no KL of {train_set}, n = {n}, seed {seed}")
        table = files.read_parquet(path, ["fact_id", "kl"])
        return float(table["kl"][[first_half(fact) for fact in table["fact_id"]]].mean())

    def _filled(self, one: Condition) -> bool:
        rows = self._rows[(self._rows["stage"] == "finetune") & (self._rows["metric"] == "examples")]
        rows = rows[(rows["train_set"] == one.train_set) & (rows["scale"] == one.scale)]
        return bool((rows["value"] == int(one.scale)).all())


def first_half(fact_id: str) -> bool:
    """Whether a fact lies in the half on which KL is measured; the other half is asked for the accuracy (claim C4)."""
    return hashlib.sha256(str(fact_id).encode()).digest()[0] % 2 == 0
