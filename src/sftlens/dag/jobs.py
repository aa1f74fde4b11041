"""What the jobs of a study are given: their inputs, and the settings that their own cell depends on, no others."""

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from sftlens.config.stages.evaluation import OF_BASE, EvaluationSettings
from sftlens.config.stages.mastery import MASTERY_FIELDS, ProbingSettings, QualitySettings
from sftlens.config.study import Study
from sftlens.dag.bases import Bases
from sftlens.dag.cells import FEWSHOT, INSTRUCT, Cell, Product, cells_of, distinct, is_trained, pilot, quota_needs, way
from sftlens.dag.paths import Paths, options
from sftlens.dag.recorded import RESULTS, stamp
from sftlens.dag.repair_job import RepairJob
from sftlens.dag.sets import TEXTS, Sets, Wildcards
from sftlens.dag.targets import EVERYTHING, TARGETS, admitted, paper, wanted, why_unknown
from sftlens.errors import ConfigError
from sftlens.resources.memory import probers
from sftlens.resources.requests import Resources
from sftlens.restoration.methods import ranking, uses
from sftlens.settings import Settings
from sftlens.strategies import INPUTS

BESIDE = {
    "evaluate": "answers", "restore": "answers", "divergence": "kl", "changes": "tensors", "mastery": "mastery",
    "compare_changes": "cosines",
}  # fmt: skip
"""The table that stands beside the summary of a stage."""


