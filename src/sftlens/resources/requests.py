"""What the jobs of each rule ask a cluster for: nodes, GPUs, CPUs, memory and time, from the models' configuration.

Snakemake calls these functions with a job's wildcards; one that returns None leaves its key out. So a single
rule serves one node and many. All of it is overridden with `--set-resources RULE:KEY=VALUE`.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

from sftlens.config.repair import RepairStudy
from sftlens.config.stages.model import Launch
from sftlens.config.study import Model, Study
from sftlens.resources import amounts, memory
from sftlens.resources.costs import SHORTEST, Costs
from sftlens.resources.job import Job
from sftlens.strategies import DEFAULT

Resource = Callable[..., Any]
SMALL = 1.0 * memory.GB
"""What a stage needs that loads no model."""


class Resources:
    """The resources of each rule of a study."""

    def __init__(self, study: Study) -> None:
        self._study = study
        # A table of facts or a file of templates that cannot be read is refused before anything is planned.
        for model in study.models.values():
            amounts.questions(study), amounts.templates(study, model)
        self.costs = Costs(study)
        # Of thousands of jobs a few hundred differ in what they take.
        self._minutes = cache(self.costs.minutes)

    def of(self, rule: str) -> dict[str, Resource | int]:
        """Return what a job of a rule asks for, by Snakemake's names."""

        def runtime(wildcards: Any, attempt: int) -> int:
            known = ("model", "train_set", "scale", "criterion", *(["strategy"] if rule == "finetune" else []))
            axes = {name: getattr(wildcards, name, "") for name in known}
            return self._minutes(Job(rule, **axes), attempt)

        def mem_mb(wildcards: Any, attempt: int) -> int:
            return memory.request_mb(self._memory(rule, wildcards), attempt)

        def gpu(wildcards: Any) -> int:
            model = self._model(wildcards)
            # A gradient is as large as the weights.
            several = memory.probers(self._study, model) if rule == "mastery" else 1 + (rule == "compare_changes")
            return several * memory.gpus(self._study, model)

        if rule in ("facts", "world"):
            return {"mem_mb": mem_mb, "runtime": SHORTEST}
        if rule == "repair":  # as its section says: the geometry of its models is not declared
            wanted = self._study.repair or RepairStudy()
            return {"nodes": 1, "gpu": wanted.gpus, "mem_mb": mem_mb, "runtime": wanted.minutes}
        if rule == "finetune":
            return {**self._training(), "mem_mb": mem_mb, "runtime": runtime}
        # Of making or fetching a base model, and of comparing the parameters of two.
        if rule in ("base", "changes"):
            return {"mem_mb": mem_mb, "runtime": runtime}
        return {"nodes": 1, "gpu": gpu, "mem_mb": mem_mb, "runtime": runtime}

    def _training(self) -> dict[str, Resource | int]:
        """The nodes of a training run, and what is asked for on each."""

        def launch(w: Any) -> Launch:
            return self._model(w).launch

        def several(value: Callable[[Launch], Any]) -> Resource:
            return lambda wildcards: value(launch(wildcards)) if launch(wildcards).nodes > 1 else None

        return {
            "nodes": lambda wildcards: launch(wildcards).nodes,
            "cpus_per_task": lambda wildcards: launch(wildcards).cpus,
            # In all, and capped by --resources gpu=N. Over several nodes they are asked for by node.
            "gpu": lambda wildcards: launch(wildcards).gpus_per_node * (launch(wildcards).nodes == 1),
            "tasks": several(lambda launch: launch.nodes),
            "mpi": several(lambda launch: "srun"),
            "gres": several(lambda launch: f"gpu:{launch.gpus_per_node}" if launch.gpus_per_node else None),
            # Else the plugin asks for as many tasks a GPU as there are nodes, which no allocation can have.
            "tasks_per_gpu": several(lambda launch: 0),
        }

    def _of_strategy(self, wildcards: Any) -> float:
        """Main memory that a training's strategy takes on one node beside that of full fine-tuning, bytes."""
        name = getattr(wildcards, "strategy", DEFAULT).partition("@")[0]
        model, strategy = self._model(wildcards), self._study.strategy(name)
        count, launch = model.shape.parameters, model.launch
        best = 4.0 * bool(strategy.recipe(self._study.finetuning).early_stopping)  # the fp32 weights of the best look
        shared = (strategy.bytes_shared + best) / launch.nodes
        held = count * (shared + strategy.bytes_own * launch.processes_per_node)
        if not strategy.compared:
            return held
        job = Job("finetune", wildcards.model, wildcards.train_set, wildcards.scale)
        tokens = self.costs.examples(job) * self._study.plan.answer_tokens
        size = memory.BYTES[memory.recipe(self._study, model).dtype].weights
        return held + tokens * model.shape.vocab_size * size / launch.nodes

    def _memory(self, rule: str, wildcards: Any) -> float:
        """Main memory of a job, bytes on one node."""
        if rule in ("facts", "world"):
            return SMALL
        if rule == "repair":
            return (self._study.repair or RepairStudy()).memory_gb * memory.GB
        study, model = self._study, self._model(wildcards)
        if rule == "finetune":
            recipe = memory.recipe(study, model, wildcards.train_set)
            return memory.training_node(model.shape, recipe, model.launch) + self._of_strategy(wildcards)
        if rule in ("base", "changes"):  # read tensor by tensor: one model, or two that are compared
            held = {"base": 2.0 * memory.STORED, "changes": 32.0}[rule]
            return memory.PROCESS + held * memory.largest_tensor(model.shape)
        if rule == "compare_changes":
            return memory.measuring(study, model) + 4.0 * model.shape.parameters
        return memory.measuring(study, model) * (memory.probers(study, model) if rule == "mastery" else 1)

    def _model(self, wildcards: Any) -> Model:
        return self._study.models[wildcards.model]
