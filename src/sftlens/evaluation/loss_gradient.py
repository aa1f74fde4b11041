"""The gradient of the answers' loss of a base model: what a change does to first order is its inner product with it."""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import torch

from sftlens.errors import DataError
from sftlens.inference import prompts
from sftlens.models.safetensors_reader import SINGLE
from sftlens.models.safetensors_writer import TensorSpec, write_file
from sftlens.training.step import answer_loss, padded

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

LONGEST = 1 << 20
"""Tokens of a sample: nothing is cut."""


def compute(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", facts: pd.DataFrame, batch_tokens: int
) -> tuple[dict[str, torch.Tensor], float, int]:
    """Return the gradient of the loss of `facts` by parameter name, the loss, and the number of supervised tokens.

    The loss is that of fine-tuning (paper section 3): nats per supervised token, those of the answer and EOS, each
    question in its prompt, over all facts as one batch. `facts` has the columns question and object; `batch_tokens` is
    speed and memory only. The gradients are of the type that the model computes in. Raises DataError where there are
    no facts.
    """
    if facts.empty:
        raise DataError("no fact of this split and bucket: there is no loss to take the gradient of; name another one")
    samples = prompts.encode_samples(tokenizer, facts["question"].tolist(), facts["object"].tolist(), LONGEST)
    tokens = sum(sample.supervised for sample in samples)
    model.requires_grad_(True)
    model.zero_grad()
    size = max(1, batch_tokens // max(len(sample.input_ids) for sample in samples))
    total = 0.0
    for start in range(0, len(samples), size):
        loss = answer_loss(model, *padded(samples[start : start + size], model.device)) / tokens
        loss.backward()
        total += float(loss.detach())
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return gradients, total, tokens


def write(folder: Path, gradients: dict[str, torch.Tensor]) -> None:
    """Write the gradient as fp32 tensors with the parameters' names, in one safetensors file."""
    specs = [TensorSpec(name, tuple(tensor.shape), torch.float32) for name, tensor in sorted(gradients.items())]
    write_file(folder / SINGLE, specs, (gradients[spec.name].float() for spec in specs))