class Jobs:
    """Functions of the rules: inputs, and options (`x_options` of `sftlens x`); most take the job's wildcards."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.paths = Paths(study)
        self.products = distinct(study)
        self.targets = wanted(study)
        self.resources = Resources(study)
        self.bases = Bases(study, self.paths)
        self.sets = Sets(study, self.paths, self.products)
        computing = study.compute_dtype
        self._computing = [] if computing == "auto" else ["--compute-dtype", computing]
        self.repair = RepairJob(study, self.paths.root, self._computing)
        # What a cell's base model has.
        self.base, self.mastery = _of_model(self.paths.base), _of_model(self.paths.mastery)
        self.templates, self.divergence_base = _of_model(self.paths.templates), _of_model(self.paths.divergence_base)

    def constraints(self) -> dict[str, str]:
        """Wildcard constraints that admit exactly the values of this configuration."""
        return admitted(self.study, self.products)

    def summaries(self, wildcards: Wildcards) -> list[str]:
        """Summary files of the whole study, or those that one figure or table waits for.

        Snakemake follows every edge, and most are these. So what another one brings along is left out: answers come
        with their summary, that of a training with the model that others measure, all of the study with its table.
        """
        if not (name := wildcards.get("figure") or wildcards.get("table")):
            return list(map(self.paths.summary, self.products))
        if TARGETS.get(name).behind == EVERYTHING:
            return [f"{self.paths.root}/results.parquet"]
        products = self.targets.get(name, [])
        measured = {product.cell for product in products if product.stage != "finetune"}
        return [self.paths.summary(p) for p in products if p.stage != "finetune" or p.cell not in measured]

    def named(self, target: str) -> Callable[[Wildcards], list[str]]:
        """Input function of a named target: its files, and, as else a deleted one went unnoticed, all behind it."""
        return lambda wildcards: [*self.target(target), *self.files(self.targets[target])]

    def unknown(self, wildcards: Any) -> NoReturn:
        """End the run with why there is no such target; an exception would drag Snakemake's own words along."""
        sys.exit(f"error: {why_unknown(self.study, wildcards.unknown)}")

    def words(self, wildcards: Any) -> list[str]:
        """Title, caption and notice of one figure or table."""
        target = TARGETS.get(wildcards.get("figure") or wildcards.get("table"))
        return [target.title, target.caption, self.study.notice]

    def labels(self, wildcards: Any) -> dict[str, str]:
        """What Snakemake's own report shows of one figure or table, and filters by."""
        kind = "figure" if wildcards.get("figure") else "table"
        target = TARGETS.get(wildcards.get(kind))
        source = "the paper" if target.of_paper else "sftlens"
        names = {"model": ", ".join(self.study.models), kind: target.name}
        return {**names, "of": source, "from": target.behind, "shows": target.title}

    def files(self, products: Iterable[Product] | None = None) -> list[str]:
        """Summaries of products with the tables that stand beside them, so that none is missing unnoticed."""
        found = []
        for product in self.products if products is None else products:
            summary = self.paths.summary(product)
            folder = summary.rpartition("/")[0]
            found += [summary, *(f"{folder}/{name}" for name in self._beside(product.stage))]
        return found

    def target(self, name: str) -> list[str]:
        """The files of a named figure or table."""
        endings = {
            "figure": (".svg", "-narrow.svg", ".png", ".pdf", ".csv", ".txt"),
            "table": (".csv", ".txt", ".md", ".tex"),
        }
        kinds = TARGETS.get(name).kinds
        return [f"{self.paths.root}/{kind}s/{name}{ending}" for kind in kinds for ending in endings[kind]]

    def paper(self, wildcards: Any) -> list[str]:
        """The files of the paper's figures and tables that the grid has; ends the run where it has none."""
        try:
            return [path for name in paper(self.study)[0] for path in self.target(name)]
        except ConfigError as error:
            sys.exit(f"error: {error}")

    def paper_lacks(self, wildcards: Any) -> str:
        """One line on the paper's figures and tables that the grid has no cells for."""
        return paper(self.study)[1]

    stamp = staticmethod(stamp)

    def model(self, wildcards: Wildcards) -> str:
        """The model that a cell measures: the base itself at n = 0."""
        w = wildcards
        if not is_trained(w.scale):
            return self.paths.instruct(w.model) if w.strategy == INSTRUCT else self.paths.base(w.model)
        return f"{self.paths.root}/{w.model}/{w.train_set}/n{w.scale}/seed{w.seed}/{w.strategy}/checkpoint"

    def mastery_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """Inputs of probing; a finished table replaces the model and its templates."""
        if table := self.study.models[wildcards.model].mastery:
            return {"table": table}
        return {"model": self.base(wildcards), "templates": self.templates(wildcards)}

    def mastery_options(self, wildcards: Wildcards) -> list[str]:
        if table := self.study.models[wildcards.model].mastery:
            return ["--import", table, *options(self.study.probing, ["keep_texts"])]
        sources = ["--model", self.base(wildcards), "--templates", self.templates(wildcards)]
        if self._pretrained(wildcards) and self.study.models[wildcards.model].pretraining.flawed:
            sources += ["--taught", self.paths.flawed(wildcards.model)]
        needs = [f"{bucket}={number}" for bucket, number in quota_needs(self.study, wildcards.model).items()]
        unsaid = {"processes"} if needs else {"processes", "quota"}
        probing = options(self.study.probing, set(ProbingSettings.model_fields) - unsaid)
        probing += ["--processes", str(self.mastery_cpus(wildcards))]
        return [*sources, *self.loading(wildcards), *probing, *(["--quota-needs", *needs] if needs else [])]

    def mastery_cpus(self, wildcards: Wildcards) -> int:
        """Processes that a base model is probed by."""
        return probers(self.study, self.study.models[wildcards.model])

    def mastery_outputs(self) -> dict[str, str]:
        """Outputs of probing, by name; the sampled texts where they are asked for."""
        folder = f"{RESULTS}/models/{{model}}/mastery-{{key}}"
        named = {"table": "mastery.parquet", "summary": "mastery.json"}
        named |= {"texts": TEXTS} if self.study.probing.keep_texts else {}
        return {name: f"{folder}/{file}" for name, file in named.items()}

    def quality_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """Inputs of checking a mastery table; the model only where it is asked again, exposures where there are any."""
        inputs = {"mastery": self.mastery(wildcards)}
        if self._beside("mastery_quality"):
            inputs |= {"model": self.base(wildcards), "templates": self.templates(wildcards)}
        return inputs | ({"world": self.paths.world} if self._pretrained(wildcards) else {})

    def quality_options(self, wildcards: Wildcards) -> list[str]:
        wanted = self.study.experiments.mastery
        given = options(wanted, set(QualitySettings.model_fields)) if wanted else []
        if self._pretrained(wildcards):
            given += ["--exposures", self.paths.exposures]
        if self._beside("mastery_quality"):
            given += ["--model", self.base(wildcards), "--templates", self.templates(wildcards)]
            given += [*self.loading(wildcards), *options(self.study.probing, {*MASTERY_FIELDS, "batch_tokens"})]
        return given

    def finetune_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """Inputs of a training; what its strategy and early stopping look at has the names of options."""
        w = wildcards
        inputs = {"model": self.base(w), "train": self.sets.order(w)}
        if found := pilot(self.study, Cell(w.model, w.train_set, w.scale, int(w.seed), w.strategy)):
            inputs["pilot"] = f"{self.paths.root}/{found.path}/checkpoint"
        mastery = self.mastery(w)
        read = {"known": mastery, "texts": str(Path(mastery).with_name(TEXTS)), "templates": self.templates(w)}
        strategy = self.study.strategy(way(w.strategy)[0])
        inputs |= {name: read[name] for name in strategy.inputs if name in read}
        inputs |= {"dev": self.sets.dev(w)} if strategy.recipe(self.study.finetuning).early_stopping else {}
        return inputs | ({"facts": mastery} if self.study.evaluation.during else {})

    def finetune_options(self, wildcards: Wildcards) -> list[str]:
        launch, inputs = self.study.models[wildcards.model].launch, self.finetune_inputs(wildcards)
        where = ["--processes", str(launch.world_size), "--gpus", str(launch.gpus_per_node)]
        name, rate = way(wildcards.strategy)
        recipe = self.study.finetuning_on(wildcards.train_set, rate)
        own = getattr(self.study.strategies, name, Settings()).model_dump(mode="json")
        strategy = ["--strategy", name, *(["--strategy-settings", json.dumps(own)] if own else [])]
        strategy += [w for name in (*INPUTS, "dev", "facts") if name in inputs for w in (f"--{name}", inputs[name])]
        asked, named = self.study.evaluation, ("during_facts", "during_trained", "stop_when_lost", "max_new_tokens")
        looks = ["--evaluate-at", *map(str, asked.during), *options(asked, named)] if asked.during else []
        return [*where, *self.loading(wildcards), *options(recipe), *strategy, *looks]

    def cpus(self, wildcards: Wildcards) -> int:
        """CPUs of a training run, of one node."""
        return self.study.models[wildcards.model].launch.cpus

    def evaluate_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """Inputs of an evaluation; the training set is asked too where there is one, of a task its test examples."""
        inputs = {"model": self.model(wildcards), "facts": self.mastery(wildcards)}
        inputs |= {"train": self.sets.order(wildcards)} if self.sets.chosen(wildcards) else {}
        for name, task in self.sets.tasks(wildcards).items():
            inputs |= {f"test_{name}": task.test} | ({f"dev_{name}": task.dev} if task.dev else {})
        inputs |= {"dev": self.paths.facts} if self.study.evaluation.dev_facts else {}
        return inputs | ({"templates": self.templates(wildcards)} if self._reprobed(wildcards) else {})

    def evaluate_options(self, wildcards: Wildcards) -> list[str]:
        scaling = self.study.experiments.scaling
        shots = ["--shots", str(scaling.shots)] if wildcards.strategy == FEWSHOT and scaling else []
        entry = self.study.models[wildcards.model].instruct
        told = ["--instruction", entry.instruction] if wildcards.strategy == INSTRUCT and entry else []
        return [*self.sets.chosen(wildcards), *shots, *told, *self._answering(wildcards)]

    def divergence_base_options(self, wildcards: Wildcards) -> list[str]:
        probed = options(self.study.probing, ["max_templates"])
        return [*self.loading(wildcards), *probed, *options(self.study.divergence, (*OF_BASE, "batch_tokens"))]

    def divergence_options(self, wildcards: Wildcards) -> list[str]:
        """Options of sftlens divergence; the other settings are of the base's half alone."""
        return [*self.loading(wildcards), *options(self.study.divergence, ["top", "batch_tokens"])]

    def compare_changes_inputs(self, wildcards: Wildcards) -> dict[str, Any]:
        """Inputs of comparing the changes of all cells of a model whose experiment asks for it."""
        cells = cells_of(self.study, "compare_changes", wildcards.model)
        tuned = [f"{self.paths.root}/{cell.path}/checkpoint" for cell in cells]
        return {"base": self.base(wildcards), "facts": self.mastery(wildcards), "finetuned": tuned}

    def restore_options(self, wildcards: Wildcards) -> list[str]:
        given = ["--changes", self._changes(wildcards)] if self._ranks(wildcards) else []
        given += options(self.study.restoration, ["epsilon", *uses(wildcards.criterion)])
        return [*given, *self.sets.chosen(wildcards), *self._answering(wildcards)]

    def restore_inputs(self, wildcards: Wildcards) -> dict[str, str]:
        """Inputs of a restoration besides the models; at 100 % nothing is ranked, so no histogram is needed."""
        inputs = {name: path for name, path in self.evaluate_inputs(wildcards).items() if name != "model"}
        if self._ranks(wildcards):
            inputs["histogram"] = f"{self._changes(wildcards)}/histogram.parquet"
        return inputs

    def loading(self, wildcards: Wildcards) -> list[str]:
        """Whether the model's tokenizer needs a BOS token, and what it computes in unless that is left to the job."""
        return ["--bos", self.study.models[wildcards.model].bos, *self._computing]

    def _beside(self, stage: str) -> list[str]:
        if stage == "mastery_quality" and (quality := self.study.experiments.mastery):
            return quality.tables
        texts = [TEXTS] if stage == "mastery" and self.study.probing.keep_texts else []
        return [*([f"{BESIDE[stage]}.parquet"] if stage in BESIDE else []), *texts]

    def _ranks(self, wildcards: Wildcards) -> bool:
        return float(wildcards.ratio) < 100 and bool(ranking(wildcards.criterion))

    def _changes(self, wildcards: Wildcards) -> str:
        measure = f"{ranking(wildcards.criterion)}-{wildcards.region}"
        return str(Path(self.model(wildcards)).with_name("changes") / measure)

    def _answering(self, wildcards: Wildcards) -> list[str]:
        given = [*self.loading(wildcards), *options(self.study.evaluation, EvaluationSettings.model_fields)]
        given += ["--dev", self.paths.facts] if self.study.evaluation.dev_facts else []
        given += self.sets.tests(wildcards)
        if self._reprobed(wildcards):
            probing = self.study.probing.model_dump(include=set(MASTERY_FIELDS))
            given += ["--templates", self.templates(wildcards), "--probing", json.dumps(probing)]
        return given

    def _reprobed(self, wildcards: Wildcards) -> bool:
        # The few-shot baseline is the base model with another prompt: its mastery is known.
        return self.study.evaluation.reprobe > 0 and wildcards.strategy != FEWSHOT

    def _pretrained(self, wildcards: Wildcards) -> bool:
        return self.study.models[wildcards.model].source == "pretrain"


def _of_model(path: Callable[[str], str]) -> Callable[[Any], str]:
    return lambda wildcards: path(wildcards.model)
