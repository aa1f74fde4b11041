"""The configuration of a study: one strict pydantic model, with a docstring per field."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, field_validator, model_validator

from sftlens.config.choices import Ranking, Reverting, StrategyName, StrategySettings
from sftlens.config.data import FactsSettings
from sftlens.config.divergence import DivergenceSettings
from sftlens.config.evaluation import EvaluationSettings
from sftlens.config.launch import Launch
from sftlens.config.mastery import ProbingSettings
from sftlens.config.mastery_quality import QualitySettings
from sftlens.config.model import BaseSettings
from sftlens.config.rates import PlanSettings
from sftlens.config.repair import RepairStudy
from sftlens.config.restoration import RestorationSettings
from sftlens.config.template_choice import TemplateChoice
from sftlens.config.training import FinetuneSettings
from sftlens.config.world import WorldSettings
from sftlens.settings import Location, Settings
from sftlens.strategies import DEFAULT

TrainSet = Literal["D0", "D1", "D2", "D3", "D4", "mixed"]
Scale = int | Literal["all"]
RESERVED = {"models", "facts"}
RESERVED_MODELS = {"figures", "tables", "logs", "partial", "repair"}
Seed = Annotated[int, Field(ge=0)]
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
REGION = re.compile(r"transformer|attention|mlp|embedding|all|layers\d+-\d+|re:[^/\s{}]+")

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


class Model(BaseSettings):
    """A base model and how it is probed and started."""

    bos: Literal["require", "none"] = "require"
    """`require` refuses a tokenizer without BOS; `none` runs without one (Qwen)."""
    templates: Location | None = None
    """Completion templates for probing; unset: those of the study."""
    mastery: Location | None = None
    """A finished mastery table (Parquet) to use instead of probing."""
    launch: Launch = Launch()
    """Nodes, GPUs and processes of its jobs."""

    @model_validator(mode="after")
    def _source(self) -> Self:
        if self.source == "pretrain" and self.path:
            raise ValueError("`source: pretrain` makes the model here and takes no `path`; set source: path or hub")
        if self.source != "pretrain" and not self.path:
            raise ValueError(f"`source: {self.source}` needs `path`: a folder, or a model id on the hub")
        if self.source == "hub" and not self.revision:
            raise ValueError("`source: hub` needs `revision`: a commit (40 hexadecimal digits), a branch or a tag")
        if self.source == "pretrain" and self.geometry is None:
            raise ValueError("`source: pretrain` makes the model here and needs its `geometry`; add it")
        _ = self.shape  # raises what is wrong with it
        return self


def _layers(region: str) -> range:
    """Layers of a region `layersA-B`, both ends included; none for any other region."""
    first, _, last = region.removeprefix("layers").partition("-")
    return range(int(first), int(last) + 1) if last else range(0)


def _distinct(values: list[Any]) -> list[Any]:
    twice = [v for i, v in enumerate(values) if v in values[:i]]
    if twice:
        raise ValueError(f"{twice[0]!r} stands there twice; list every value once")
    return values


def _positive(values: list[Scale]) -> list[Scale]:
    if any(v != "all" and int(v) < 1 for v in values):
        raise ValueError("a scale is a positive number of examples or `all` (n = 0 is the key `base`)")
    return values


Scales = Annotated[list[Scale], AfterValidator(_distinct), AfterValidator(_positive)]
Seeds = Annotated[list[Seed], AfterValidator(_distinct)]


class _Axes(Settings):
    models: list[str] = []
    """Names of models; empty: all models of the study."""
    train_sets: list[TrainSet] = ["D0", "D1", "D2", "D3", "D4"]
    """Mastery buckets to train on, or `mixed`."""
    scales: Scales = []
    """Numbers of training examples, or `all`; left out: those of the study."""
    seeds: Seeds = [0]
    """Training sets (and runs) of each numbered scale; left out: those of the study."""
    all_seeds: Seeds = [0]
    """Training sets of the scale `all` (the paper has one)."""
    strategies: list[StrategyName] = [DEFAULT]
    """Ways of fine-tuning; figures and tables show `full`."""

    @field_validator("models", "train_sets", "strategies", "ratios", check_fields=False)
    @classmethod
    def _listed_once(cls, values: list[Any]) -> list[Any]:
        return _distinct(values)


class Scaling(_Axes):
    """Accuracy against the number of training examples (Figs. 2, 4, 6; Table 2)."""

    base: bool = True
    """Also evaluate the base model: with the fine-tuning prompt, and with solved examples before it."""
    shots: int = Field(5, ge=0)
    """Solved examples of that few-shot baseline; 0 leaves it out."""


class Divergence(_Axes):
    """KL divergence of the first predicted token (Fig. 5)."""

    base: bool = True
    """Also measure n = 0: the base model in the place of the fine-tuned one."""


class Restoration(_Axes):
    """Accuracy after restoring the most-changed parameters (Tables 4 and 6)."""

    ratios: list[float] = []
    """Percent of the region's parameters that are set back."""
    criteria: list[Reverting] = ["relative"]
    """How parameters are ranked; `relative` is the paper's. `interpolation` moves all of them towards the base instead,
    so that as much of the sum of squared changes is reverted as by `relative`."""
    regions: list[str] = ["transformer"]
    """Which parameters are ranked and restored: transformer, attention, mlp, embedding, all or layersA-B."""

    @field_validator("ratios")
    @classmethod
    def _percent(cls, values: list[float]) -> list[float]:
        if any(not 0 < v <= 100 for v in values):
            raise ValueError("a ratio is a percentage above 0 and at most 100 (k = 0 is the cell itself)")
        return values

    @field_validator("regions")
    @classmethod
    def _known(cls, values: list[str]) -> list[str]:
        for value in values:
            if not REGION.fullmatch(value):
                raise ValueError(
                    f"unknown region {value!r}; choose one of transformer, attention, mlp, embedding, all, "
                    "layersA-B (blocks of layers, such as layers0-3)"
                )
            if value.startswith("layers") and len(_layers(value)) == 0:
                raise ValueError(f"region {value!r} is empty; name the lower layer first")
        return values


