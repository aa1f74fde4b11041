"""The models of one repair, one in memory at a time, and what stands for each of them."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens.config.repair import RepairSettings
from sftlens.errors import ModelError
from sftlens.models import checkpoints, identity
from sftlens.models.delta.reader import open_tensors
from sftlens.repair.candidates import Candidate, Methods
from sftlens.restoration.pairs import Pair

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE, FINETUNED = "base", "fine-tuned"
Who = str | Candidate
"""BASE, FINETUNED, or the setting that a restored model is made with."""


def check_same_kind(base: Path, finetuned: Path) -> None:
    """Raise ModelError unless both models have one architecture."""
    configs = [checkpoints.read_config(folder) for folder in (base, finetuned)]
    kinds = [config.model_type for config in configs]
    if kinds[0] != kinds[1]:
        raise ModelError(
            f"{finetuned}/config.json: model_type is {kinds[1]!r}, that of the base {base} is {kinds[0]!r}; give the "
            "base model that was fine-tuned"
        )


class Models:
    """Loads the base, the fine-tuned model, or a restored one, which is streamed into memory and never written."""

    def __init__(self, base: Path, finetuned: Path, settings: RepairSettings, device: str | None) -> None:
        """Check that the models fit together. Raises ModelError, ConfigError (region)."""
        self.folders = {BASE: identity.resolve(base), FINETUNED: identity.resolve(finetuned)}
        check_same_kind(*self.folders.values())
        tensors = [open_tensors(folder) for folder in self.folders.values()]
        pair = Pair(tensors[0], tensors[1], settings.region)
        self.methods = Methods(pair, settings)
        self.tokenizer = cache(self._tokenizer)
        self._device = device
        self._held: tuple[Who, PreTrainedModel] | None = None

    def get(self, who: Who) -> "PreTrainedModel":
        """Return a model; the one that was held before is let go first."""
        if self._held is None or self._held[0] != who:
            self._held = None
            restored = isinstance(who, Candidate)
            method: Callable[..., Any] | None = self.methods.of(who) if isinstance(who, Candidate) else None
            folder = self.folders[FINETUNED if restored else str(who)]
            self._held = who, checkpoints.load_model(folder, device=self._device, transform=method)
        return self._held[1]

    def vocabulary(self) -> int:
        """Return the number of tokens that both models have."""
        return min(checkpoints.read_config(f).get_text_config().vocab_size for f in self.folders.values())

    def _tokenizer(self, who: Who) -> "PreTrainedTokenizerBase":
        return checkpoints.load_tokenizer(self.folders[BASE if who == BASE else FINETUNED], "own")
