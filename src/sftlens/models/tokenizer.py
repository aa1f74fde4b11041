"""Reading a model's tokenizer, and finding out whether it keeps text."""

import sys
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

from sftlens.errors import ModelError, panicked
from sftlens.files import read_json
from sftlens.gate import FileName
from sftlens.models.configuration import said
from sftlens.models.folders import refuse_pointer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXT = "Where was Ada Loren born in 1987? In Port Vale."
"""What every tokenizer of a language model should give back as it was."""
FILES = ("tokenizer.json", "tokenizer_config.json", "tokenizer.model")


@with_config(ConfigDict(extra="allow"))
class TokenizerConfig(TypedDict):
    """What tokenizer_config.json may say; transformers would follow a file's name to wherever it leads."""

    fast_tokenizer_files: NotRequired[list[FileName] | None]
    tokenizer_class: NotRequired[str | None]
    model_max_length: NotRequired[float | None]


SHAPES = {"tokenizer_config.json": TokenizerConfig, "special_tokens_map.json": dict, "added_tokens.json": dict}
"""What the small files of a tokenizer hold; transformers' messages do not say which one is damaged."""


def read_tokenizer(folder: Path, rows: int | None) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of a folder, as transformers reads it, or else as tokenizer.json describes it.

    From version 5 on, transformers builds some tokenizers anew as the class in tokenizer_config.json, or the model's
    type, has them: where that is not the tokenizer that the model was trained with, spaces are lost without a word, or
    tokens are added. Then tokenizer.json itself is read, and one line on stderr says so.

    Every token's id lies below `rows`, those of the model's embedding; None: there is no model. Raises ModelError where
    there is no tokenizer, or none that gives back a plain text and has an embedding for each token.
    """
    from transformers import PreTrainedTokenizerFast
    from transformers.models.auto.tokenization_auto import AutoTokenizer

    for name in FILES:
        refuse_pointer(folder / name)
    for name, shape in SHAPES.items():
        if (folder / name).is_file():
            read_json(folder / name, shape, ModelError, finite=False)
    kinds: list[Any] = [AutoTokenizer, *([PreTrainedTokenizerFast] if (folder / "tokenizer.json").is_file() else [])]
    faults: list[str] = []
    for kind in kinds:
        try:
            tokenizer: PreTrainedTokenizerBase = kind.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
            fault = _fault(tokenizer, rows)
        except BaseException as error:  # the tokenizers library raises plain Exception on a damaged file, or panics
            if not (isinstance(error, Exception) or panicked(error)):
                raise
            fault = f"no usable tokenizer ({said(error)}); put tokenizer.json there"
        if fault is None:
            if faults:
                print(f"{folder}: tokenizer.json is read as it stands; by its class {faults[0]}", file=sys.stderr)
            return tokenizer
        faults.append(fault)
    raise ModelError(f"{folder}: {faults[0]}")


def _fault(tokenizer: "PreTrainedTokenizerBase", rows: int | None) -> str | None:
    """Return what is wrong with a tokenizer, and the remedy; None: nothing."""
    tokenizer(TEXT)  # with the special tokens, whose template may name one that is none
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    back = str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
    if back.strip().casefold() != TEXT.casefold():  # some put a space before a text, some know no capitals
        return (
            f"the tokenizer loses text: {TEXT!r} comes back as {back[:100]!r}; use the tokenizer.json that the model "
            "was trained with, and tokenizer_class TokenizersBackend in tokenizer_config.json"
        )
    # A token without a row of the embedding cannot be read; rows without a token are common and harmless.
    token, largest = max(tokenizer.get_vocab().items(), key=itemgetter(1))
    if rows is not None and largest >= rows:
        return (
            f"the tokenizer's token {token!r} has id {largest}, outside the model's vocabulary of {rows} (vocab_size "
            "in config.json); use the tokenizer that belongs to the model, or take tokens that were added to it out of "
            "tokenizer.json"
        )
    return None
