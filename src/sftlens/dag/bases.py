"""What the job of a base model is given, and that of the instruct model beside it: both are pointers to models."""

from sftlens.config.stages.model import PretrainingSettings
from sftlens.config.study import Instruct, Model, Study
from sftlens.dag.paths import Paths, options
from sftlens.dag.recorded import BASE_FIELDS, stamp
from sftlens.dag.sets import Wildcards


class Bases:
    """Functions of the rule `base`, whose wildcards are a model and the key of its pointer."""

    def __init__(self, study: Study, paths: Paths) -> None:
        self.study, self.paths = study, paths

    def stamp(self, wildcards: Wildcards) -> str:
        """The stamp of a local model."""
        entry = self._entry(wildcards)
        return stamp(entry.path) if entry.source == "path" else ""

    def corpus(self, wildcards: Wildcards) -> str | list[str]:
        """Folder of the text that a base model is pretrained on; nothing for an existing model."""
        return self.paths.world if self._pretraining(wildcards) else []

    def options(self, wildcards: Wildcards) -> list[str]:
        """Options of sftlens base."""
        entry, own = self._entry(wildcards), ["--name", wildcards.model]
        if not self._pretraining(wildcards):
            return own + options(entry, set(BASE_FIELDS) - {"pretraining"})
        return [*own, "--corpus", f"{self.paths.world}/corpus.txt", *options(entry, BASE_FIELDS)]

    def cpus(self, wildcards: Wildcards) -> int:
        """Processes that a base model is made by."""
        pretraining = self._pretraining(wildcards)
        return pretraining.processes if pretraining else 1

    def _entry(self, wildcards: Wildcards) -> Model | Instruct:
        entry = self.study.models[wildcards.model]
        beside = f"base-{wildcards.key}/" in self.paths.instruct(wildcards.model)
        return entry.instruct if entry.instruct and beside else entry

    def _pretraining(self, wildcards: Wildcards) -> PretrainingSettings | None:
        entry = self._entry(wildcards)
        return entry.pretraining if isinstance(entry, Model) and entry.source == "pretrain" else None
