"""The paper's own numbers as evidence: read off its tables and figures (`numbers/`), with SE = SD / sqrt(S).

The paper gives five repeats in one place and three in another, so its numbers are judged for both. Tables of single
runs have no error: they show an effect and allow no verdict.
"""

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pandas as pd

from sftlens.paper.evidence import Evidence, Missing, Part, Term
from sftlens.statistics.intervals import satterthwaite

NUMBERS = Path(__file__).with_name("numbers")
REPEATS = (3, 5)
NO_BAND = "Fig6b"
"""Its printed band repeats that of Figure 2b."""
_SETS = {"ID": "test", "OOD": "testood"}
_SHORT = {split: name for name, split in _SETS.items()}


@cache
def read(name: str) -> pd.DataFrame:
    """Return one file of the printed numbers, as it is (`numbers/README.md` says what its columns are)."""
    return pd.read_csv(NUMBERS / f"{name}.csv")


@cache
def curves() -> pd.DataFrame:
    """Return Figures 2 and 6, a row a point: model, split, train_set, scale, value, sd (%; NaN where none counts)."""
    rows = read("figures")
    rows = rows[rows["figure"].str.match(r"Fig[26]")]
    panels = rows["panel"].str.rsplit(n=1, expand=True)
    sd = rows["half_band"].mask((rows["figure"] == NO_BAND) | (rows["n_train"] == "All"))
    return pd.DataFrame({
        "model": panels[0], "split": panels[1].map(_SETS), "train_set": rows["train_bucket"],
        "scale": rows["n_train"].replace("All", "all"), "value": rows["mean"], "sd": sd,
    })  # fmt: skip


@cache
def point_curves(figure: str) -> pd.DataFrame:
    """Return Figure 4 or 5 (`Fig4`, `Fig5`; LLaMA-3-8B), a row a point: train_set, scale, value, sd (%, or nats)."""
    rows = read("figures")
    rows = rows[rows["figure"] == figure]
    scale = rows["n_train"].replace("All", "all")
    return pd.DataFrame({"train_set": rows["train_bucket"], "scale": scale, "value": rows["mean"],
                         "sd": rows["half_band"]}).reset_index(drop=True)  # fmt: skip


class Printed(Evidence):
    """One model of the paper as evidence, for an assumed number of repeats."""

    def __init__(self, model: str, repeats: int) -> None:
        """Take a model by its name in the paper, such as LLaMA-3-8B."""
        self.model, self.repeats = model, repeats

    def scales(self) -> list[int]:
        """Return the paper's numbered n; every bucket has them."""
        return [60, 120, 240, 480, 960, 1920]

    def combine(self, terms: Sequence[Term], split: str) -> Part:
        """Return a combination; the error is known where every term is a mean over seeds (Figures 2 and 6).

        Terms of one bucket enter as independent: the paper prints no covariances.
        """
        one_run = split == "train" or any(term.ratio is not None for term in terms)
        found = [self._one_run(term, split) if one_run else self._mean(term, split) for term in terms]
        value = math.fsum(term.weight * mean for term, (mean, _) in zip(terms, found, strict=True))
        if any(math.isnan(sd) for _, sd in found):
            return Part(value, math.nan, math.nan, 0)
        free = self.repeats - 1
        parts = [((term.weight * sd) ** 2 / self.repeats, free) for term, (_, sd) in zip(terms, found, strict=True)]
        interval = satterthwaite(value, parts)
        return Part(value, interval.se, interval.df, self.repeats)

    def concentration(self, n: int, top: float, train_sets: Sequence[str], *, null: bool) -> Part:
        """Return Table 3's share; the paper has no permuted one."""
        self._only_8b("Table 3")
        if null:
            raise Missing("the paper has no permuted null")
        table = read("table3").set_index(["n_train", "train"])
        value = sum(float(table.loc[(n, name), f"{top:g}%"]) for name in train_sets) / len(train_sets)
        return Part(value, math.nan, math.nan, 0)

    def divergence(self) -> tuple[pd.DataFrame, int]:
        """Return Figures 4 and 5 at the numbered n; the same facts in both, as the paper does not part them."""
        self._only_8b("Figures 4 and 5")
        kl, accuracy = point_curves("Fig5"), point_curves("Fig4")
        cells = kl.rename(columns={"value": "kl"}).merge(
            accuracy.rename(columns={"value": "accuracy"}), on=["train_set", "scale"]
        )
        cells = cells[cells["scale"] != "all"]
        return cells.assign(n=cells["scale"].astype(int))[["train_set", "n", "kl", "accuracy"]], self.repeats

    def blocks(self) -> list[str]:
        """Return Table 11's blocks."""
        self._only_8b("Table 11")
        return [f"layers{name}" for name in read("table11").columns[1:]]

    def strategies(self, split: str) -> Part:
        """Return Table 7's restoration minus the best other strategy; the table names no model and is one run."""
        self._only_8b("Table 7")
        row = read("table7").set_index("metric").loc[f"Acc_{split}"]
        others = row.drop("ParamRestoration")
        value = float(row["ParamRestoration"] - others.max())
        return Part(value, math.nan, math.nan, 0, label=f"against {others.idxmax()}")

    def tasks(self) -> list[Part]:
        """Return Table 5's largest gain on GSM8K, best on test: no dev split chose its k."""
        self._only_8b("Table 5")
        accuracy = read("table5").set_index("restore")["GSM8K_acc"]
        value = float(accuracy.max() - accuracy["0"])
        return [Part(value, math.nan, math.nan, 0, label=f"GSM8K, {accuracy.idxmax()}, best on test")]

    def _mean(self, term: Term, split: str) -> tuple[float, float]:
        """Return mean and SD (NaN where the printed band does not count), in percent (Figures 2 and 6)."""
        rows = curves()
        at = (rows["model"] == self.model) & (rows["split"] == split) & (rows["scale"] == str(term.n))
        row = rows[at & (rows["train_set"] == term.train_set)].iloc[0]
        return float(row["value"]), float(row["sd"])

    def _one_run(self, term: Term, split: str) -> tuple[float, float]:
        """Return an accuracy of Tables 4, 6 or 11, in percent, and NaN."""
        self._only_8b("restored accuracies")
        if term.region.startswith("layers"):
            value = read("table11").set_index("train").loc[term.train_set, term.region.removeprefix("layers")]
            return float(value), math.nan
        if term.criterion != "relative":
            raise Missing(f"the paper does not restore by {term.criterion}")
        table, column = read("table4"), f"{_SHORT.get(split)}_{term.train_set}"
        if split == "train":
            table, column = read("table6"), term.train_set
        k = "0" if term.ratio is None else f"{term.ratio:g}%"
        return float(table[(table["n_train"] == term.n) & (table["restore"] == k)][column].iloc[0]), math.nan

    def _only_8b(self, what: str) -> None:
        if self.model != "LLaMA-3-8B":
            raise Missing(f"the paper prints {what} for LLaMA-3-8B alone")
