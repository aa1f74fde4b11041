"""What fine-tuning cost, whether knowledge or format was lost, and by which relation (beyond the paper's pictures)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sftlens.dag.cells import BASE
from sftlens.dag.contrasts import Condition
from sftlens.dag.targets import ANSWERS, TARGETS, Chart, Layout, Target
from sftlens.data.relations import RELATIONS
from sftlens.reporting import curves, frames, maps, style
from sftlens.reporting.themes.intervals import DIFFERENCE, differences
from sftlens.statistics.intervals import satterthwaite
from sftlens.strategies import DEFAULT

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from sftlens.config.study import Study
    from sftlens.results.answers import Answers

SHARE, MEASURE, RELATION, BEFORE = "Share (%)", "Measure", "Relation", "Base model (%)"
MEASURES = {
    "accuracy": ("contains", "macro"),
    "well-formed answers": ("well_formed", "macro"),
    "mastery, probed again": ("reprobed_mastery", "all"),
}
"""What falls where the format is lost (the second), and where knowledge is (the third) -> metric, bucket."""


def cost(answers: Answers) -> pd.DataFrame:
    """Return each fully fine-tuned model's accuracy minus its base's, in points, with its paired 95 % interval."""
    table = differences(answers, frames.BASE)
    names = ["Model", "Test set", "Trained on", "n", DIFFERENCE, "Low", "High", "Seeds", "Facts", "Scope"]
    table = frames.with_value(table.loc[table["Strategy"] == DEFAULT, names], DIFFERENCE)
    return frames.in_order(table, ["Model", "Test set", "Trained on", "n"], table)


def draw_cost(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return it against n: panels are models by test sets; a marker is hollow where the interval includes zero."""
    shown, tests = (list(dict.fromkeys(numbers[name])) for name in ("Model", "Test set"))
    sets, scales = list(dict.fromkeys(numbers["Trained on"])), frames.scales(numbers["n"])
    legend = [style.key(name) for name in sets]
    foot = "Bars: 95 % intervals, paired on questions. Hollow: the interval includes zero."
    figure, grid = style.page(
        len(shown), len(tests) or 1, (3.3, 2.9), legend=[legend] if legend else [],
        foot=[f"{foot} {frames.gaps(numbers, DIFFERENCE)}", notice], sharex=True,
    )  # fmt: skip
    for row, model in zip(grid, shown, strict=False):
        for axes, test in zip(row, tests, strict=True):
            own = numbers[(numbers["Model"] == model) & (numbers["Test set"] == test)]
            axes.axhline(0, color=style.GREY, lw=1.2, ls=(0, (5, 3)))
            for place, (name, line) in enumerate(own.groupby("Trained on", sort=False)):
                colour, marker = style.look(str(name))
                x = [scales.index(n) + 0.13 * (place - (len(sets) - 1) / 2) for n in line["n"]]
                ends = [line[DIFFERENCE] - line["Low"], line["High"] - line[DIFFERENCE]]
                axes.errorbar(x, line[DIFFERENCE], ends, color=colour, ls="", elinewidth=1.1, capsize=2)
                sure = (line["Low"] > 0) | (line["High"] < 0)
                for one, value, filled in zip(x, line[DIFFERENCE], sure, strict=True):
                    face = {"color": colour, "markerfacecolor": colour if filled else "white"}
                    axes.plot([one], [value], marker, markersize=5, markeredgewidth=1.1, **face)
            axes.set_title(f"{model}, {test}", loc="left")
            axes.set_xticks(range(len(scales)), ["All" if n == "all" else n for n in scales])
            axes.set(xlabel="Training examples (n)", ylabel="Accuracy minus\nbase model (points)")
            axes.label_outer()
    return figure


def knowledge_or_format(results: pd.DataFrame) -> pd.DataFrame:
    """Return MEASURES against n, one row per model, measure, training set and n."""
    import pandas as pd

    parts = {
        name: curves.against_n(results, "evaluate", metric, bucket, ["test"], SHARE)
        for name, (metric, bucket) in MEASURES.items()
    }
    table = pd.concat([part.assign(**{MEASURE: name}) for name, part in parts.items()], ignore_index=True)
    table.insert(1, MEASURE, table.pop(MEASURE))
    return table.drop(columns="Test set")


