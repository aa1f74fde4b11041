"""The generation settings that lie beside a model's weights."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sftlens.errors import ModelError
from sftlens.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

FILE = "generation_config.json"
TOKENS = ("bos_token_id", "eos_token_id", "pad_token_id")
"""The only settings that sftlens uses: it has its own way of decoding."""


def read_generation_config(folder: Path, model: "PreTrainedModel") -> None:
    """Give a model the generation settings that lie beside its weights, if there are any.

    Of settings that transformers would not load, or not save again beside a fine-tuned model, the token ids alone are
    taken; one line on stderr says so. Raises DataError or ModelError when the file is no JSON object.
    """
    from transformers import GenerationConfig

    path = folder / FILE
    if not path.is_file():
        return
    values = read_json(path)
    if not isinstance(values, dict):
        raise ModelError(f"{path}: is no JSON object; fetch it again, or delete it")
    for key in TOKENS:
        if values.get(key) is not None and not _ids(values[key]):
            raise ModelError(
                f"{path}: key {key!r} is {str(values[key])[:60]!r}, no token id; correct it or delete the file"
            )
    try:
        found = GenerationConfig.from_pretrained(folder)
        found.validate()
        found.to_json_string()
    except Exception as error:  # transformers raises what it likes: ValueError, OSError, TypeError, AttributeError ...
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        found = GenerationConfig(**{key: values[key] for key in TOKENS if key in values})
        print(
            f"{path}: transformers refuses these settings ({reason[:200]}); only its token ids are used "
            f"({', '.join(TOKENS)}): correct the file, or delete it",
            file=sys.stderr,
        )
    model.generation_config = found


def _ids(value: object) -> bool:
    """Whether a setting is a token id, or a list of some (-1 stands for none in old files)."""
    several = value if isinstance(value, list) else [value]
    return all(isinstance(one, int) and not isinstance(one, bool) for one in several)
