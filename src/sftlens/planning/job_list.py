"""How large a study is: its jobs one by one, its cells per experiment and its jobs per rule."""

from collections import Counter
from typing import Any

from sftlens.config.study import Study
from sftlens.dag.cells import FEWSHOT, INSTRUCT, Product, pilot, products
from sftlens.dag.paths import Paths
from sftlens.dag.targets import TARGETS, Selection
from sftlens.resources.job import Job
from sftlens.restoration.methods import ranking

PREPARATION, DRAWING = "facts, bases, probing", "figures, tables, report"
"""What stands in the place of an experiment for the jobs that belong to none."""
ORDER = (
    "world", "facts", "base", "choose_templates", "mastery", "mastery_quality", "divergence_base", "training_order",
    "finetune", "evaluate", "divergence", "changes", "compare_changes", "restore", "repair", "figure", "table",
    "results", "report", "all",
)  # fmt: skip


def listed(selection: Selection) -> list[Job]:
    """Return every job of the chosen experiments once."""
    study, found, paths = selection.study, selection.products, Paths(selection.study)
    models = list(dict.fromkeys(product.cell.model for product in found))
    # Templates are chosen for the models made here that complete sentences.
    quality, again = study.experiments.mastery, study.evaluation.reprobe > 0
    completes = {"divergence": True, "evaluate": again, "restore": again,
                 "mastery_quality": bool(quality and quality.tables)}  # fmt: skip
    completing = {model for model in models if not study.models[model].mastery}
    completing |= {p.cell.model for p in found if completes.get(p.stage) and p.cell.strategy != FEWSHOT}
    instructed = {p.cell.model for p in found if p.cell.strategy == INSTRUCT}
    listed = []
    if (study.facts.source == "world" and models) or any(study.models[m].source == "pretrain" for m in models):
        listed.append(Job("world", experiment=PREPARATION))
    listed += [Job("facts", experiment=PREPARATION)] if models else []
    for model in models:
        listed += [Job("base", model, experiment=PREPARATION)] * (2 if model in instructed else 1)
        if model in completing and paths.templates(model).startswith(paths.base_folder(model)):
            listed.append(Job("choose_templates", model, experiment=PREPARATION))
        listed.append(Job("mastery", model, experiment=PREPARATION))
    # Trainings and measurements are the first experiment's that asks for them; the key says what is the same job.
    measuring: dict[object, Job] = {}
    for experiment, asked in _asked(selection).items():
        for product in asked:
            cell = product.cell
            axes = (cell.model, cell.train_set, cell.scale)
            for one in (pilot(study, cell), cell) if cell.trained else ():
                if one:
                    order = ("training_order", one.model, one.train_set, one.seed)
                    of = (one.model, one.train_set, one.scale, "", experiment)
                    measuring.setdefault(order, Job("training_order", *of))
                    measuring.setdefault(Product("finetune", one), Job("finetune", *of, one.strategy))
            if product.stage == "divergence":
                measuring.setdefault(("divergence_base", cell.model), Job("divergence_base", *axes, "", experiment))
            partly = product.ratio is not None and product.ratio < 100 and ranking(product.criterion)
            if product.stage == "changes" or partly:
                ranked = Product("changes", cell, ranking(product.criterion), product.region)
                measuring.setdefault(ranked, Job("changes", *axes, ranked.criterion, experiment))
            if product.stage != "changes":
                measuring.setdefault(product, Job(product.stage, *axes, product.criterion, experiment))
    drawn: list[str] = [kind for name in selection.targets for kind in TARGETS.get(name).kinds]
    drawn += ["results", "report"] if selection.whole and found else []
    return [*listed, *measuring.values(), *(Job(rule, experiment=DRAWING) for rule in [*drawn, "all"])]


def cells(selection: Selection) -> dict[str, int]:
    """Return the number of distinct cells (trained or not) of each chosen experiment."""
    return {name: len({product.cell for product in asked}) for name, asked in _asked(selection).items()}


def jobs(selection: Selection) -> dict[str, int]:
    """Return the number of jobs of each rule that `snakemake` plans for an empty results folder."""
    counts = Counter(job.rule for job in listed(selection))
    counts["repair"] = int(selection.study.repair is not None and selection.whole)
    return {rule: counts[rule] for rule in ORDER if counts[rule]}


def describe(selection: Selection, wildcards: Any = None) -> str:
    """Return the grid as text for people; Snakemake calls it with a job's wildcards only where it is asked for."""
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
