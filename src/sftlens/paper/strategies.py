"""The five strategies of the paper's Table 7: which cells of a study each may be, and which of them dev chooses.

The paper gives no settings. Here each strategy is what the grid has of it (any n, learning rate, training bucket, k),
and the cell with the highest accuracy on dev facts stands for it; as printed, the best on ID test does.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sftlens.config.study import Study
from sftlens.dag.cells import INSTRUCT, Product, way
from sftlens.dag.contrasts import Condition, conditions
from sftlens.data.buckets import BUCKETS
from sftlens.results import choosing
from sftlens.strategies import DEFAULT

if TYPE_CHECKING:
    from sftlens.results.answers import Answers

RESTORATION = "Parameter restoration"
STRATEGIES = {
    "Instruct model": ("Instruct", "the instruct model (models.MODEL.instruct)"),
    "SFT on mixed": ("SFT_Mixed", "full fine-tuning on mixed"),
    "SFT on one bucket": ("SFT_Divided", "full fine-tuning on one of D0 to D4"),
    "LoRA on mixed": ("LoRA", "lora on mixed"),
    RESTORATION: ("ParamRestoration", "restoration by relative of a model trained on one of D0 to D4"),
}
"""Name -> its column in `numbers/table7.csv`, and the cells that it needs, in words."""


def strategy_of(one: Condition) -> str:
    """Return the strategy of Table 7 that a condition is a candidate for; "" for none."""
    if not one.trained:
        return "Instruct model" if one.strategy == INSTRUCT else ""
    name, single = way(one.strategy)[0], one.train_set in BUCKETS
    if one.ratio is not None:
        by_paper = (one.criterion, one.region, name) == ("relative", "transformer", DEFAULT)
        return RESTORATION if by_paper and single else ""
    if one.train_set == "mixed":
        return {DEFAULT: "SFT on mixed", "lora": "LoRA on mixed"}.get(name, "")
    return "SFT on one bucket" if name == DEFAULT and single else ""


def picks(study: Study, asked: Sequence[Product]) -> tuple[list[Product], list[str]]:
    """Return the products that Table 7 is made from, of models that have all five; or what the study lacks for it."""
    grid = conditions(asked)
    there = {model: {strategy_of(one) for one in grid if one.model == model} for model in study.models}
    whole = {model for model, found in there.items() if found.issuperset(STRATEGIES)}
    lacking = [] if study.evaluation.dev_facts else ["dev facts to choose on (evaluation.dev_facts)"]
    if not whole and there:
        nearest = max(there.values(), key=lambda found: len(found & set(STRATEGIES)))
        lacking = [words for name, (_, words) in STRATEGIES.items() if name not in nearest] + lacking
    cells = [p for one, by_seed in grid.items() if one.model in whole and strategy_of(one) for p in by_seed.values()]
    return [p for p in asked if p.stage == "mastery" and p.cell.model in whole] + cells, lacking


def chosen(answers: "Answers", model: str, split: str = "dev") -> dict[str, tuple[Condition, float]]:
    """Return the cell that stands for each strategy, the best on a split, with its accuracy there, share in [0, 1].

    A strategy without a measured cell has no entry.
    """
    found = choosing.scores(answers.results, split)
    own = [one for one in answers.conditions if one.model == model]
    best = {name: choosing.best((one for one in own if strategy_of(one) == name), found) for name in STRATEGIES}
    return {name: (one, found[one]) for name, one in best.items() if one}
