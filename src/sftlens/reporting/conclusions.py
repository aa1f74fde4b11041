"""What one may conclude from a study, in sentences: written from its tables, each number with its 95 % interval.

They stand at the head of the report, and each links to the figure or table that it is read from.
"""

from collections.abc import Container, Iterator, Mapping
from typing import NamedTuple

import pandas as pd

from sftlens.data.buckets import BUCKETS
from sftlens.paper.primaries import EQUIVALENT
from sftlens.reporting.frames import BASE, RATIO, SPLITS, TESTS
from sftlens.reporting.html import minus
from sftlens.statistics.crossed import MIN_SEEDS, THIS_MODEL
from sftlens.strategies import DEFAULT

DIFFERENCE = "Difference (points)"
CONTROLS = {"random", "absolute", "smallest", "bottom", "interpolation"}
"""Criteria and methods without which a study cannot say that `relative` finds the right parameters."""


class Sentence(NamedTuple):
    """One conclusion."""

    text: str
    target: str
    """The figure or table that it is read from; empty for a limit of the study, or where the page has none.

    While sentences are made: several, of which the first that the page has is meant, with spaces between them."""


def conclusions(results: pd.DataFrame, numbers: Mapping[str, pd.DataFrame]) -> list[Sentence]:
    """Return the sentences of a study, model by model: cost, format or knowledge, remedy, concentration; then limits.

    `results` is the tidy table, `numbers` target -> frame; a sentence whose frame is missing or empty is left out.
    """
    there = {name: table for name, table in numbers.items() if len(table)}
    contrasts = there.get("contrasts", pd.DataFrame({"Model": []}))
    found: list[Sentence] = []
    models = list(dict.fromkeys(contrasts["Model"]))
    for model in models:
        named = f"{model}: " if len(models) > 1 else ""
        own = contrasts[contrasts["Model"] == model].dropna(subset=[DIFFERENCE])
        parts = [*_cost(own, results[results["model"] == model]), *_remedy(own)]
        if (table := there.get("table3")) is not None:
            parts += _concentration(table[table["Model"] == model])
        found += [Sentence(named + part.text, part.target) for part in parts]
    if (table := there.get("claims")) is not None:
        found += _claims(table)
    if models:
        found += _limits(contrasts, there, results)
    shown = [next((name for name in part.target.split() if name in there), "") for part in found]
    return [Sentence(minus(part.text), target) for part, target in zip(found, shown, strict=True)]


def _cost(own: pd.DataFrame, results: pd.DataFrame) -> Iterator[Sentence]:
    rows = own[own["Against"] == BASE]
    if rows.empty:
        return
    worst, best = rows.loc[rows[DIFFERENCE].idxmin()], rows.loc[rows[DIFFERENCE].idxmax()]
    if worst[DIFFERENCE] >= 0:
        text = f"No training set lowered accuracy; the smallest change against the base model is {_size(worst)} on "
        yield Sentence(f"{text}{_place(worst)}.", "cost fig2 contrasts")
    else:
        sure = "" if worst["High"] < 0 else " (the interval includes no change)"
        text = f"Fine-tuning cost most on {_place(worst)}: {_size(worst)} against the base model{sure}. "
        gain = f"It gained most on {_place(best)}: {_size(best)}." if best[DIFFERENCE] > 0 else "It gained nowhere."
        yield Sentence(text + gain, "cost fig2 contrasts")
        yield from _format(worst, results)


def _format(worst: pd.Series, results: pd.DataFrame) -> Iterator[Sentence]:
    """Yield what the model that lost most still knows when the completion templates ask it."""
    rows = results[(results["stage"] == "evaluate") & (results["relation"] == "")]
    rows = rows[(rows["train_set"] == worst["Trained on"]) & (rows["scale"] == worst["n"])]
    split = {"ID test": "test", "OOD test": "testood"}[worst["Test set"]]

    def of(metric: str, where: str) -> pd.DataFrame:
        at = rows[(rows["metric"] == metric) & (rows["split"] == where)]
        return at[at["bucket"] == ("macro" if "macro" in set(at["bucket"]) else "all")]

    well, again, before = of("well_formed", split), of("reprobed_mastery", "test"), of("base_mastery", "test")
    if well.empty or again.empty or before.empty:
        return
    known = float(before["value"].mean())
    low, high = float(again["low"].min()), float(again["high"].max())
    verdict = (
        "so knowledge was lost, and not the format alone" if high < known
        else "so the knowledge is still there, and the answers fail by their format" if low > known - 0.02
        else "which does not tell whether knowledge or only the format was lost"
    )  # fmt: skip
    yield Sentence(
        f"There {100 * well['value'].mean():.0f} % of the answers are well-formed, and ID mastery probed again is "
        f"{again['value'].mean():.2f} ({low:.2f} to {high:.2f}) where the base has {known:.2f}, {verdict}.",
        "format judgements",
    )


