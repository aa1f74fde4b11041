"""The configuration of a study: one strict pydantic model, with a docstring per field."""

import re
from itertools import product
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from sftlens.config.axes import Scales, Seeds, layers_of
from sftlens.config.experiments import Experiments, StrategySettings
from sftlens.config.rates import PlanSettings
from sftlens.config.repair import RepairStudy
from sftlens.config.stages.data import FactsSettings, WorldSettings
from sftlens.config.stages.evaluation import DivergenceSettings, StudyEvaluation
from sftlens.config.stages.mastery import ProbingSettings, TemplateChoice
from sftlens.config.stages.model import BaseSettings, ComputeType, Launch
from sftlens.config.stages.recipes import Recipe
from sftlens.config.stages.restoration import ChangesSettings
from sftlens.config.stages.training import FinetuneSettings, TaskFiles
from sftlens.data.buckets import BUCKETS, MIXED
from sftlens.doubts import DOUBTS
from sftlens.errors import ConfigError
from sftlens.registry import unknown
from sftlens.settings import Location, Settings
from sftlens.strategies import STRATEGIES, Strategy
from sftlens.tasks import DEFAULT, TASKS

RESERVED = {"models", "facts"}
RESERVED_MODELS = {"figures", "tables", "logs", "partial", "repair"}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SYNTHETIC = (
    "Synthetic world, 1 M parameters, pretrained here in minutes; exposures, QA share, learning rate and "
    "templates were set so that effects are visible. It demonstrates the instrument; it is no evidence for "
    "or against the paper or about any LLM."
)
SAMPLED = (
    "Tiny model, pretrained here in minutes on statements of a sample of real facts; exposures, QA share, "
    "learning rate and templates were set by us. It demonstrates the instrument; it is no evidence for or "
    "against the paper or about any LLM."
)
OWN_TABLE = SAMPLED.replace("a sample of real facts", "the facts of the study's own table")


class Instruct(Settings):
    """The instruct model made from a base model elsewhere, which is asked with its own chat template (Table 7)."""

    source: Literal["path", "hub"] = "hub"
    """`path` a Hugging Face folder, `hub` a model id and revision."""
    path: Location | None = None
    """Folder, or model id on the hub."""
    revision: str | None = None
    """Of the hub id, as that of the base model."""
    instruction: str = "Answer with the name alone, without a sentence."
    """A line before each question."""

    @model_validator(mode="after")
    def _sourced(self) -> Self:
        needs = ["path", "revision"] if self.source == "hub" else ["path"]
        if missing := [key for key in needs if not getattr(self, key)]:
            raise ValueError(f"`source: {self.source}` needs `{missing[0]}`")
        return self


class Model(BaseSettings):
    """A base model and how it is probed and started."""

    bos: Literal["require", "none"] = "require"
    """`require` refuses a tokenizer without BOS; `none` runs without one (Qwen)."""
    templates: Location | None = None
    """Completion templates for probing; unset: those of the study."""
    mastery: Location | None = None
    """A finished mastery table (Parquet) to use instead of probing."""
    instruct: Instruct | None = Field(None, exclude_if=lambda value: value is None)
    """The instruct model that was made from it: answers the test questions beside the base model."""
    launch: Launch = Launch()
    """Nodes, GPUs and processes of its jobs."""

    @model_validator(mode="after")
    def _planned(self) -> Self:
        _ = self.shape  # raises what is wrong with it
        return self


