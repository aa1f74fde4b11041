"""What each figure and table of a study is drawn from: the products behind the targets that reporting registers."""

from sftlens.config.study import Study
from sftlens.dag.cells import Product, distinct, products
from sftlens.dag.contrasts import ANSWERED
from sftlens.registry import unknown
from sftlens.reporting.targets import ANSWERS, MASTERY, TARGETS


def wanted(study: Study) -> dict[str, list[Product]]:
    """Return the products behind each figure and table that the study has experiments for, in the order of the page."""
    every = distinct(study)
    answered = [product for product in every if product.stage in ANSWERED]
    bases = [product for product in every if product.stage == "mastery"]
    found = {**products(study), MASTERY: bases, ANSWERS: [*bases, *answered] if answered else []}
    behind: dict[str, list[Product]] = {}
    for target in TARGETS:
        asked = list(dict.fromkeys(found.get(target.behind, [])))
        if target.pretrained_only:
            asked = [product for product in asked if study.models[product.cell.model].source == "pretrain"]
        if asked and target.behind not in (MASTERY, ANSWERS):
            # How many examples a cell really had stands in the summary of its training.
            cells = dict.fromkeys(product.cell for product in asked if product.cell.trained)
            asked = [*(Product("finetune", cell) for cell in cells), *asked]
        if asked:
            behind[target.name] = asked
    return behind


def why_unknown(study: Study, name: str) -> str:
    """Return why nothing makes a file or target of this name: what the study lacks for it, or what there is instead."""
    if name in TARGETS.names():
        return f"study {study.study} has nothing to draw {name} from; add experiments.{TARGETS.get(name).behind}"
    return str(unknown("file or target", name, [*wanted(study), "all", "cells", "plan"]))
