"""Tokenizers: which ones a checkpoint may bring, and how the others are refused."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer, Gemma3TextConfig, LlamaConfig, PreTrainedTokenizerFast

from sftlens.errors import ModelError
from sftlens.files import write_json
from sftlens.models import checkpoints
from sftlens.models.tokenizer import TEXT
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


def test_a_tokenizer_whose_library_panics_is_refused(tmp_path: Path) -> None:
    tiny_tokenizer().save_pretrained(tmp_path)
    damaged = json.loads((tmp_path / "tokenizer.json").read_text())
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    single = [{"SpecialToken": {"id": "<other>", "type_id": 0}}, sequence]
    damaged["post_processor"] = {
        "type": "TemplateProcessing", "single": single, "pair": [sequence, sequence], "special_tokens": {},
    }  # fmt: skip
    write_json(tmp_path / "tokenizer.json", damaged)
    with pytest.raises(ModelError, match="no usable tokenizer"):
        checkpoints.load_tokenizer(tmp_path)


def byte_level(folder: Path, **configuration: Any) -> PreTrainedTokenizerFast:
    """Save a ByteLevel tokenizer that has an unknown token, under another label in tokenizer_config.json."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer, raw.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet, special = pre_tokenizers.ByteLevel.alphabet(), ["<pad>", "<s>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator([TEXT], trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(folder)
    values = json.loads((folder / "tokenizer_config.json").read_text())
    write_json(folder / "tokenizer_config.json", {**values, **configuration})
    return tokenizer


@pytest.mark.parametrize("label", ["CodeLlamaTokenizer", "GemmaTokenizer", "T5Tokenizer", None])
def test_a_tokenizer_that_loses_text_by_its_label_is_read_from_its_file(
    tmp_path: Path, label: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = byte_level(tmp_path, tokenizer_class=label)
    if label is None:  # then the model's type decides
        Gemma3TextConfig(vocab_size=400).save_pretrained(tmp_path)
    try:
        lossy = AutoTokenizer.from_pretrained(tmp_path)
        assert lossy.decode(lossy(TEXT, add_special_tokens=False)["input_ids"]) != TEXT
    except (TypeError, ValueError):
        assert label == "T5Tokenizer"
    capsys.readouterr()
    found = checkpoints.load_tokenizer(tmp_path)
    assert capsys.readouterr().err.count("tokenizer.json is read as it stands") == 1
    text = "Zürich, 東京: 1987\n\tof  the"
    assert found(text, add_special_tokens=False)["input_ids"] == wanted(text, add_special_tokens=False)["input_ids"]
    assert found.decode(found(text, add_special_tokens=False)["input_ids"]) == text
    assert (found.bos_token_id, found.eos_token_id, found.pad_token_id) == (1, 2, 0)


def test_a_token_that_a_label_adds_is_not_taken_where_the_model_has_none_for_it(tmp_path: Path) -> None:
    wanted = byte_level(tmp_path, tokenizer_class="Qwen2Tokenizer")
    rows = len(wanted)
    LlamaConfig(vocab_size=rows).save_pretrained(tmp_path)
    found = checkpoints.load_tokenizer(tmp_path)
    assert max(found.get_vocab().values()) < rows


def test_a_tokenizer_that_loses_text_in_any_way_is_refused(tmp_path: Path) -> None:
    byte_level(tmp_path, tokenizer_class="GemmaTokenizer")
    values = json.loads((tmp_path / "tokenizer.json").read_text())
    values["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
    write_json(tmp_path / "tokenizer.json", values)
    with pytest.raises(ModelError, match=r"the tokenizer loses text: 'Where was.*comes back as.*TokenizersBackend"):
        checkpoints.load_tokenizer(tmp_path)


def test_tokenizers_that_put_a_space_before_a_text_or_lower_it_are_taken(tmp_path: Path) -> None:
    for name, key, value in (
        ("metaspace", "pre_tokenizer", pre_tokenizers.ByteLevel(add_prefix_space=True)),
        ("uncased", "normalizer", normalizers.Lowercase()),
    ):
        tokenizer = tiny_tokenizer()
        setattr(tokenizer.backend_tokenizer, key, value)
        tokenizer.save_pretrained(tmp_path / name)
        checkpoints.load_tokenizer(tmp_path / name)
