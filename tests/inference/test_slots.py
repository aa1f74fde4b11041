"""Decoding in slots, as on a GPU but without its graphs, gives what decoding without them does."""

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel

from probe_tables import prompts_of
from sftlens import inference
from sftlens.inference import forward, slots
from sftlens.inference.forward import batches
from sftlens.inference.slots import Slots, rows_computed
from tiny import tiny_model

EOS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return tiny_model(tmp_path_factory.mktemp("model"), std=0.15)


@pytest.fixture
def in_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "on_one_gpu", lambda model: True)


def sampled(model: PreTrainedModel, batch_tokens: int) -> list[list[tuple[list[int], int]]]:
    prompts = prompts_of(6)
    streams = [bytes([place]) * 16 for place in range(len(prompts))]
    outputs: list[list[tuple[list[int], int]]] = [[] for _ in prompts]
    for batch in inference.sample(
        model,
        prompts,
        streams,
        lambda places, tokens: [len(new) > 2 and new[-1] % 5 == 0 for new in tokens],
        samples=10,
        temperature=1.0,
        max_new_tokens=8,
        eos=EOS,
        batch_tokens=batch_tokens,
        keep_outputs=True,
    ):
        for place, found in zip(batch.indices, batch.outputs, strict=True):
            outputs[place] = sorted(found)
    return outputs


@pytest.mark.parametrize("batch_tokens", [10**5, 700, 100])
def test_samples_are_the_same(model: PreTrainedModel, in_slots: None, batch_tokens: int) -> None:
    """Trees that fit, that part again and again, and rows that leave at every depth."""
    found = sampled(model, batch_tokens)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(slots, "on_one_gpu", lambda model: False)
        wanted = sampled(model, batch_tokens)
    assert found == wanted
    assert len({len(tokens) for ends in found for tokens, _ in ends}) > 3


def test_greedy_answers_are_the_same(model: PreTrainedModel, in_slots: None) -> None:
    prompts = prompts_of(6)
    ends = list(range(0, 400, 7))
    found = inference.greedy(model, prompts, max_new_tokens=12, eos=ends, batch_tokens=300)
    with pytest.MonkeyPatch.context() as without:
        without.setattr(slots, "on_one_gpu", lambda model: False)
        assert found == inference.greedy(model, prompts, max_new_tokens=12, eos=ends, batch_tokens=300)
    assert len({len(tokens) for tokens in found}) > 2


@torch.inference_mode()
def test_any_descent_of_rows_has_the_logits_of_its_own_tokens(model: PreTrainedModel) -> None:
    """Rows that end, part, and move to lower slots, at random; the slots are taken back and loaded again."""
    draw = np.random.default_rng(0)
    prompts = prompts_of(6)
    [batch] = batches(prompts, 10**6, 20, mixed=True)
    read = [list(prompts[place]) for place in batch.indices]
    _, state = forward.prefill(model, batch)
    room = Slots(model, 64, batch.longest + 20)
    now: forward.State | Slots = state
    for step in range(12):
        number = int(draw.integers(1, 64))
        parents = np.sort(draw.integers(0, len(read), number))
        tokens = draw.integers(3, 300, number)
        read = [[*read[parent], int(token)] for parent, token in zip(parents, tokens, strict=True)]
        logits, now = slots.read_on(model, now, parents, torch.from_numpy(tokens), room)
        alone = model(input_ids=torch.tensor([read[number // 2]])).logits[0, -1]
        torch.testing.assert_close(logits[number // 2], alone, rtol=1e-4, atol=1e-4)
        if step % 5 == 4:
            now = room.unload(model)


@torch.inference_mode()
def test_prompts_read_at_once_are_read_alike(model: PreTrainedModel) -> None:
    """On a GPU prompts of all lengths go through the model together."""
    [batch] = batches(prompts_of(8), 10**6, 20, mixed=True)
    assert len(batch.parts) > 1
    tokens, rows = torch.arange(3, 11), np.arange(8)
    for read in (forward.prefill, forward._read_padded):
        logits, state = read(model, batch)
        after, _ = slots.read_on(model, state, rows, tokens, Slots(model, 8, batch.longest + 1))
        found = (logits, after, state.lengths, state.mask)
        if read is forward.prefill:
            wanted = found
    for one, other in zip(wanted, found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_a_step_computes_few_empty_slots() -> None:
    for rows in range(1, 2000):
        assert rows <= rows_computed(rows) < rows + max(8, rows // 8 + 1)
    assert len({rows_computed(rows) for rows in range(1, 1025)}) < 60
