"""What a study costs before anything runs, as text for people: jobs, device hours, bytes, the peak of the disk."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

from sftlens.dag.targets import Selection
from sftlens.planning.job_list import DRAWING, ORDER, PREPARATION, listed, models_of
from sftlens.resources.costs import STATE, Costs
from sftlens.resources.job import Cost, Job
from sftlens.runtime.stages import COPY_LIMIT_BYTES

NO_MODEL = "no model"
HEAD = ("jobs", "GPU hours", "CPU hours", "read", "written")
NOTES = """Expected, not measured: from the models' geometry and the rates of the section `plan`
(config/README.md has the source of each), for an empty results folder, without queues
and retries. GPU hours are those of all GPUs that a job holds, CPU hours those of jobs
without a GPU. What several experiments share runs once and counts in the first of them."""
UNITS = ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"))


class Plan:
    """The price of what one run asks for."""

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._study = selection.study
        self._costs = Costs(selection.study)

    def described(self, wildcards: Any = None) -> str:
        """Return the plan as text; Snakemake calls it with a job's wildcards only where it is asked for."""
        names = self._selection.experiments
        groups: dict[str, tuple[Callable[[Job], str], Sequence[str]]] = {
            "by stage": (lambda job: job.rule, ORDER),
            "by experiment": (lambda job: job.experiment, (PREPARATION, *names, DRAWING)),
            "by model": (lambda job: job.model or NO_MODEL, (*self._study.models, NO_MODEL)),
        }
        parts_of_it = [models_of(self._study), *names] if self._study.models else ["a repair alone"]
        lines = [f"Study {self._study.study}: {', '.join(parts_of_it)}"]
        for title, (key, order) in groups.items():
            sums: dict[str, Cost] = {}
            for job, cost in self.priced:
                sums[key(job)] = sums.get(key(job), Cost()) + cost
            # An experiment whose cells are all another's has nothing of its own, and says so.
            shown = [name for name in order if name in sums or (name in names and title == "by experiment")]
            lines += ["", _row(title, HEAD), *(_row(f"  {name}", _shown(sums.get(name, Cost()))) for name in shown)]
        lines += ["", _row("total", _shown(self.total())), "", "peak of the disk"]
        parts = self.disk()
        lines += [f"  {name:<44}{_bytes(size):>10}" for name, size in parts.items()]
        lines += [f"  {'total':<44}{_bytes(sum(parts.values())):>10}", "", NOTES]
        lines += ["The repair is not reckoned: its model's geometry is not declared."] if self._study.repair else []
        return "\n".join(lines)

    def total(self) -> Cost:
        return sum((cost for _, cost in self.priced), Cost())

    def disk(self) -> dict[str, float]:
        """Return the bytes that lie on the disk at most, by what they are."""
        keep, models, costs = self._study.finetuning.keep, self._study.models, self._costs
        trained = [(models[job.model], job) for job, _ in self.priced if job.rule == "finetune"]
        made = [models[name] for name in dict.fromkeys(job.model for job, _ in self.priced if job.rule == "base")]
        # Besides what is kept of it, a training has two states on the disk, and its model whole until that is packed
        # or, with `none`, measured; and as many are measured as are trained.
        whole = {"checkpoints": 0, "deltas": 1, "none": 2}[keep]
        running = [
            min(2, costs.states(model, job)) * STATE * model.shape.parameters + whole * costs.trained(model)
            for model, job in trained
        ]
        at_once = min(self._study.plan.trainings_at_once, len(trained))
        light = [cost.written for job, cost in self.priced if job.rule not in ("base", "finetune")]
        bases = (0.0 if model.source == "path" else _stored(costs.base(model)) for model in made)
        kept = (_stored(costs.tuned(model)) for model, _ in trained)
        return {
            "base models (none where `source: path`)": sum(bases),
            f"fine-tuned models (keep: {keep})": 0.0 if keep == "none" else sum(kept),
            f"{at_once} trainings at once": at_once * max(running, default=0.0),
            "answers, summaries, logs": sum(map(_stored, light)),
        }

    @cached_property
    def priced(self) -> list[tuple[Job, Cost]]:
        """Every job with what it takes."""
        return [(job, self._costs.of(job)) for job in listed(self._selection)]


def _stored(size: float) -> float:
    """Return what a result takes on the disk: a small one is also kept in .state, a large one is linked there."""
    return size * (2 if size <= COPY_LIMIT_BYTES else 1)


def _shown(cost: Cost) -> list[str]:
    hours = (cost.gpu_seconds / 3600, cost.cpu_seconds / 3600)
    return [f"{cost.jobs:,}", *map(_hours, hours), _bytes(cost.read), _bytes(cost.written)]


def _row(name: str, values: Sequence[str]) -> str:
    return f"{name:<26}" + "".join(f"{value:>11}" for value in values)


def _hours(value: float) -> str:
    if value < 1:
        return f"{value:.2f}" if value >= 0.005 else "<0.01" if value else "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _bytes(value: float) -> str:
    for size, unit in UNITS:
        if value >= size:
            number = value / size
            return f"{number:,.0f} {unit}" if number >= 100 else f"{number:.1f} {unit}"
    return "-" if not value else f"{value / 1e3:.0f} kB"
