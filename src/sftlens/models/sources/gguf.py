"""Models in GGUF files, the format of llama.cpp: dequantised once, exactly, into a folder of the user's cache."""

import sys
import tempfile
from collections import Counter
from pathlib import Path

from sftlens import files
from sftlens.errors import ModelError

MADE = "origin.json"
"""Written last; `identity.ORIGIN`, which shows up in summaries and model cards."""
LONGEST = 1 << 30
"""A tokenizer that claims a longer context than this has none of its own: it gets the model's."""


def folder(file: Path) -> Path:
    """Return the Hugging Face folder of the model in a GGUF file, made if it is not there.

    The weights are dequantised to float32, in which every value of a block of 4 to 8 bits is exact. The folder is
    found by the hash of the file's content, wherever the file lies. Raises ModelError when it is damaged or holds a
    model that transformers does not read from this format.
    """
    target = files.cache_folder("gguf", files.known_sha256(file))
    if not (target / MADE).is_file():
        print(f"{file}: dequantising it to float32, once, into {target}", file=sys.stderr)
        with files.atomic_path(target) as made:
            made.mkdir()
            _convert(file, made)
            files.make_readable(made)
    return target


def _convert(file: Path, made: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        from gguf import GGUFReader

        types = Counter(tensor.tensor_type.name for tensor in GGUFReader(file).tensors)
        # A folder of its own, so that nothing that lies beside the file is taken for a part of the model.
        with tempfile.TemporaryDirectory() as alone:
            Path(alone, "model.gguf").symlink_to(file.resolve())
            model = AutoModelForCausalLM.from_pretrained(alone, gguf_file="model.gguf", dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(alone, gguf_file="model.gguf")
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ModelError(
            f"{file}: no model can be read from this GGUF file ({type(error).__name__}: {reason}); give a model of "
            "LLaMA's, Qwen's or Mistral's kind, or the model's Hugging Face folder"
        ) from None
    if tokenizer.model_max_length > LONGEST:
        tokenizer.model_max_length = model.config.max_position_embeddings
    # The same weights as a model that knows nothing of its quantisation, which refuses to be saved.
    del model.config.quantization_config
    with torch.device("meta"):
        plain = type(model)(model.config)
    plain.load_state_dict(model.state_dict(), assign=True)
    plain.tie_weights()
    plain.generation_config = model.generation_config
    plain.save_pretrained(made)
    tokenizer.save_pretrained(made)
    kinds = ", ".join(f"{count} tensors {name}" for name, count in types.most_common())
    files.write_json(made / MADE, {"origin": f"dequantised to float32 from a GGUF file ({kinds})"})
