"""Greedy generation against transformers' own; batches; prompts that do not fit."""

from collections import Counter
from pathlib import Path
from typing import Any

import accelerate
import pytest
import torch
from transformers import PreTrainedModel

from probe_tables import prompts_of
from sftlens import inference
from sftlens.errors import DataError, ModelError
from tiny import CLASSES, Architecture, tiny_model, tiny_tokenizer

EOS = 2


def theirs(model: PreTrainedModel, prompt: list[int], steps: int, eos: int) -> list[int]:
    """Return what transformers itself generates, without the prompt."""
    ids = torch.tensor([prompt])
    generate: Any = model.generate
    out = generate(
        ids,
        attention_mask=torch.ones_like(ids),
        do_sample=False,
        max_new_tokens=steps,
        eos_token_id=eos,
        pad_token_id=0,
    )
    tokens: list[int] = out[0, len(prompt) :].tolist()
    return tokens


def gap(model: PreTrainedModel, prefix: list[int], a: int, b: int) -> float:
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([prefix])).logits[0, -1].float()
    return abs(float(logits[a] - logits[b])) / float(logits.abs().max())


@pytest.mark.parametrize("arch", CLASSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [False, True])
def test_greedy_equals_transformers(tmp_path: Path, arch: Architecture, dtype: torch.dtype, tied: bool) -> None:
    model, prompts = tiny_model(tmp_path, arch, dtype, tied), prompts_of(12)
    free = inference.greedy(model, prompts, max_new_tokens=12, eos=-1, batch_tokens=30)
    assert {len(output) for output in free} == {12}
    # A token that stands in the middle of an answer ends it when it is EOS.
    eos = Counter(token for output in free for token in output[2:6]).most_common(1)[0][0]
    ours = inference.greedy(model, prompts, max_new_tokens=12, eos=eos, batch_tokens=1000)
    assert len({len(output) for output in ours}) > 1
    for prompt, output in zip(prompts, ours, strict=True):
        other = theirs(model, prompt, 12, eos)
        if output == other:
            continue
        # bfloat16 rounds differently in a batch: where two tokens all but tie, either may come first.
        assert dtype == torch.bfloat16
        same = next(i for i, (a, b) in enumerate(zip(output, other, strict=False)) if a != b)
        assert gap(model, prompt + output[:same], output[same], other[same]) < 0.02


def test_a_sliding_window_shorter_than_the_prompt() -> None:
    torch.manual_seed(0)
    config, model_class = CLASSES["mistral"]
    model = model_class(
        config(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            sliding_window=5,
            initializer_range=0.3,
        )
    ).eval()
    prompts = prompts_of(10, vocabulary=50)
    free = inference.greedy(model, prompts, max_new_tokens=8, eos=-1, batch_tokens=1000)
    eos = Counter(token for output in free for token in output[2:6]).most_common(1)[0][0]
    ours = inference.greedy(model, prompts, max_new_tokens=8, eos=eos, batch_tokens=1000)
    assert ours == [theirs(model, prompt, 8, eos) for prompt in prompts]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedModel:
    return tiny_model(tmp_path_factory.mktemp("model"))


def test_answers_end_with_eos_and_leave_the_others_alone(model: PreTrainedModel) -> None:
    prompts = prompts_of(40, seed=1)
    free = inference.greedy(model, prompts, max_new_tokens=10, eos=-1, batch_tokens=100)
    for eos in {token for output in free[:2] for token in output}:
        cut = [output[: output.index(eos) + 1] if eos in output else output for output in free]
        assert inference.greedy(model, prompts, max_new_tokens=10, eos=eos, batch_tokens=10**6) == cut
    assert inference.greedy(model, [], max_new_tokens=10, eos=EOS, batch_tokens=100) == []


def test_any_of_several_tokens_ends_an_answer(model: PreTrainedModel) -> None:
    prompts = prompts_of(20)
    free = inference.greedy(model, prompts, max_new_tokens=10, eos=-1, batch_tokens=100)
    ends = [token for token, _ in Counter(token for output in free for token in output[2:6]).most_common(2)]
    cut = [output[: min((output.index(token) + 1 for token in ends if token in output), default=10)] for output in free]
    assert inference.greedy(model, prompts, max_new_tokens=10, eos=ends, batch_tokens=10**6) == cut
    assert len({output[-1] for output in cut}) > 1


def test_a_model_ends_where_its_generation_settings_say_so(model: PreTrainedModel) -> None:
    model.generation_config.eos_token_id = [EOS, 7]
    assert inference.ends(model, tiny_tokenizer()) == [EOS, 7]
    model.generation_config.eos_token_id = None
    assert inference.ends(model, tiny_tokenizer()) == [EOS]


