"""Sampling on the tree of prefixes against plain sampling, token by token and sample by sample."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from probe_tables import prompts_of
from sftlens import inference
from sftlens.errors import DataError
from tiny import tiny_model

EOS = 2
VOCABULARY = 6
CRITICAL = {5: 20.52, 25: 52.62}
"""Chi-square at p = 0.001, by degrees of freedom."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return tiny_model(tmp_path_factory.mktemp("model"))


def small_model() -> PreTrainedModel:
    """Return a model of six tokens, so that every continuation occurs."""
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.12,
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return LlamaForCausalLM(config).eval()


def streams_of(count: int) -> list[bytes]:
    return [bytes([place % 256, place // 256]) * 8 for place in range(count)]


def sample(
    model: PreTrainedModel,
    prompts: Sequence[list[int]],
    found: Callable[[int, list[int]], bool],
    *,
    samples: int = 10,
    steps: int = 5,
    temperature: float = 0.7,
    eos: int = EOS,
    batch_tokens: int = 10**6,
    streams: Sequence[bytes] | None = None,
) -> list[int]:
    hits = np.zeros(len(prompts), dtype=np.int64)
    for batch in inference.sample(
        model,
        prompts,
        streams or streams_of(len(prompts)),
        lambda places, tokens: [found(place, new) for place, new in zip(places, tokens, strict=True)],
        samples=samples,
        temperature=temperature,
        max_new_tokens=steps,
        eos=eos,
        batch_tokens=batch_tokens,
    ):
        hits[batch.indices] = batch.hits
    return [int(count) for count in hits]


def probabilities(model: PreTrainedModel, ids: list[int], temperature: float = 0.7) -> np.ndarray:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1].double()
    return torch.softmax(logits / temperature, -1).numpy()


def chi_square(counts: np.ndarray, expected: np.ndarray) -> float:
    return float(((counts - expected) ** 2 / expected).sum())


def test_the_first_and_the_second_token_have_the_models_distribution() -> None:
    model, prompt, samples = small_model(), [3, 4, 1, 5], 4000

    def count(wanted: list[int]) -> int:
        return sample(model, [prompt], lambda _, new: new == wanted, samples=samples, steps=2)[0]

    others = [token for token in range(VOCABULARY) if token != EOS]
    first = probabilities(model, prompt)
    ones = np.array([count([token]) for token in others])
    ended = samples - ones.sum()
    observed, expected = np.append(ones, ended), samples * np.append(first[others], first[EOS])
    assert expected.min() > 20
    assert chi_square(observed, expected) < CRITICAL[5]
    pairs = np.array([[count([a, b]) for b in others] for a in others])
    second = np.stack([probabilities(model, [*prompt, a]) for a in others])
    ends = ones - pairs.sum(1)
    assert (ends >= 0).all()
    observed = np.concatenate([pairs, ends[:, None]], 1)
    expected = ones[:, None] * np.concatenate([second[:, others], second[:, [EOS]]], 1)
    assert expected.min() > 5
    assert chi_square(observed, expected) < CRITICAL[5 * 5]


def reference(
    model: PreTrainedModel,
    prompts: list[list[int]],
    found: Callable[[int, list[int]], bool],
    samples: int,
    steps: int,
) -> list[int]:
    """Ancestral sampling, each sample by itself, the whole text computed afresh for each token."""
    hits = []
    for place, (prompt, stream) in enumerate(zip(prompts, streams_of(len(prompts)), strict=True)):
        key = int.from_bytes(stream, "little")
        uniforms = np.random.Generator(np.random.Philox(key=key)).random((samples, steps))
        hits.append(0)
        for row in uniforms:
            new: list[int] = []
            for uniform in row:
                cumulative = probabilities(model, prompt + new).cumsum()
                token = int((cumulative <= uniform * cumulative[-1]).sum())
                if token == EOS:
                    break
                new.append(token)
                if found(place, new):
                    hits[-1] += 1
                    break
    return hits


def deep(place: int, new: list[int]) -> bool:
    """Found at depth 1 to 5, or never: depends on the prompt and all tokens."""
    return (sum(new) + place) % 5 == 0 and len(new) >= place % 4


def test_each_sample_is_drawn_as_if_it_were_alone() -> None:
    model, prompts = small_model(), prompts_of(12, vocabulary=VOCABULARY, longest=5)
    wanted = reference(model, prompts, deep, samples=8, steps=5)
    assert len(set(wanted)) > 3
    assert sample(model, prompts, deep, samples=8) == wanted


def test_the_result_does_not_depend_on_the_cut_or_the_order_of_the_work(model: PreTrainedModel) -> None:
    prompts, streams = prompts_of(30), streams_of(30)
    wanted = sample(model, prompts, deep)
    assert 0 < sum(wanted) < 300
    for batch_tokens in (1, 300, 700):
        assert sample(model, prompts, deep, batch_tokens=batch_tokens) == wanted
    order = np.random.default_rng(0).permutation(30)
    moved = sample(
        model,
        [prompts[i] for i in order],
        lambda place, new: deep(int(order[place]), new),
        streams=[streams[i] for i in order],
    )
    assert moved == [wanted[i] for i in order]
    alone = [
        sample(model, [prompts[i]], lambda _, new, i=i: deep(i, new), streams=[streams[i]])[0]  # type: ignore[misc]
        for i in (0, 7, 29)
    ]
    assert alone == [wanted[i] for i in (0, 7, 29)]


def test_other_streams_give_other_samples(model: PreTrainedModel) -> None:
    prompts = [[5, 6, 7]] * 6
    assert len(set(sample(model, prompts, deep, samples=40))) > 1
    same = sample(model, prompts, lambda _, new: sum(new) % 3 == 0, streams=[b"\7" * 16] * 6)
    assert len(set(same)) == 1


def test_the_answer_is_looked_for_after_each_token(model: PreTrainedModel) -> None:
    asked: list[list[int]] = []

    def found(place: int, new: list[int]) -> bool:
        asked.append(list(new))
        return len(new) == 3 and new[0] % 2 == 0

    hits = sample(model, [[5, 6, 7]], found, samples=50, steps=6, eos=-1)
    assert len(set(map(tuple, asked))) == len(asked)
    assert {len(new) for new in asked} == {1, 2, 3, 4, 5, 6}
    assert all(new[:-1] in asked for new in asked if len(new) > 1)
    assert not any(new[0] % 2 == 0 for new in asked if len(new) > 3)
    assert 0 < hits[0] < 50


@pytest.mark.parametrize("steps", [1, 4])
def test_a_completion_stops_at_its_longest_length(model: PreTrainedModel, steps: int) -> None:
    lengths: set[int] = set()

    def found(place: int, new: list[int]) -> bool:
        lengths.add(len(new))
        return False

    assert sample(model, prompts_of(3), found, steps=steps) == [0, 0, 0]
    assert lengths == set(range(1, steps + 1))


def test_everything_is_found_when_all_samples_hold_it(model: PreTrainedModel) -> None:
    assert sample(model, prompts_of(5), lambda place, new: True, samples=7, eos=-1) == [7] * 5
    assert sample(model, prompts_of(5), lambda place, new: len(new) == 4, samples=7, eos=-1) == [7] * 5
    assert sample(model, [], lambda place, new: True) == []


def test_a_low_temperature_is_greedy(model: PreTrainedModel) -> None:
    prompts = prompts_of(6)
    best = inference.greedy(model, prompts, max_new_tokens=5, eos=EOS, batch_tokens=100)
    hits = sample(model, prompts, lambda place, new: new == best[place], temperature=1e-3)
    assert hits == [10] * 6


def finished(model: PreTrainedModel, prompts: list[list[int]], **options: Any) -> list[inference.Sampled]:
    fixed = {"samples": 10, "temperature": 0.7, "max_new_tokens": 5, "eos": EOS, "batch_tokens": 60}
    return list(inference.sample(model, prompts, streams_of(len(prompts)), all_deep, **{**fixed, **options}))


def all_deep(places: Sequence[int], tokens: Sequence[list[int]]) -> list[bool]:
    return [deep(place, new) for place, new in zip(places, tokens, strict=True)]


def test_the_outputs_are_those_of_all_samples() -> None:
    model, prompts = small_model(), prompts_of(12, vocabulary=VOCABULARY, longest=5)
    batches = finished(model, prompts, keep_outputs=True)
    assert sorted(place for batch in batches for place in batch.indices) == list(range(12))
    for batch in batches:
        for place, hits, outputs in zip(batch.indices, batch.hits, batch.outputs, strict=True):
            assert sum(count for _, count in outputs) == 10
            assert sum(count for new, count in outputs if new and deep(place, new)) == hits
            assert len({tuple(new) for new, _ in outputs}) == len(outputs)
            # A text ends where it was found, at EOS (left out), or at its longest.
            assert not any(deep(place, new[:end]) for new, _ in outputs for end in range(1, len(new)))
            assert not any(EOS in new or len(new) > 5 for new, _ in outputs)
    assert not any(batch.outputs for batch in finished(model, prompts))


def test_batches_that_are_done_are_left_out() -> None:
    model, prompts = small_model(), prompts_of(12, vocabulary=VOCABULARY, longest=5)
    whole = finished(model, prompts)
    assert len(whole) > 3
    rest = finished(model, prompts, done={0, 2})
    assert [batch.number for batch in rest] == [1, *range(3, len(whole))]
    for batch in rest:
        assert batch.indices == whole[batch.number].indices
        assert batch.hits.tolist() == whole[batch.number].hits.tolist()


def test_a_tree_that_outgrows_the_budget_is_computed_in_parts() -> None:
    model, prompts, rows = small_model(), [[3, 4, 1, place] for place in (0, 1, 3, 5)], []
    hook = model.register_forward_pre_hook(lambda *given: rows.append(given[2]["input_ids"].shape[0]), with_kwargs=True)
    free = finished(model, prompts, samples=200, batch_tokens=10**6)
    widest = max(rows)
    rows.clear()
    bound = finished(model, prompts, samples=200, batch_tokens=9 * 40)
    hook.remove()
    assert widest > 100 and max(rows) <= 40
    assert [batch.hits.tolist() for batch in bound] == [batch.hits.tolist() for batch in free]


def test_prompts_that_do_not_fit_are_refused(model: PreTrainedModel) -> None:
    with pytest.raises(DataError, match="context of 256"):
        sample(model, [[5] * 255], lambda place, tokens: False, steps=2)