def relations(answers: Answers) -> pd.DataFrame:
    """Return, for each relation, accuracy at the largest numbered n minus the base's, in points, over all buckets.

    The interval is paired on the relation's questions (t, Satterthwaite): their variance, and from three seeds on that
    of the seeds' means.
    """
    import numpy as np
    import pandas as pd

    from sftlens.statistics.crossed import MIN_SEEDS

    rows = []
    largest: dict[str, int] = {}
    plain = [one for one in answers.conditions if one.ratio is None and one.strategy == DEFAULT and one.scale.isdigit()]
    for one in plain:
        largest[one.model] = max(int(one.scale), largest.get(one.model, 0))
    for one in [one for one in plain if int(one.scale) == largest[one.model]]:
        for split in frames.TESTS:
            bases = answers.contains(Condition(one.model, BASE, "0", BASE), split)
            if not bases:
                continue
            [before] = np.stack(list(bases.values())).astype(np.float64)
            y = np.stack(list(answers.contains(one, split).values())).astype(np.float64)
            asked = answers.questions(one.model, split).relations
            for relation in dict.fromkeys(asked):
                own = 100 * (y - before)[:, asked == relation]
                d, seeds = own.mean(axis=0), own.mean(axis=1)
                many = len(d) > 1
                parts = [(float(d.var(ddof=1)) / len(d), len(d) - 1) if many else (float("nan"), 0)]
                parts += [(float(seeds.var(ddof=1)) / len(seeds), len(seeds) - 1)] if len(seeds) >= MIN_SEEDS else []
                found = satterthwaite(float(d.mean()), parts)
                rows.append({
                    "Model": one.model, "Test set": frames.SPLITS[split], RELATION: relation,
                    "Trained on": one.train_set, "n": one.scale, BEFORE: 100 * float(before[asked == relation].mean()),
                    DIFFERENCE: float(d.mean()), "Low": found.low, "High": found.high, "Seeds": len(seeds),
                    "Facts": len(d),
                })  # fmt: skip
    names = ["Model", "Test set", RELATION, "Trained on", "n", BEFORE, DIFFERENCE, "Low", "High", "Seeds", "Facts"]
    table = pd.DataFrame(rows, columns=names)
    return frames.in_order(table, ["Model", "Test set", RELATION, "Trained on"], table)


def asked(numbers: pd.DataFrame) -> pd.DataFrame:
    """Return the frame with each relation's question beside its number, where it is known."""
    questions = {name: RELATIONS[name].question.replace("[X]", "…") for name in RELATIONS}
    return numbers.assign(**{RELATION: [f"{name} {questions.get(name, '')}".strip() for name in numbers[RELATION]]})


def draw_relations(numbers: pd.DataFrame, notice: str) -> Figure:
    """Return them as maps of relation by training set, a panel per model and test set."""
    groups = [rows for _, rows in asked(numbers).groupby(["Model", "Test set"], sort=False)]
    most = max([rows[RELATION].nunique() for rows in groups], default=6)
    figure, grid = style.page(len(groups), 1, (5.6, 0.6 + 0.27 * most), foot=[maps.NOTE, notice])
    end = maps.ends(numbers, DIFFERENCE)
    for (axes,), rows in zip(grid, groups, strict=False):
        maps.draw(axes, rows, RELATION, "Trained on", DIFFERENCE, end)
        axes.tick_params(axis="y", labelsize=6.5)
        first = rows.iloc[0]
        axes.set_title(f"{first['Model']}, {first['Test set']}, n = {first['n']}", loc="left")
    return figure


def _with_base(study: Study) -> bool:
    return study.experiments.scaling is not None and study.experiments.scaling.base


TARGETS.add(Target(
    "cost", 16, ANSWERS, "What fine-tuning cost",
    "Macro accuracy of each fine-tuned model minus that of its base model, in points, with the 95 % interval of the "
    "difference, paired on questions. Below the line fine-tuning made the model worse than it was with the same "
    "prompt. With fewer than three seeds an interval speaks of these trained models alone.",
    cost, draw_cost, chart=Chart("n", DIFFERENCE, "Trained on", "Test set"),
    shows=lambda study, model: _with_base(study), needs="models beside their base (experiments.scaling.base)",
    layout=Layout(("Model", "n", "Trained on"), ("Test set",), (DIFFERENCE, "Low", "High")),
))  # fmt: skip
TARGETS.add(Target(
    "format", 17, "scaling", "Knowledge or format",
    "On the ID test facts, against n: accuracy, the share of answers that end within the limit, and mastery probed "
    "again with the completion templates on a fixed sample. Where accuracy falls with the well-formed answers and "
    "mastery stays, the model still knows and answers in the wrong form; where mastery falls too, knowledge was lost.",
    knowledge_or_format,
    lambda numbers, notice: curves.draw(numbers, notice, SHARE, SHARE, columns=MEASURE),
    chart=Chart("n", SHARE, "Trained on", MEASURE),
))  # fmt: skip
TARGETS.add(Target(
    "relations", 28, ANSWERS, "Which relations gained and lost",
    "Accuracy at the largest numbered n minus that of the base model, in points, over all test questions of a "
    "relation, with a 95 % interval paired on them. Each interval is by itself: of many, some miss.",
    relations, draw_relations, folded=True,
    chart=Chart("Trained on", RELATION, "", "Test set", DIFFERENCE, frame=asked, words=maps.TINT),
    shows=lambda study, model: _with_base(study), needs="models beside their base (experiments.scaling.base)",
))  # fmt: skip
