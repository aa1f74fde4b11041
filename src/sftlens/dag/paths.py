"""Where the files of a study lie, and the options that its jobs are given."""

import json
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

from sftlens.config.stages.data import EXPOSURES, FactsSettings
from sftlens.config.stages.evaluation import OF_BASE
from sftlens.config.stages.mastery import SAMPLING_FIELDS, SPEED_FIELDS
from sftlens.config.stages.model import FLAWED, BaseSettings
from sftlens.config.study import Instruct, Study
from sftlens.dag.cells import Product, quota_needs
from sftlens.dag.recorded import LOCATIONS, RESULTS, content, data, identifying, sentences, short_hash
from sftlens.settings import Settings

PREPARING = set(FactsSettings.model_fields) - {"source", "path"}
"""Settings of how the facts are prepared, wherever they come from."""


class Paths:
    """Paths of one study, relative to the working directory; made once, as its keys read the files from outside.

    Facts, base models and mastery lie outside the study's folder, under a hash of the settings they depend
    on and of the content of files from outside, wherever those lie, so that several studies share them.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        facts: dict[str, Any] = {"facts": study.facts.model_dump(exclude=set(LOCATIONS)), "data": data(study)}
        if study.facts.source == "world":
            facts["world"] = study.world.model_dump()
        self.facts_key = short_hash(facts)
        templates = sentences(study.templates) or study.templates
        self.corpus_key = short_hash({"facts": facts, "world": study.world.model_dump(), "templates": templates})
        self.root = f"{RESULTS}/{study.study}"
        """Folder of the study."""
        self.state, self.shared_state = f"{self.root}/.state", f"{RESULTS}/models/.state"
        """Finished and unfinished work of the study's own stages, and of those that studies share."""
        self.world = f"{RESULTS}/facts/world-{self.corpus_key}"
        """Folder of the corpus, the calibration facts and, for the embedded world, its questions."""
        self.exposures = f"{self.world}/{EXPOSURES}"
        """Every fact of that world, with how often the corpus states it."""
        self.facts = f"{RESULTS}/facts/facts-{self.facts_key}/facts.parquet"
        """Table of the prepared facts."""
        self.base_folder = cache(lambda model: self._folder(model, self.study.models[model]))
        """Model -> the folder of its pointer and, if it is pretrained here, its checkpoint."""
        self.mastery_folder = cache(self._mastery_folder)
        """Model -> the folder of its mastery table."""

    def base(self, model: str) -> str:
        """Pointer to a base model: folder, revision, size and hash of each file."""
        return f"{self.base_folder(model)}/base.json"

    def flawed(self, model: str) -> str:
        """What a model was taught falsely, where it is pretrained so (`pretraining.flawed`)."""
        return f"{self.base_folder(model)}/{FLAWED}"

    def instruct(self, model: str) -> str:
        """Pointer to the instruct model that was made from a base model, beside it; "" without one."""
        entry = self.study.models[model].instruct
        return f"{self._folder(model, entry)}/base.json" if entry else ""

    def templates(self, model: str) -> str:
        """Completion templates that probe a model."""
        entry = self.study.models[model]
        if entry.templates or entry.source != "pretrain":
            return entry.templates or self.study.templates
        drawing = self.study.probing.model_dump(include=set(SAMPLING_FIELDS))
        key = {"choice": self.study.template_choice.model_dump(), "probing": drawing}
        return f"{self.base_folder(model)}/templates-{short_hash(key)}.yaml"

    def _mastery_folder(self, model: str) -> str:
        entry, probing = self.study.models[model], self.study.probing
        templates = self.templates(model)
        # Those that are chosen here lie under a hash of what they depend on, and are not there when a run begins.
        made = templates.startswith(self.base_folder(model))
        key = {
            "base": self._base_key(entry), "facts": self.facts_key,
            "templates": templates if made else sentences(templates) or templates,
            "probing": probing.model_dump(exclude=SPEED_FIELDS), "bos": entry.bos,
            "import": content(entry.mastery) or entry.mastery,
            "needs": quota_needs(self.study, model),
        }  # fmt: skip
        key |= {} if self.study.compute_dtype == "auto" else {"compute_dtype": self.study.compute_dtype}
        return f"{RESULTS}/models/{model}/mastery-{short_hash(key)}"

    def mastery(self, model: str) -> str:
        """Facts with hits, trials, mastery and bucket, by one model."""
        return f"{self.mastery_folder(model)}/mastery.parquet"

    def quality_folder(self, model: str) -> str:
        """Folder of what is known of the quality of a model's mastery table."""
        wanted = self.study.experiments.mastery
        key = wanted.model_dump(exclude={"models"}) if wanted else {}
        return f"{self.mastery_folder(model)}/quality-{short_hash(key)}"

    def divergence_base(self, model: str) -> str:
        """The base model's half of the divergence, which all its cells share."""
        key = self.study.divergence.model_dump(include=set(OF_BASE))
        return f"{self.mastery_folder(model)}/divergence-{short_hash(key)}.parquet"

    def summary(self, product: Product) -> str:
        """Summary file of one product."""
        if product.stage == "mastery_quality":
            return f"{self.quality_folder(product.cell.model)}/summary.json"
        if product.stage == "mastery":
            return f"{self.mastery_folder(product.cell.model)}/mastery.json"
        return f"{self.root}/{product.path}"

    def _folder(self, model: str, entry: BaseSettings | Instruct) -> str:
        return f"{RESULTS}/models/{model}/base-{self._base_key(entry)}"

    def _base_key(self, entry: BaseSettings | Instruct) -> str:
        # A hub id says what it is; where a folder lies says nothing, and its name here is that of the model.
        key: dict[str, Any] = entry.model_dump(include=identifying(entry.source) - {"pretraining"})
        if entry.source == "pretrain":
            key |= {"pretraining": entry.pretraining.model_dump(), "corpus": self.corpus_key}
        return short_hash(key)

    def shared_work(self, products: Collection[Product]) -> list[tuple[str, str, str, str]]:
        """Return (whose, stage, output, log) of the jobs that products rest on but that are none themselves."""
        logs = f"{self.root}/logs"
        found = [("facts", "world", self.world, "world"), ("facts", "facts", self.facts, "facts")]
        for model in dict.fromkeys(p.cell.model for p in products):
            key, templates = Path(self.base_folder(model)).name, Path(self.templates(model))
            found.append((model, "base", self.base(model), f"{model}/{key}"))
            if instruct := self.instruct(model):
                found.append((model, "base", instruct, f"{model}/{Path(instruct).parent.name}"))
            if str(templates).startswith(self.base_folder(model)):
                name = f"templates-{key.removeprefix('base-')}-{templates.stem.removeprefix('templates-')}"
                found.append((model, "choose_templates", str(templates), f"{model}/{name}"))
        for model in dict.fromkeys(p.cell.model for p in products if p.stage == "divergence"):
            half = Path(self.divergence_base(model))
            found.append((model, "divergence_base", str(half), f"{model}/{half.parent.name}-{half.stem}"))
        for cell in dict.fromkeys((p.cell.model, p.cell.train_set, p.cell.seed) for p in products if p.cell.trained):
            place = f"{cell[0]}/{cell[1]}/order-seed{cell[2]}"
            found.append((place, "training_order", f"{self.root}/{place}.parquet", place))
        return [(whose, stage, output, f"{logs}/{log}.log") for whose, stage, output, log in found]

    def log(self, product: Product) -> str:
        """Log of the job that makes one product."""
        cell, name = product.cell, product.place.replace("/", "-")
        if product.stage == "mastery":
            name = Path(self.mastery_folder(cell.model)).name
        if product.stage == "mastery_quality":
            folder = Path(self.quality_folder(cell.model))
            name = f"{folder.parent.name}-{folder.name}"
        return f"{self.root}/logs/{cell.path}/{name}.log"


