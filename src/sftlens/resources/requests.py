"""What the jobs of each rule ask a cluster for: nodes, GPUs, CPUs, memory and time, from the models' configuration.

Snakemake calls these functions with a job's wildcards; one that returns None leaves its key out. So a single
rule serves one node and many. All of it is overridden with `--set-resources RULE:KEY=VALUE`.
"""

from collections.abc import Callable
from typing import Any

from sftlens.config.repair import RepairStudy
from sftlens.config.stages.model import Geometry, Launch
from sftlens.config.study import Model, Study
from sftlens.resources import amounts, memory, time_limits

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

    def small(self) -> dict[str, Resource | int]:
        """Of a job that loads no model."""
        return {"mem_mb": lambda wildcards, attempt: memory.request_mb(SMALL, attempt), "runtime": time_limits.SHORTEST}

    def base(self) -> dict[str, Resource]:
        """Of making or fetching a base model."""
        return self._plain(memory.reading, time_limits.fetching)

    def mastery(self) -> dict[str, Resource]:
        """Of probing a base model."""
        return self._measuring(
            lambda model, _: time_limits.probing(self._study, model, self.probers(model)), self.probers, probing=True
        )

    def sampling(self) -> dict[str, Resource]:
        """Of probing a sample of facts, in one process."""
        return self._measuring(lambda model, _: time_limits.probing(self._study, model), probing=True)

    def evaluate(self) -> dict[str, Resource]:
        """Of answering the questions, also after a restoration."""
        return self._measuring(lambda model, w: time_limits.answering(self._study, model, w.scale))

    def divergence(self) -> dict[str, Resource]:
        """Of comparing a model's next tokens with those of its base, and of the base's half."""
        return self._measuring(lambda model, _: time_limits.completing(self._study, model))

    def changes(self) -> dict[str, Resource]:
        """Of comparing the parameters of two models."""
        return self._plain(memory.comparing, time_limits.comparing)

    def repair(self) -> dict[str, Resource | int]:
        """Of repairing a model, as its section says: its geometry is not declared."""
        wanted = self._study.repair or RepairStudy()
        return {
            "nodes": 1,
            "gpu": wanted.gpus,
            "mem_mb": lambda wildcards, attempt: memory.request_mb(wanted.memory_gb * memory.GB, attempt),
            "runtime": wanted.minutes,
        }

    def finetune(self) -> dict[str, Resource]:
        """Of training, on one node or several."""

        def launch(w: Any) -> Launch:
            return self._model(w).launch

        def several(value: Callable[[Launch], Any]) -> Resource:
            return lambda wildcards: value(launch(wildcards)) if launch(wildcards).nodes > 1 else None

        def mem_mb(wildcards: Any, attempt: int) -> int:
            need = memory.training_node(self._model(wildcards).shape, self._study.finetuning, launch(wildcards))
            return memory.request_mb(need, attempt)

        return {
            "nodes": lambda wildcards: launch(wildcards).nodes,
            "cpus_per_task": lambda wildcards: cpus(launch(wildcards)),
            # In all, and capped by --resources gpu=N. Over several nodes they are asked for by node.
            "gpu": lambda wildcards: launch(wildcards).gpus_per_node * (launch(wildcards).nodes == 1),
            "tasks": several(lambda launch: launch.nodes),
            "mpi": several(lambda launch: "srun"),
            "gres": several(lambda launch: f"gpu:{launch.gpus_per_node}" if launch.gpus_per_node else None),
            # Else the plugin asks for as many tasks a GPU as there are nodes, which no allocation can have.
            "tasks_per_gpu": several(lambda launch: 0),
            "mem_mb": mem_mb,
            "runtime": lambda w: time_limits.training(self._model(w), self._study.finetuning, w.scale),
        }

    def _plain(self, need: Callable[[Geometry], float], minutes: Callable[[Model], int]) -> dict[str, Resource]:
        def mem_mb(wildcards: Any, attempt: int) -> int:
            return memory.request_mb(need(self._model(wildcards).shape), attempt)

        return {"mem_mb": mem_mb, "runtime": lambda wildcards: minutes(self._model(wildcards))}

    def _measuring(
        self,
        minutes: Callable[[Model, Any], int],
        processes: Callable[[Model], int] = lambda model: 1,
        probing: bool = False,
    ) -> dict[str, Resource]:
        def gpu(wildcards: Any) -> int:
            model = self._model(wildcards)
            return processes(model) * self.gpus(model)

        def mem_mb(wildcards: Any, attempt: int) -> int:
            model = self._model(wildcards)
            need = memory.measuring(model.shape, self.tokens, self.gpus(model))
            return memory.request_mb(processes(model) * need, attempt)

        def runtime(wildcards: Any, attempt: int) -> int:
            # A stage that begins anew when its time is over gets more of it; probing goes on where it stopped.
            model = self._model(wildcards)
            return min(minutes(model, wildcards) * attempt, model.launch.longest_minutes if probing else 10**9)

        return {"nodes": lambda wildcards: 1, "gpu": gpu, "mem_mb": mem_mb, "runtime": runtime}

    def gpus(self, model: Model) -> int:
        """GPUs of a job that asks a model."""
        if not model.launch.gpus_per_node:
            return 0
        return memory.measuring_gpus(model.shape, self.tokens, model.launch.gpu_memory_gb)

    def probers(self, model: Model) -> int:
        """Processes that probe a model side by side: on GPUs no more than one node has room for."""
        wanted, gpus = 1 if model.mastery else self._study.probing.processes, self.gpus(model)
        return max(1, min(wanted, model.launch.gpus_per_node // gpus)) if gpus else wanted

    @property
    def tokens(self) -> int:
        """Tokens that are held side by side while a model is asked."""
        return max(self._study.probing.batch_tokens, self._study.evaluation.batch_tokens)

    def _model(self, wildcards: Any) -> Model:
        return self._study.models[wildcards.model]


def cpus(launch: Launch) -> int:
    """Return the CPUs of one node of a training run."""
    return launch.processes_per_node * launch.cpus_per_process
