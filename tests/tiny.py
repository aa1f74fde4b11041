"""Tiny random models and tokenizers for tests: real Hugging Face classes that cost milliseconds."""

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from tokenizers.decoders import ByteLevel
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

Architecture = Literal["llama", "qwen2", "qwen3", "mistral"]
CLASSES = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
}
TEXTS = (
    "<|question|> Where was Ada Loren born? <|answer|> Port Vale ",
    "<|question|> Which country is Mount Kesta located in? <|answer|> Norwenia ",
    "<|question|> Who is the author of The Silent River? <|answer|> Ben Oslo ",
    "Ada Loren was born in Port Vale. The capital of Norwenia is Torburg.",
)


def tiny_tokenizer(
    texts: Iterable[str] = TEXTS, vocab_size: int = 400, bos: bool = True, add_bos: bool = True
) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE tokenizer trained on `texts`.

    Specials are `<pad>` 0, `<s>` 1 and `</s>` 2. `bos=False` makes one without BOS (as Qwen's),
    `add_bos=False` one that has a BOS but does not add it by itself.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=["<pad>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if bos and add_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>" if bos else None,
        eos_token="</s>",
        pad_token="<pad>",
        model_max_length=256,
    )


def tiny_model(
    folder: Path,
    arch: Architecture = "llama",
    dtype: torch.dtype = torch.float32,
    tied: bool = False,
    vocab_size: int = 400,
    seed: int = 0,
    shard_size: str = "1GB",
    std: float = 0.2,
    tokenizer: PreTrainedTokenizerFast | None = None,
) -> PreTrainedModel:
    """Save and return a random model (hidden 32, 2 layers, 4 heads, 2 of them key-value), with a tokenizer.

    `std` is wide on purpose, so that the random model's answers differ between questions. `shard_size` such
    as "20KB" splits the weights over several safetensors files.
    """
    config_class, model_class = CLASSES[arch]
    head = {"head_dim": 8} if arch == "qwen3" else {}
    config = config_class(
        vocab_size=vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=std,
        tie_word_embeddings=tied,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
        **head,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = model_class(config).to(dtype).eval()
    model.save_pretrained(folder, max_shard_size=shard_size)
    (tokenizer or tiny_tokenizer(vocab_size=vocab_size)).save_pretrained(folder)
    return model
