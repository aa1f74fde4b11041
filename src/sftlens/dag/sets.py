"""Training sets in the grid: buckets, recipes and tasks; what makes each, and what a cell is asked of it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sftlens.config.stages.training import TaskFiles
from sftlens.config.study import Study
from sftlens.dag.cells import FEWSHOT, Product, is_trained
from sftlens.dag.paths import Paths
from sftlens.errors import ConfigError

TEXTS = "mastery-texts.parquet"
"""A table beside the mastery of a study that keeps the sampled texts."""
Wildcards = Any
"""The wildcards of a job; which of model, train_set, scale ... there are depends on its rule."""


class Sets:
    """Functions of rules about the training set of a cell; most take the job's wildcards."""

    def __init__(self, study: Study, paths: Paths, products: Sequence[Product]) -> None:
        self.study, self.paths, self.products = study, paths, products

    def order(self, wildcards: Wildcards) -> str:
        """Ordered training set of a cell."""
        return f"{self.paths.root}/{wildcards.model}/{wildcards.train_set}/order-seed{wildcards.seed}.parquet"

    def check(self) -> None:
        """Raise ConfigError for a file of a task or recipe of the grid that is not there."""
        for name in dict.fromkeys(product.cell.train_set for product in self.products):
            given: dict[str, str | None] = {}
            if task := self.study.tasks.get(name):
                given = {f"tasks.{name}.{key}": getattr(task, key) for key in ("train", "test", "dev")}
            if recipe := self.study.recipes.get(name):
                given = {f"recipes.{name}.parts.{key}.file": part.file for key, part in recipe.parts.items()}
            for key, path in given.items():
                if path and not Path(path).is_file():
                    raise ConfigError(
                        f"key '{key}': {path}: no such file; correct the path, or take {name} out of `train_sets`"
                    )

    def inputs(self, wildcards: Wildcards) -> dict[str, Any]:
        """Inputs of a training set: facts with their mastery, and what else a recipe reads; or a task's examples."""
        if task := self.study.tasks.get(wildcards.train_set):
            return {"examples": task.train}
        recipe, mastery = self.study.recipes.get(wildcards.train_set), self.paths.mastery(wildcards.model)
        parts = recipe.parts.values() if recipe else ()
        own = any(part.answers == "own" for part in parts)
        texts = {"texts": str(Path(mastery).with_name(TEXTS))} if own else {}
        return {"mastery": mastery, **texts, "files": [part.file for part in parts if part.file]}

    def options(self, wildcards: Wildcards) -> list[str]:
        """Options of sftlens training-set."""
        recipe = self.study.recipes.get(wildcards.train_set)
        given = ["--recipe", recipe.model_dump_json(exclude_unset=True)] if recipe else []
        inputs = {name: path for name, path in self.inputs(wildcards).items() if name != "files"}
        return [*given, *(word for name, path in inputs.items() for word in (f"--{name}", path))]

    def chosen(self, wildcards: Wildcards) -> list[str]:
        """Options that name the training set of a cell that is asked it; none at n = 0, and for a task."""
        w = wildcards
        asked = is_trained(w.scale) and w.train_set not in self.study.tasks
        return ["--train", self.order(w), "--scale", w.scale] if asked else []

    def dev(self, wildcards: Wildcards) -> str:
        """File of the examples that early stopping looks at."""
        task = self.study.tasks.get(wildcards.train_set)
        return str(task.dev) if task else self.paths.facts

    def tests(self, wildcards: Wildcards) -> list[str]:
        """Options that name the examples of `tasks`."""
        words: list[str] = []
        for name, task in self.tasks(wildcards).items():
            dev = {"dev": task.dev} if task.dev else {}
            words += ["--task-test", json.dumps({"task": name, "file": task.test, **dev, **task.limits(name)})]
        return words

    def tasks(self, wildcards: Wildcards) -> dict[str, TaskFiles]:
        """Tasks whose test examples a cell is asked: its own; at n = 0 all that its model is trained on."""
        w = wildcards
        names = {w.train_set}
        if not is_trained(w.scale):
            names = {p.cell.train_set for p in self.products if p.cell.model == w.model and w.strategy != FEWSHOT}
        return {name: task for name, task in self.study.tasks.items() if name in names}