def test_progress_counts_the_prompts(model: PreTrainedModel) -> None:
    seen: list[int] = []
    inference.greedy(
        model, prompts_of(9), max_new_tokens=1, eos=EOS, batch_tokens=24, progress=lambda n: seen.append(n)
    )
    assert sum(seen) == 9 and len(seen) > 3


def test_prompts_that_begin_alike_are_begun_once(model: PreTrainedModel) -> None:
    heads = [[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [5, 6, 7, 8, 21, 22, 23, 24, 25, 26], [30] * 10]
    prompts = [[*heads[i % 3], 40 + i, 50 + i] for i in range(24)]
    counted: list[torch.Size] = []
    hook = model.register_forward_pre_hook(
        lambda module, args, given: counted.append(given["input_ids"].shape), with_kwargs=True
    )
    ours = inference.greedy(model, prompts, max_new_tokens=4, eos=EOS, batch_tokens=10**6)
    hook.remove()
    assert counted[:2] == [(3, 10), (24, 2)]
    assert ours == [theirs(model, prompt, 4, EOS) for prompt in prompts]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("batch_tokens", [1, 60, 10**6])
def test_batches_keep_to_their_budget(batch_tokens: int, mixed: bool) -> None:
    prompts = prompts_of(30)
    made = list(inference.batches(prompts, batch_tokens, 2, mixed=mixed))
    assert sorted(place for batch in made for place in batch.indices) == list(range(30))
    for batch in made:
        assert [row for part in batch.parts for row in part.tolist()] == [prompts[place] for place in batch.indices]
        assert len(batch.indices) * (batch.longest + 2) <= max(batch_tokens, batch.longest + 2)
        assert mixed or len(batch.parts) == 1
    if batch_tokens == 10**6:
        assert len(made) == (1 if mixed else len({len(prompt) for prompt in prompts}))


def test_first_logits_are_those_after_each_prompt(model: PreTrainedModel) -> None:
    prompts = prompts_of(9)
    with torch.inference_mode():
        wanted = [model(input_ids=torch.tensor([prompt])).logits[0, -1] for prompt in prompts]
    seen = 0
    for places, logits in inference.first_logits(model, prompts, 30):
        assert logits.dtype == torch.float32
        for place, row in zip(places, logits, strict=True):
            torch.testing.assert_close(row, wanted[place], rtol=1e-4, atol=1e-4)
            seen += 1
    assert seen == 9


def test_prompts_that_do_not_fit_are_refused(model: PreTrainedModel) -> None:
    def ask(length: int, token: int = 5) -> None:
        inference.greedy(model, [[token] * length], max_new_tokens=6, eos=EOS, batch_tokens=100)

    ask(250)
    with pytest.raises(DataError, match=r"a prompt of 251 tokens and 6 new ones .* context of 256 .* lower max_new"):
        ask(251)
    with pytest.raises(DataError, match="context of 256"):
        list(inference.first_logits(model, [[5] * 256], 100))
    with pytest.raises(DataError, match="no token"):
        ask(0)
    with pytest.raises(ModelError, match=r"token id 400 .* vocabulary of 400; use the tokenizer"):
        ask(3, token=400)


def test_logits_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    torch.nn.init.constant_(model.lm_head.weight, float("nan"))
    with pytest.raises(ModelError, match="NaN or Inf"):
        inference.greedy(model, [[5, 6]], max_new_tokens=2, eos=EOS, batch_tokens=100)


def test_a_model_spread_over_devices_answers_alike(tmp_path: Path) -> None:
    model, prompts = tiny_model(tmp_path / "model"), prompts_of(20)

    def answers(spread: PreTrainedModel) -> tuple[list[list[int]], list[list[int]]]:
        greedy = inference.greedy(spread, prompts, max_new_tokens=6, eos=EOS, batch_tokens=200)
        found = inference.sample(spread, prompts, [bytes([i] * 16) for i in range(20)],
                                  lambda places, tokens: [new[-1] % 7 == 0 for new in tokens], samples=5,
                                  temperature=1.0, max_new_tokens=4, eos=EOS, batch_tokens=200)  # fmt: skip
        return greedy, [batch.hits.tolist() for batch in found]

    wanted = answers(model)
    last = len(model.model.layers) - 1
    places = {"model.embed_tokens": "cpu", "model.rotary_emb": "cpu", "model.norm": "cpu", "lm_head": "cpu"}
    places |= {f"model.layers.{i}": "disk" if i == last else "cpu" for i in range(last + 1)}
    # The last layer's weights come from the disk each time it runs, as they would come from another device.
    spread = accelerate.dispatch_model(model, places, main_device="cpu", offload_dir=tmp_path / "disk")
    assert next(spread.model.layers[last].parameters()).device.type == "meta"
    assert answers(spread) == wanted