class Concentration(_Axes):
    """Share of the total relative change that few parameters hold (Table 3)."""

    criteria: list[Ranking] = ["relative"]
    """Measures of change."""
    regions: list[str] = ["transformer"]
    """Which parameters are counted: the same names."""


class Blocks(_Axes):
    """Accuracy after restoring every parameter of a block of layers (Table 11)."""

    size: int = Field(4, ge=1)
    """Layers of a block."""


class MasteryQuality(QualitySettings):
    """How good the measurement of mastery is: certainty, test and retest, variance; in a world of ours, exposure."""

    models: list[str] = []
    """Names of models; empty: all models of the study."""


class Experiments(Settings):
    """The named experiments; cells that several share run once."""

    mastery: MasteryQuality | None = None
    """How good the measurement of mastery is."""
    scaling: Scaling | None = None
    """Accuracy against the number of examples."""
    divergence: Divergence | None = None
    """KL divergence at the first predicted token."""
    restoration: Restoration | None = None
    """Restoring the most-changed parameters."""
    concentration: Concentration | None = None
    """How concentrated the change is."""
    blocks: Blocks | None = None
    """Restoring blocks of layers."""


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
    strategies: StrategySettings = StrategySettings()
    """Settings of fine-tuning strategies; `full` has none."""
    evaluation: EvaluationSettings = EvaluationSettings()
    """How questions are answered."""
    divergence: DivergenceSettings = DivergenceSettings()
    """How the divergence is measured."""
    restoration: RestorationSettings = RestorationSettings()
    """How parameters are restored."""
    plan: PlanSettings = PlanSettings()
    """Rates that `snakemake plan` reckons with; they change no job."""
    repair: RepairStudy | None = None
    """Repairing a model that was fine-tuned elsewhere (docs/repair.md)."""
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

    @model_validator(mode="after")
    def _something_to_do(self) -> Self:
        if not self.models and not self.repair:
            raise ValueError("key 'models' is missing or empty; name at least one model, or one to `repair`")
        if self.models and "experiments" not in self.model_fields_set:
            raise ValueError("key 'experiments' is missing; say what is run with the models (config/README.md)")
        return self

    @model_validator(mode="after")
    def _known_models(self) -> Self:
        for name, experiment in self.experiments:
            for model in experiment.models if experiment else []:
                if model not in self.models:
                    raise ValueError(
                        f"experiments.{name}.models: there is no model {model!r}; models has {', '.join(self.models)}"
                    )
        return self

    @model_validator(mode="after")
    def _known_layers(self) -> Self:
        for name, experiment in self.experiments:
            for region in getattr(experiment, "regions", []):
                for model in experiment.models or self.models:
                    layers = self.models[model].shape.layers
                    if _layers(region) and _layers(region)[-1] >= layers:
                        raise ValueError(
                            f"experiments.{name}.regions: {region!r} is beyond {model!r}, whose last layer "
                            f"is {layers - 1}; lower it, or list other models for this experiment"
                        )
        return self

    @model_validator(mode="after")
    def _quota_can_be_met(self) -> Self:
        for name, experiment in self.experiments if self.probing.quota else ():
            for key, value in (("scales", "all"), ("train_sets", "mixed")):
                if value in getattr(experiment, key, []):
                    raise ValueError(
                        f"experiments.{name}.{key}: `{value}` needs every train fact probed, and probing.quota leaves "
                        f"some out; take `{value}` out, or unset probing.quota"
                    )
        return self

    @property
    def notice(self) -> str:
        """What every page and figure says when a model was pretrained here; else empty."""
        if not any(model.source == "pretrain" for model in self.models.values()):
            return ""
        return SYNTHETIC if self.facts.source == "world" else SAMPLED
