"""Tiny random models of other kinds than LLaMA's: mixtures of experts, and text decoders with a multimodal wrapper."""

from pathlib import Path

import torch
import transformers
from transformers import PreTrainedModel

from tiny import tiny_tokenizer

_TEXT = {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
_TEXT |= {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 256}
_TEXT |= {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
_TEXT |= {"initializer_range": 0.2}  # wide, so that answers differ between prompts
_SIGLIP = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
_SIGLIP |= {"image_size": 28, "patch_size": 14}
_EXPERTS = {"num_experts_per_tok": 2}
_ROPE = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
_QWEN_VL = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 32}
KINDS = {
    "mixtral": ("MixtralForCausalLM", {**_TEXT, **_EXPERTS, "num_local_experts": 4}),
    "qwen3_moe": ("Qwen3MoeForCausalLM", {**_TEXT, **_EXPERTS, "num_experts": 4, "moe_intermediate_size": 16}),
    "gemma3_text": ("Gemma3ForCausalLM", {**_TEXT, "sliding_window": 16}),
    "gemma3": (
        "Gemma3ForConditionalGeneration",
        {
            "text_config": {**_TEXT, "sliding_window": 16},
            "vision_config": _SIGLIP,
            "mm_tokens_per_image": 4,
            "image_token_index": 399,
            "boi_token_index": 398,
            "eoi_token_index": 397,
        },
    ),
    "qwen2_5_vl": (
        "Qwen2_5_VLForConditionalGeneration",
        {
            "text_config": {**_TEXT, "rope_parameters": _ROPE},
            "vision_config": {**_QWEN_VL, "fullatt_block_indexes": [0]},
        },
    ),
    "qwen3_vl": (
        "Qwen3VLForConditionalGeneration",
        {
            "text_config": {**_TEXT, "rope_parameters": _ROPE},
            "vision_config": {**_QWEN_VL, "deepstack_visual_indexes": [0]},
        },
    ),
}


def other_model(folder: Path, kind: str, seed: int = 0) -> PreTrainedModel:
    """Save and return a random model of one of KINDS, with a tokenizer."""
    class_name, values = KINDS[kind]
    config = transformers.AutoConfig.for_model(kind, **values)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: PreTrainedModel = getattr(transformers, class_name)(config).eval()
    model.save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return model
