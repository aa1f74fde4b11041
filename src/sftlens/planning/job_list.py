"""How large a study is: its jobs one by one, its cells per experiment and its jobs per rule."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from sftlens.config.study import Study
from sftlens.dag.cells import FEWSHOT, Cell, Product, products
from sftlens.dag.only import Selection
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS
from sftlens.restoration.methods import ranking

PREPARATION, DRAWING = "facts, bases, probing", "figures, tables, report"
"""What stands in the place of an experiment for the jobs that belong to none."""
ORDER = (
    "world", "facts", "base", "choose_templates", "mastery", "mastery_quality", "divergence_base", "training_order",
    "finetune", "evaluate", "divergence", "changes", "restore", "repair", "figure", "table", "results", "report", "all",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One job that `snakemake` plans for an empty results folder."""

    rule: str
    experiment: str
    """The first experiment that needs it, PREPARATION or DRAWING."""
    model: str = ""
    """Empty for a job that is no model's."""
    product: Product | None = None
    """What it makes; for a training order the training of one of its cells."""


def listed(selection: Selection) -> list[Job]:
    """Return every job of the chosen experiments once."""
    return [*_preparation(selection), *_measuring(selection), *_drawing(selection)]


def cells(selection: Selection) -> dict[str, int]:
    """Return the number of distinct cells (trained or not) of each chosen experiment."""
    return {name: len({product.cell for product in asked}) for name, asked in _asked(selection).items()}


def jobs(selection: Selection) -> dict[str, int]:
    """Return the number of jobs of each rule that `snakemake` plans for an empty results folder."""
    counts = Counter(job.rule for job in listed(selection))
    counts["repair"] = int(selection.study.repair is not None and selection.whole)
    return {rule: counts[rule] for rule in ORDER if counts[rule]}


def describe(selection: Selection) -> str:
    """Return the grid as text for people."""
    study, per_rule = selection.study, jobs(selection)
    lines = [
        f"Study {study.study}: {models_of(study)}: {', '.join(study.models)}",
        "",
        "cells per experiment",
    ]
    lines += [f"  {name:<16}{count:>7}" for name, count in cells(selection).items()]
    every = {product.cell for asked in _asked(selection).values() for product in asked}
    lines += [f"  {'distinct':<16}{len(every):>7}", "", "jobs per rule"]
    lines += [f"  {name:<16}{count:>7}" for name, count in per_rule.items()]
    lines += [f"  {'total':<16}{sum(per_rule.values()):>7}"]
    return "\n".join(lines)


def models_of(study: Study) -> str:
    """Return how many models a study has, in words."""
    return f"{len(study.models)} model{'' if len(study.models) == 1 else 's'}"


def _asked(selection: Selection) -> dict[str, list[Product]]:
    return {name: asked for name, asked in products(selection.study).items() if name in selection.experiments}


def _preparation(selection: Selection) -> Iterator[Job]:
    study, found, paths = selection.study, selection.products, Paths(selection.study)
    models = list(dict.fromkeys(product.cell.model for product in found))
    pretrained = {m for m in models if study.models[m].source == "pretrain"}
    if pretrained or (models and study.facts.source == "world"):
        yield Job("world", PREPARATION)
    if models:
        yield Job("facts", PREPARATION)
    completing = _completing(selection)
    for model in models:
        yield Job("base", PREPARATION, model)
        if model in completing and paths.templates(model).startswith(paths.base_folder(model)):
            yield Job("choose_templates", PREPARATION, model)
        yield Job("mastery", PREPARATION, model, Product("mastery", Cell(model, "", "", 0, "")))


def _completing(selection: Selection) -> set[str]:
    """Return the models that complete sentences, whose templates are needed."""
    study, found = selection.study, selection.products
    quality, again = study.experiments.mastery, study.evaluation.reprobe > 0
    asked = {
        "divergence": True,
        "evaluate": again,
        "restore": again,
        "mastery_quality": bool(quality and quality.tables),
    }
    probed = {product.cell.model for product in found if not study.models[product.cell.model].mastery}
    return probed | {p.cell.model for p in found if asked.get(p.stage) and p.cell.strategy != FEWSHOT}


def _measuring(selection: Selection) -> Iterator[Job]:
    """Yield trainings and measurements, each for the first experiment that asks for it."""
    seen: set[object] = set()
    for experiment, asked in _asked(selection).items():
        for product in asked:
            for key, job in _needed(experiment, product):
                if key not in seen:
                    seen.add(key)
                    yield job


def _needed(experiment: str, product: Product) -> Iterator[tuple[object, Job]]:
    """Yield a product's own job and those that it alone rests on, with what stands for each."""
    cell = product.cell
    if cell.trained:
        training = Product("finetune", cell)
        order = ("training_order", cell.model, cell.train_set, cell.seed)
        yield order, Job("training_order", experiment, cell.model, training)
        yield training, Job("finetune", experiment, cell.model, training)
    if product.stage == "divergence":
        yield ("divergence_base", cell.model), Job("divergence_base", experiment, cell.model, product)
    if product.stage == "changes" or (product.ratio is not None and product.ratio < 100):
        measured = Product("changes", cell, ranking(product.criterion), product.region)
        yield measured, Job("changes", experiment, cell.model, measured)
    if product.stage != "changes":
        yield product, Job(product.stage, experiment, cell.model, product)


def _drawing(selection: Selection) -> Iterator[Job]:
    for name in selection.targets:
        yield Job(TARGETS.get(name).kind, DRAWING)
    for rule in ("results", "report") if selection.whole and selection.products else ():
        yield Job(rule, DRAWING)
    yield Job("all", DRAWING)