def _remedy(own: pd.DataFrame) -> Iterator[Sentence]:
    rows = own[own["Against"] == "k = 0"]
    if rows.empty:
        return
    sure = rows[rows["Low"] > 0]
    best = (rows if sure.empty else sure).loc[lambda table: table[DIFFERENCE].idxmax()]
    if sure.empty:
        yield Sentence(
            f"Restoring helped nowhere for sure: the largest gain is {_size(best)} on {_place(best)}.",
            "gains table4 contrasts",
        )
        return
    same = rows[(rows["Criterion"] == best["Criterion"]) & (rows["Region"] == best["Region"])]
    same = same[same[RATIO] == best[RATIO]]
    worst = same.loc[same[DIFFERENCE].idxmin()]
    price = (
        f"the same setting costs {_place(worst)} {_size(worst)}" if worst["High"] < 0
        else "no training set loses by the same setting beyond its interval"
    )  # fmt: skip
    yield Sentence(
        f"{_restoring(best)} gave most back on {_place(best)}: "
        f"{_size(best)}; {price}. With their intervals {len(sure)} of {len(rows)} differences are above zero: the "
        "best of many flatters itself.",
        "gains restoration contrasts",
    )


def _concentration(table: pd.DataFrame) -> Iterator[Sentence]:
    name = next((column for column in table if column.startswith("Top ") and not column.endswith("SD")), "")
    rows = table[table["Sum of"] == "r"]
    trained, null = (
        rows[rows["Changes"] == kind][name].mean() if name else None for kind in ("as trained", "permuted")
    )
    if trained is None or null is None or pd.isna(trained) or pd.isna(null):
        return
    equal = abs(trained - null) < EQUIVALENT
    verdict = (
        "the concentration is arithmetic (dividing by small |p|) and no sign of learning" if equal
        else "the change is more concentrated than chance makes it" if trained > null
        else "the change is less concentrated than chance makes it"
    )  # fmt: skip
    digits = 2 if min(trained, null) > 99 else 1  # else 99.94 and 99.95 look as if they differed
    yield Sentence(
        f"The {name.lower()} of the parameters hold {trained:.{digits}f} % of the relative change, and "
        f"{null:.{digits}f} % when the "
        f"changes are permuted: {verdict}.",
        "concentration table3",
    )


def _claims(table: pd.DataFrame) -> Iterator[Sentence]:
    column = next(name for name in table if name.startswith("Verdict"))
    counts = table[column].value_counts()
    order = ("reproduced", "not reproduced", "undecided", "not testable")
    listed = ", ".join(f"{counts[name]} {name}" for name in order if name in counts)
    where = " in this world" if column.endswith("world") else ""
    yield Sentence(f"Of the {len(table)} tests of the paper's claims: {listed}{where}.", "claims")


def _limits(contrasts: pd.DataFrame, there: Container[str], results: pd.DataFrame) -> Iterator[Sentence]:
    said = list(_without_mean(results))
    if (contrasts["Scope"] == THIS_MODEL).all():
        said.append(f"its intervals speak of these trained models alone, as no contrast has {MIN_SEEDS} seeds")
    if "table4" in there and not CONTROLS & set(contrasts["Criterion"]):
        said.append("it restores by one criterion without a control, so it cannot tell which parameters matter")
    if contrasts["Model"].nunique() == 1:
        said.append("it has one model")
    if said:
        yield Sentence(f"What this study cannot say: {'; '.join(said)}.", "")


def _without_mean(results: pd.DataFrame) -> Iterator[str]:
    """Yield the test sets that have no macro accuracy, each with its empty buckets."""
    asked = results[(results["stage"] == "evaluate") & (results["metric"] == "contains")]
    for (model, split), rows in asked.groupby(["model", "split"], sort=False):
        there = set(rows["bucket"])
        if split in TESTS and there & set(BUCKETS) and "macro" not in there:
            whose = f" of {model}" if results["model"].nunique() > 1 else ""
            empty = ", ".join(name for name in BUCKETS if name not in there)
            yield f"it has no mean over the buckets on {SPLITS[split]}{whose}, as no question of it is in {empty}"


def _restoring(row: pd.Series) -> str:
    if row["Criterion"] == "interpolation":
        return f"Moving all parameters towards the base (interpolation, as far as k = {row[RATIO]})"
    return f"Restoring {row[RATIO]} % of the parameters ({row['Criterion']})"


def _place(row: pd.Series) -> str:
    how = "" if row["Strategy"] in (DEFAULT, "") else f" ({row['Strategy']})"
    return f"{row['Trained on']}{how}, n = {row['n']}, {row['Test set']}"


def _size(row: pd.Series) -> str:
    return f"{row[DIFFERENCE]:+.1f} points ({row['Low']:.1f} to {row['High']:.1f})"