class Study(Settings):
    """One study: everything it makes is under results/<study>/."""

    study: str = "demo"
    """Name of the study and of its folder below results/."""
    facts: FactsSettings = FactsSettings()
    """The questions."""
    world: WorldSettings = WorldSettings()
    """The embedded world, and the corpus of a model that is pretrained here."""
    templates: Location = Field("config/relations.yaml", validate_default=True)
    """Completion templates of every relation; any file of the same form."""
    template_choice: TemplateChoice = TemplateChoice()
    """Which of them probe a model that is pretrained here."""
    models: dict[str, Model] = {}
    """The base models by name; none for a study that only repairs."""
    probing: ProbingSettings = ProbingSettings()
    """How mastery is measured."""
    finetuning: FinetuneSettings = FinetuneSettings()
    """How models are fine-tuned."""
    recipes: dict[str, Recipe] = {}
    """Training sets of one's own, by names that `train_sets` then knows."""
    tasks: dict[str, TaskFiles] = {}
    """Tasks to fine-tune on, by their names (docs/tasks.md), which `train_sets` then knows."""
    strategies: StrategySettings = StrategySettings()
    """Settings of fine-tuning strategies; `full` has none."""
    evaluation: StudyEvaluation = StudyEvaluation()
    """How questions are answered."""
    divergence: DivergenceSettings = DivergenceSettings()
    """How the divergence is measured."""
    restoration: ChangesSettings = ChangesSettings()
    """How parameters are restored."""
    plan: PlanSettings = PlanSettings()
    """Rates of what a job is expected to take: for `snakemake plan`, and for the time it asks a cluster for."""
    repair: RepairStudy | None = None
    """Repairing a model that was fine-tuned elsewhere (docs/repair.md)."""
    compute_dtype: ComputeType = "auto"
    """What all models compute in, on disk they stay as they are: `stored`, the type of their weights; `auto`, the same
    on GPUs, but float32 on CPUs without instructions for it, where it is 3 to 8 times as fast; or one of the types."""
    scales: Scales = []
    """Numbers of training examples, or `all`, of every experiment that lists none itself."""
    seeds: Seeds = [0]
    """Training sets (and runs) of each numbered scale, in every experiment that lists none itself."""
    experiments: Experiments = Experiments()
    """What is run."""

    @field_validator("study")
    @classmethod
    def _study_name(cls, value: str) -> str:
        if not NAME.fullmatch(value) or value in RESERVED:
            raise ValueError("use letters, digits, `.`, `_`, `-` (not `models` or `facts`, which are taken)")
        return value

    @field_validator("models")
    @classmethod
    def _model_names(cls, value: dict[str, Model]) -> dict[str, Model]:
        for name in value:
            if not NAME.fullmatch(name) or name in RESERVED_MODELS:
                taken = ", ".join(sorted(RESERVED_MODELS))
                raise ValueError(f"model name {name!r}: use letters, digits, `.`, `_`, `-` (taken: {taken})")
        return value

    @field_validator("recipes")
    @classmethod
    def _recipe_names(cls, value: dict[str, Recipe]) -> dict[str, Recipe]:
        taken = (*BUCKETS, MIXED, "base", *TASKS.names())
        for name in value:
            if not NAME.fullmatch(name) or name in taken:
                raise ValueError(f"recipe {name!r}: use letters, digits, `.`, `_`, `-` (taken: {', '.join(taken)})")
        return value

    @field_validator("tasks")
    @classmethod
    def _task_names(cls, value: dict[str, TaskFiles]) -> dict[str, TaskFiles]:
        known = [name for name in TASKS.names() if name != DEFAULT]
        for name in value:
            if name not in known:
                raise ValueError(str(unknown("task", name, known)))
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if not self.models and not self.repair:
            raise ValueError("key 'models' is missing or empty; name at least one model, or one to `repair`")
        if self.models and "experiments" not in self.model_fields_set:
            raise ValueError("key 'experiments' is missing; say what is run with the models (config/README.md)")
        if self.experiments.strategies and not self.evaluation.dev_facts:
            raise ValueError("experiments.strategies: settings are chosen on dev facts; set evaluation.dev_facts")
        again = "set evaluation.reprobe to 0" if self.evaluation.reprobe else "leave experiments.mastery out"
        for name, entry in self.models.items() if self.evaluation.reprobe or self.experiments.mastery else ():
            if entry.source == "pretrain" and entry.pretraining.flawed:
                raise ValueError(
                    f"models.{name}.pretraining.flawed: what it was taught is probed for once, and a second "
                    f"probe would take true answers, too; {again}"
                )
        for name, experiment in self.experiments:
            asked = (experiment.models if experiment else []) or self.models
            for model in asked:
                if model not in self.models:
                    raise ValueError(
                        f"experiments.{name}.models: there is no model {model!r}; models has {', '.join(self.models)}"
                    )
            for region, model in product(getattr(experiment, "regions", []), asked):
                layers = self.models[model].shape.layers
                if layers_of(region) and layers_of(region)[-1] >= layers:
                    raise ValueError(
                        f"experiments.{name}.regions: {region!r} is beyond {model!r}, whose last layer "
                        f"is {layers - 1}; lower it, or list other models for this experiment"
                    )
            rates = [self.finetuning.learning_rate, *getattr(experiment, "learning_rates", [])]
            sets = getattr(experiment, "train_sets", [])
            for train_set in sets:
                self._known_set(f"experiments.{name}.train_sets", train_set)
            for strategy, train_set, rate in product(getattr(experiment, "strategies", []), sets, rates):
                recipe, chosen = self.finetuning_on(train_set, rate), self.strategy(strategy)
                if "texts" in chosen.inputs and not self.probing.keep_texts:
                    raise ValueError(f"experiments.{name}.strategies: {strategy} needs `probing.keep_texts: true`")
                try:
                    chosen.check(recipe, train_set)
                except ConfigError as error:
                    raise ValueError(f"experiments.{name}.strategies: {error}") from None
                if train_set in self.tasks and chosen.recipe(recipe).early_stopping and not self.tasks[train_set].dev:
                    raise ValueError(f"key 'tasks.{train_set}.dev' is missing; early stopping looks at its examples")
            for key, value in (("scales", "all"), *(("train_sets", name) for name in (MIXED, *self.recipes))):
                if self.probing.quota and value in getattr(experiment, key, []):
                    raise ValueError(
                        f"experiments.{name}.{key}: `{value}` needs every train fact probed, and probing.quota leaves "
                        f"some out; take `{value}` out, or unset probing.quota"
                    )
        self._doubts()
        return self

    def _doubts(self) -> None:
        """Raise ValueError for an experiment that its models, recipes or tasks leave nothing to compare."""
        for doubt in DOUBTS:
            if not (axes := getattr(self.experiments, doubt.name)):
                continue
            for model in (axes.models or self.models) if doubt.pretrained_only else ():
                if self.models[model].source != "pretrain":
                    raise ValueError(f"experiments.{doubt.name}: not on {model!r}: {doubt.pretrained_only}")
            try:
                if doubt.check:
                    doubt.check(self, axes)
            except ValueError as error:
                raise ValueError(f"experiments.{doubt.name}: {error}") from None

    def _known_set(self, key: str, train_set: str) -> None:
        """Raise ValueError for a training set that there is not, or that lacks what it needs."""
        known = (*BUCKETS, MIXED, *self.recipes, *self.tasks)
        if train_set not in known:
            lacking = f"; a task needs its files under `tasks.{train_set}`" if train_set in TASKS.names() else ""
            raise ValueError(f"{key}: {unknown('training set', train_set, known)}{lacking}")
        parts = self.recipes[train_set].parts if train_set in self.recipes else {}
        if any(part.answers == "own" for part in parts.values()) and not self.probing.keep_texts:
            raise ValueError(f"recipes.{train_set}: `answers: own` needs `probing.keep_texts: true`")

    def finetuning_on(self, train_set: str, rate: float | None = None) -> FinetuneSettings:
        """Return how models are fine-tuned on a training set: of a task with its own prompt and length."""
        changes: dict[str, Any] = {"learning_rate": rate} if rate else {}
        if train_set in self.tasks:
            changes |= {"task": train_set, "max_length": self.tasks[train_set].limits(train_set)["max_length"]}
        return self.finetuning.model_copy(update=changes)

    def strategy(self, name: str) -> Strategy:
        """Return a strategy with the study's settings of it."""
        return STRATEGIES.get(name)(getattr(self.strategies, name, Settings()))

    @model_validator(mode="after")
    def _inputs_of_jobs(self) -> Self:
        """Refuse braces in a path that is an input of a rule: Snakemake has no way to write them there."""
        given = {"templates": self.templates, "facts.aliases": self.facts.aliases}
        for name, model in self.models.items():
            given |= {f"models.{name}.{key}": getattr(model, key) for key in ("templates", "mastery")}
        for name, task in self.tasks.items():
            given |= {f"tasks.{name}.{key}": getattr(task, key) for key in ("train", "test", "dev")}
        for name, recipe in self.recipes.items():
            given |= {f"recipes.{name}.parts.{part}.file": chosen.file for part, chosen in recipe.parts.items()}
        if self.repair:
            given |= {f"repair.{key}": getattr(self.repair, key) for key in ("facts", "task", "templates")}
        for key, path in given.items():
            if path and {"{", "}"} & set(path):
                raise ValueError(
                    f"key '{key}': {path!r} has braces, which Snakemake takes for a wildcard; rename the folder, or "
                    "give a link to it"
                )
        return self

    @property
    def notice(self) -> str:
        """What every page and figure says when a model was pretrained here; else empty."""
        if not any(model.source == "pretrain" for model in self.models.values()):
            return ""
        return {"world": SYNTHETIC, "table": OWN_TABLE}.get(self.facts.source, SAMPLED)
