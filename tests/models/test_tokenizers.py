"""Tokenizers: which ones a checkpoint may bring, and how the others are refused."""

from pathlib import Path

import pytest

from sftlens.errors import ModelError
from sftlens.files import write_json
from sftlens.models import checkpoints
from tiny import tiny_tokenizer


def test_tokenizers_without_special_tokens(tmp_path: Path) -> None:
    tiny_tokenizer(bos=False).save_pretrained(tmp_path / "qwen")
    with pytest.raises(ModelError, match=r"qwen: the tokenizer has no BOS token; set `bos: none`"):
        checkpoints.load_tokenizer(tmp_path / "qwen")
    assert checkpoints.load_tokenizer(tmp_path / "qwen", "none").bos_token_id is None
    endless = tiny_tokenizer()
    endless.eos_token = None
    endless.save_pretrained(tmp_path / "endless")
    with pytest.raises(ModelError, match=r"endless: the tokenizer has no EOS token.*; set eos_token"):
        checkpoints.load_tokenizer(tmp_path / "endless", "none")


def test_a_tokenizer_that_ends_every_text_is_refused(tmp_path: Path) -> None:
    from tokenizers.processors import TemplateProcessing

    tokenizer = tiny_tokenizer()
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"ends every text with EOS.*add_eos_token"):
        checkpoints.load_tokenizer(tmp_path)


def test_unusable_tokenizers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no usable tokenizer.*put tokenizer\.json there"):
        checkpoints.load_tokenizer(tmp_path)
    write_json(tmp_path / "tokenizer_config.json", {"tokenizer_class": "ByT5Tokenizer"})
    with pytest.raises(ModelError, match=r"not a fast one.*add tokenizer\.json"):
        checkpoints.load_tokenizer(tmp_path)
    for damage in ("{", '{"version": "1.0", "model": {"type": "none"}}'):
        tiny_tokenizer().save_pretrained(tmp_path)
        (tmp_path / "tokenizer.json").write_text(damage)
        with pytest.raises(ModelError, match="no usable tokenizer"):
            checkpoints.load_tokenizer(tmp_path)
