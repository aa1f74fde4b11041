"""Pretrains the embedded world's tiny LLaMA, with a tokenizer of its own, on one-line documents."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import PreTrainedTokenizerFast
from transformers.models.llama import LlamaConfig, LlamaForCausalLM

from sftlens.config.stages.model import Geometry, PretrainingSettings
from sftlens.errors import DataError, TrainingError
from sftlens.models.checkpoints import save_model
from sftlens.runtime.progress import bar

PAD, BOS, EOS = "<pad>", "<s>", "</s>"
PAD_ID, BOS_ID, EOS_ID = 0, 1, 2
SMALLEST_VOCABULARY = 259
"""The three special tokens and one token for each byte."""

BETAS = (0.9, 0.98)
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
WARM_UP_SHARE = 0.03
FINAL_LEARNING_RATE = 0.05
"""Share of the peak learning rate at which the cosine ends."""
REPORTED_STEPS = 100
"""Steps at the end whose mean loss is reported."""


def pretrain(
    corpus: Path,
    geometry: Geometry,
    settings: PretrainingSettings,
    out: Path,
    progress: Callable[..., Iterable[Any]] = bar,
    rank: int = 0,
    processes: int = 1,
) -> dict[str, float]:
    """Train tokenizer and model on a corpus and write them as a Hugging Face folder.

    The same corpus, geometry and settings (processes included) give the same bytes. With several processes each of
    them calls this; the first writes.

    Args:
        corpus: UTF-8 text, one document a line; a space at a line's end belongs to the document.
        geometry, settings: of the model, and of its training; the vocabulary is that of the tokenizer, too.
        out: folder to write (config, fp32 safetensors, fast tokenizer that adds BOS but no EOS).
        progress: wraps the iterable of steps, such as `sftlens.runtime.progress.bar`.
        rank, processes: which of how many processes that train together this is (torch's default group, gloo).

    Returns:
        Number of `documents`, `tokens` (one epoch, BOS and EOS counted) and `steps`; loss per token (nats)
        of the first step (`loss_first`) and of the last hundred, averaged (`loss_last`).

    Raises:
        DataError: the corpus is missing or empty.
        TrainingError: a document is too long, the vocabulary too small, or the loss no longer a number.
    """
    texts = read_documents(corpus)
    tokenizer = train_tokenizer(texts, geometry.vocab_size, settings.max_positions)
    documents = encode(tokenizer, texts, settings.max_positions)
    batches = list(make_batches(documents, settings))
    model = make_model(geometry, settings)
    losses = train(model, batches, settings, progress, rank, processes)
    if rank == 0:
        save_model(model, tokenizer, out)
    return {
        "documents": len(documents),
        "tokens": sum(map(len, documents)),
        "steps": len(losses),
        "loss_first": losses[0],
        "loss_last": float(np.mean(losses[-REPORTED_STEPS:])),
    }


def read_documents(corpus: Path) -> list[str]:
    """Return the lines of a corpus with their trailing spaces. Raises DataError when there are none."""
    if not corpus.is_file():
        raise DataError(f"{corpus}: no such file; write the world first (sftlens world)")
    texts = [line for line in corpus.read_text(encoding="utf-8").split("\n") if line.strip()]
    if not texts:
        raise DataError(f"{corpus}: the corpus is empty; write the world again (sftlens world)")
    return texts


def train_tokenizer(texts: Iterable[str], vocab_size: int, max_length: int) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `texts`.

    A space is put before a text's first word, so that a name has the same tokens wherever it stands.
    """
    if vocab_size < SMALLEST_VOCABULARY:
        raise TrainingError(
            f"geometry.vocab_size: {vocab_size} is too small for a byte-level tokenizer; "
            f"give at least {SMALLEST_VOCABULARY}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, BOS_ID)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD, model_max_length=max_length
    )


def encode(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Return each document's token ids between BOS and EOS. Raises TrainingError for one that is too long."""
    encodings = tokenizer.backend_tokenizer.encode_batch_fast(list(texts))
    documents = [[*encoding.ids, EOS_ID] for encoding in encodings]
    longest = max(documents, key=len)
    if len(longest) > max_length:
        raise TrainingError(
            f"pretraining.max_positions: a document has {len(longest)} tokens, more than {max_length}; "
            "raise max_positions or shorten the templates"
        )
    return documents


def make_model(geometry: Geometry, settings: PretrainingSettings) -> LlamaForCausalLM:
    """Return a randomly initialised fp32 LLaMA; the seed alone decides its weights."""
    config = LlamaConfig(
        vocab_size=geometry.vocab_size,
        hidden_size=geometry.hidden_size,
        intermediate_size=geometry.intermediate_size,
        num_hidden_layers=geometry.layers,
        num_attention_heads=geometry.heads,
        num_key_value_heads=geometry.kv_heads,
        tie_word_embeddings=geometry.tied,
        max_position_embeddings=settings.max_positions,
        pad_token_id=PAD_ID,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        dtype=torch.float32,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return LlamaForCausalLM(config)


def make_batches(documents: Sequence[Sequence[int]], settings: PretrainingSettings) -> Iterator[torch.Tensor]:
    """Yield batches of documents of equal length, in a seeded order: int64 tensors (documents, tokens).

    Equal lengths need neither padding nor a mask. A batch has about `batch_tokens` tokens, or fewer where the
    documents of a length are used up.
    """
    by_length: dict[int, list[Sequence[int]]] = {}
    for document in documents:
        by_length.setdefault(len(document), []).append(document)
    groups = [torch.tensor(by_length[length]) for length in sorted(by_length)]
    for epoch in range(settings.epochs):
        rng = np.random.default_rng([settings.seed, epoch])
        batches: list[torch.Tensor] = []
        for group in groups:
            shuffled = group[torch.from_numpy(rng.permutation(len(group)))]
            batches += shuffled.split(max(1, settings.batch_tokens // group.shape[1]))
        yield from (batches[i] for i in rng.permutation(len(batches)))


def train(
    model: LlamaForCausalLM,
    batches: Sequence[torch.Tensor],
    settings: PretrainingSettings,
    progress: Callable[..., Iterable[Any]] = bar,
    rank: int = 0,
    processes: int = 1,
) -> list[float]:
    """Train in place, one step a batch, and return each step's mean loss per predicted token (nats).

    AdamW with warm-up and cosine. Each process of the group takes its share of a batch's documents; the gradients are
    summed. Raises TrainingError when the loss is not finite, or the group has not `settings.processes` processes.
    """
    if processes != settings.processes:
        raise TrainingError(
            f"pretraining.processes is {settings.processes}, but {processes} of them run; start sftlens base, "
            "which starts the others"
        )
    parameters = list(model.parameters())
    # All gradients are views of one vector, with a last element for the loss: processes sum them in one call.
    sizes = [parameter.numel() for parameter in parameters]
    total = torch.zeros(sum(sizes) + 1)
    for parameter, gradient in zip(parameters, total[:-1].split(sizes), strict=True):
        parameter.grad = gradient.view_as(parameter)
    optimizer = torch.optim.AdamW(parameters, betas=BETAS, weight_decay=WEIGHT_DECAY, fused=True)
    model.train()
    losses = []
    for step, batch in enumerate(progress(batches, "pretraining")):
        optimizer.param_groups[0]["lr"] = learning_rate(step, len(batches), batch.numel(), settings)
        total.zero_()
        if len(batch) > rank:
            own = batch[rank::processes]
            # Every token after the first is predicted; logits of the last position are never computed.
            hidden = model.model(input_ids=own[:, :-1], use_cache=False).last_hidden_state
            logits = model.lm_head(hidden).flatten(0, 1)
            loss = functional.cross_entropy(logits, own[:, 1:].flatten()) * len(own) / len(batch)
            loss.backward()
            total[-1] = loss.detach()
        if processes > 1:
            torch.distributed.all_reduce(total)
        losses.append(total[-1].item())
        if not math.isfinite(losses[-1]):
            raise TrainingError(
                f"pretraining: the loss is {losses[-1]} at step {step + 1}; lower pretraining.learning_rate"
            )
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
    model.eval()
    return losses


def learning_rate(step: int, steps: int, tokens: int, settings: PretrainingSettings) -> float:
    """Return the rate of one step (from 0): linear warm-up, cosine, less for a batch with few tokens."""
    warm_up = max(1, round(WARM_UP_SHARE * steps))
    if step < warm_up:
        height = (step + 1) / warm_up
    else:
        cosine = 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))
        height = FINAL_LEARNING_RATE + (1 - FINAL_LEARNING_RATE) * cosine
    return settings.learning_rate * height * math.sqrt(min(1.0, tokens / settings.batch_tokens))
