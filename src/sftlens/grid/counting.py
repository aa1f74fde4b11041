"""How large a study is: its cells per experiment and its jobs per rule."""

from sftlens.grid.cells import FEWSHOT, distinct, products, ranking
from sftlens.grid.paths import Paths
from sftlens.grid.study import Study
from sftlens.grid.targets import FIGURES, wanted


def cells(study: Study) -> dict[str, int]:
    """Return the number of distinct cells (trained or not) of each experiment."""
    return {name: len({product.cell for product in found}) for name, found in products(study).items()}


def jobs(study: Study) -> dict[str, int]:
    """Return the number of jobs of each rule that `snakemake` plans for an empty results folder."""
    found, paths, targets = distinct(study), Paths(study), wanted(study)
    stages = {stage: [p for p in found if p.stage == stage] for stage in ("finetune", "evaluate", "divergence")}
    trained = {product.cell for product in stages["finetune"]}
    models = {product.cell.model for product in found}
    pretrained = {m for m in models if study.models[m].source == "pretrain"}
    chosen = {m for m in pretrained if paths.templates(m).startswith(paths.base_folder(m))}
    asked_to_complete = {m for m in models if not study.models[m].mastery}
    again = {p.cell.model for p in found if p.stage in ("evaluate", "restore") and p.cell.strategy != FEWSHOT}
    asked_to_complete |= {p.cell.model for p in stages["divergence"]} | (again if study.evaluation.reprobe else set())
    quality = [p.cell.model for p in found if p.stage == "mastery_quality"]
    asked_to_complete |= set(quality if study.experiments.mastery and study.experiments.mastery.tables else [])
    ranked = [p for p in found if p.stage == "changes" or (p.ratio is not None and p.ratio < 100)]
    measured = {(p.cell, ranking(p.order), p.region) for p in ranked}
    counts = {
        "world": int(bool(pretrained or (models and study.facts.source == "world"))),
        "facts": int(bool(models)),
        "base": len(models),
        "choose_templates": len(chosen & asked_to_complete),
        "mastery": len(models),
        "mastery_quality": len(quality),
        "training_order": len({(cell.model, cell.train_set, cell.seed) for cell in trained}),
        **{stage: len(asked) for stage, asked in stages.items()},
        "changes": len(measured),
        "restore": sum(product.stage == "restore" for product in found),
        "figure": sum(name in FIGURES for name in targets),
        "table": sum(name not in FIGURES for name in targets),
        "repair": int(study.repair is not None),
        "results": int(bool(found)),
        "report": int(bool(found)),
        "all": 1,
    }
    return {rule: count for rule, count in counts.items() if count}


def describe(study: Study) -> str:
    """Return the grid as text for people."""
    per_rule = jobs(study)
    lines = [
        f"Study {study.study}: {len(study.models)} model(s): {', '.join(study.models)}",
        "",
        "cells per experiment",
    ]
    lines += [f"  {name:<16}{count:>7}" for name, count in cells(study).items()]
    every = {product.cell for found in products(study).values() for product in found}
    lines += [f"  {'distinct':<16}{len(every):>7}", "", "jobs per rule"]
    lines += [f"  {name:<16}{count:>7}" for name, count in per_rule.items()]
    lines += [f"  {'total':<16}{sum(per_rule.values()):>7}"]
    return "\n".join(lines)