def options(settings: Settings, only: Iterable[str] | None = None) -> list[str]:
    """Return settings as the command-line options of a script; unset ones left out, nested ones as JSON."""
    arguments: list[str] = []
    for name, value in settings.model_dump().items():
        flag = "--" + name.replace("_", "-")
        if value is None or (only is not None and name not in only):
            continue
        if isinstance(value, bool):
            arguments.append(flag if value else f"--no-{flag[2:]}")
        else:
            arguments += [flag, json.dumps(value) if isinstance(value, dict) else str(value)]
    return arguments


def fact_options(study: Study) -> list[str]:
    """Return the options of sftlens facts: how the questions are prepared.

    Where the data lie is told by the environment (`common.smk`), so that moving them reruns nothing.
    """
    paths, facts = Paths(study), study.facts
    where = ["--world", paths.world] if facts.source == "world" else []
    where += ["--table"] if facts.source == "table" else []
    return where + options(facts, PREPARING)


def world_options(study: Study) -> list[str]:
    """Return the options of sftlens world: the invented world, or a corpus on a sample of real facts."""
    own = options(study.world)
    if study.facts.source == "world":
        return own + options(study.facts, ["relations"])
    source = "--table" if study.facts.source == "table" else "--entity-questions"
    return [*own, source, *options(study.facts, PREPARING)]
