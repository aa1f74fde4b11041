"""Mixtures of experts, and the text decoders of models that also read images, answer as transformers' generate."""

from pathlib import Path

import pytest
import torch

from other_models import KINDS, other_model
from sftlens import inference
from sftlens.models import checkpoints


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_answers_are_those_of_generate(tmp_path: Path, kind: str) -> None:
    reference = other_model(tmp_path, kind)
    model = checkpoints.load_model(tmp_path, device="cpu")
    generator = torch.Generator().manual_seed(0)
    prompts = [[1, *torch.randint(3, 390, (n,), generator=generator).tolist()] for n in (4, 9, 9, 20, 3)]
    found = inference.greedy(model, prompts, range(5), max_new_tokens=8, eos=[2], batch_tokens=4096)
    answers = set()
    for prompt, answer in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt])
        output = reference.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=8, do_sample=False, eos_token_id=2, pad_token_id=0
        )
        wanted = output[0, len(prompt) :].tolist()
        assert answer == (wanted[:-1] if wanted[-1] == 2 else wanted)
        answers.add(tuple(wanted))
    assert len(answers) == len(prompts)
