"""What the sections share: the results file, clocks, models of random weights, prompts as long as real ones."""

import gc
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerFast

LLAMA_3_8B = {
    "vocab_size": 128256,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}
TINY = {
    "vocab_size": 800,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
DTYPES = {torch.bfloat16: "BF16", torch.float32: "F32"}


@dataclass
class Bench:
    """One run: where it computes, how large, and what it has found so far."""

    device: torch.device
    tiny: bool
    out: Path
    found: dict[str, Any] = field(default_factory=dict)
    section: str = ""
    until: float = 0.0
    """When the section's time is over, seconds of `time.monotonic`."""
    _large: PreTrainedModel | None = None

    @property
    def geometry(self) -> dict[str, Any]:
        """What models are made of here."""
        return TINY if self.tiny else LLAMA_3_8B

    def left(self) -> float:
        """Return the seconds that the section has left."""
        return self.until - time.monotonic()

    def row(self, name: str, value: object, unit: str = "", **more: object) -> None:
        """Print a number and write it to the results file at once, so that a run that is cut off loses nothing."""
        self.found.setdefault("rows", []).append(
            {"section": self.section, "name": name, "value": value, "unit": unit, **more}
        )
        shown = f"{value:,.3g}" if isinstance(value, float) and abs(value) < 1000 else f"{value:,.0f}"
        notes = ", ".join(
            f"{key.replace('_', ' ')} {part:,.3g}" if isinstance(part, float) else f"{key.replace('_', ' ')} {part}"
            for key, part in more.items()
        )
        print(f"| {self.section} | {name} | {shown} {unit} | {notes} |")
        self.write()

    def write(self) -> None:
        """Write the results file."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")

    def ceiling(self, name: str) -> float:
        """Return what the section `ceilings` measured, 1 if it was not run."""
        return next((row["value"] for row in self.found.get("rows", []) if row["name"] == name), 1.0)

    def wait(self) -> None:
        """Wait until the GPU has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, call: Callable[[], object]) -> float:
        """Return the wall time of a call, the device's work included."""
        self.wait()
        start = time.perf_counter()
        call()
        self.wait()
        return time.perf_counter() - start

    def best(self, call: Callable[[], object], times: int = 5) -> float:
        """Return the least wall time of several calls, after one that does not count."""
        call()
        return min(self.seconds(call) for _ in range(times))

    def peak(self) -> float:
        """Return the most bytes of the GPU's memory that were in use since the last call."""
        if self.device.type != "cuda":
            return 0.0
        used = torch.cuda.max_memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        return float(used)

    def large(self) -> PreTrainedModel:
        """Return the bf16 model of the whole geometry, made once."""
        self._large = self._large or self.model()
        return self._large

    def drop(self) -> None:
        """Free the large model's memory."""
        self._large = None
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def model(
        self, dtype: torch.dtype = torch.bfloat16, layers: int | None = None, seed: int = 0, **more: Any
    ) -> PreTrainedModel:
        """Return a LLaMA of random weights, made where it is used."""
        geometry = self.geometry | ({"num_hidden_layers": layers} if layers else {}) | more
        torch.manual_seed(seed)
        default = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            with self.device:
                model = LlamaForCausalLM(LlamaConfig(**geometry, max_position_embeddings=512))
        finally:
            torch.set_default_dtype(default)
        return model.eval()


class InMemory:
    """A checkpoint whose tensors are where the GPU reads them; what `Pair` uses of a TensorFolder."""

    def __init__(self, tensors: dict[str, torch.Tensor]) -> None:
        self.folder, self.tensors, self.names = Path("memory"), tensors, list(tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.tensors[name].shape)

    def dtype(self, name: str) -> str:
        return DTYPES[self.tensors[name].dtype]

    def get(self, name: str) -> torch.Tensor:
        return self.tensors[name]


def tokenizer(size: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer of `size` tokens, a word each; texts are joined as a byte-level BPE's are."""
    words = ["<pad>", "<s>", "</s>", *(f"Ġw{number}" for number in range(size - 3))]
    built = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<pad>"))
    built.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=False)]
    )
    built.decoder = decoders.ByteLevel()
    built.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=built, bos_token="<s>", eos_token="</s>", pad_token="<pad>", clean_up_tokenization_spaces=False
    )


def facts(count: int, size: int, templates: int = 21, seed: int = 0) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return facts, and sentences about them of 10 to 24 tokens, as templates have with a LLaMA's tokenizer."""
    draw = np.random.default_rng(seed)

    def words(number: int) -> str:
        return " ".join(f"w{word}" for word in draw.integers(0, size - 3, number))

    table = pd.DataFrame(
        [
            {
                "fact_id": str(i),
                "relation": "R",
                "subject": words(int(draw.integers(3, 8))),
                "aliases": [words(1)],
                "question": words(int(draw.integers(9, 18))),
            }
            for i in range(count)
        ]
    )
    return table, {"R": [f"{words(int(draw.integers(3, 9)))} {{subject}} {words(3)}" for _ in range(templates)]}


def generate(model: PreTrainedModel, prompts: Sequence[Sequence[int]], rows: int, **options: Any) -> list[list[int]]:
    """Return new tokens by `generate`, prompts sorted by length, `rows` prompts a batch, padded on the left."""
    outputs = []
    order = sorted(prompts, key=len)
    for start in range(0, len(order), rows):
        part = order[start : start + rows]
        gaps = [len(part[-1]) - len(ids) for ids in part]
        ids = torch.tensor([[0] * gap + list(ids) for gap, ids in zip(gaps, part, strict=True)])
        mask = torch.tensor([[0] * gap + [1] * (ids.shape[1] - gap) for gap in gaps])
        made = model.generate(
            input_ids=ids.to(model.device), attention_mask=mask.to(model.device), pad_token_id=0, **options
        )
        outputs += made[:, ids.shape[1] :].tolist()
    return outputs
