"""The prompt's text, ids and labels, token by token (paper section 3)."""

import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from sftlens.errors import DataError, ModelError, TrainingError
from sftlens.inference import prompts
from sftlens.inference.prompts import MASKED
from sftlens.tasks import closed_book_qa
from tiny import tiny_tokenizer

QUESTION, ANSWER = "Where was Ada Loren born?", "Port Vale"


@pytest.fixture(scope="module")
def tokenizer():
    return tiny_tokenizer()


def words(split, vocabulary, normalizer=None):
    """A tokenizer of whole pieces, cut by `split`."""
    ids = {piece: i for i, piece in enumerate(["<s>", "</s>", "<unk>", *vocabulary])}
    raw = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    raw.pre_tokenizer = split
    if normalizer is not None:
        raw.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_text_is_the_papers():
    assert closed_book_qa.prompt("Q") == "<|question|> Q <|answer|>"
    assert closed_book_qa.target("A") == " A "


def test_labels_of_a_known_sample_token_by_token(tokenizer):
    sample = prompts.encode_samples(tokenizer, [QUESTION], [ANSWER], 64)[0]
    pieces = tokenizer.convert_ids_to_tokens(sample.input_ids)
    masked = [
        "<s>",
        "<|",
        "question",
        "|>",
        "ĠWhere",
        "Ġwas",
        "ĠAda",
        "ĠLoren",
        "Ġborn",
        "?",
        "Ġ<|",
        "answer",
        "|>",
    ]
    supervised = ["ĠPort", "ĠVale", "Ġ", "</s>"]
    assert pieces == masked + supervised
    assert sample.labels == [MASKED] * len(masked) + sample.input_ids[len(masked) :]
    assert sample.supervised == len(supervised)


def sentencepiece():
    """A tokenizer as LLaMA-2's: `▁` for a space and before the text, no pieces cut beforehand, bytes as a fallback."""
    words = ["▁Where", "▁was", "▁Ada", "▁born", "▁Port", "▁Vale", "question", "answer", "▁<"]
    merges = list(dict.fromkeys((word[:i], word[i]) for word in words for i in range(1, len(word))))
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    letters = sorted({*"|>?▁", *"".join(words)})
    pieces = dict.fromkeys(["<unk>", "<s>", "</s>", *bytes_, *letters, *(a + b for a, b in merges)])
    ids = {piece: i for i, piece in enumerate(pieces)}
    raw = Tokenizer(models.BPE(ids, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    raw.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def test_ids_and_labels_of_known_samples_of_a_sentencepiece_tokenizer():
    tokenizer = sentencepiece()
    prompt = [1, 318, 281, 312, 281, 260, 287, 290, 293, 297, 261, 318, 281, 317, 281, 260]
    assert " ".join(tokenizer.convert_ids_to_tokens(prompt)) == (
        "<s> ▁< | question | > ▁Where ▁was ▁Ada ▁born ? ▁< | answer | >"
    )
    known = {
        "Port Vale": ([301, 305, 282, 2], ["▁Port", "▁Vale", "▁", "</s>"]),
        "Ö": ([282, 198, 153, 282, 2], ["▁", "<0xC3>", "<0x96>", "▁", "</s>"]),
    }
    for answer, (ids, pieces) in known.items():
        sample = prompts.encode_samples(tokenizer, ["Where was Ada born?"], [answer], 64)[0]
        assert sample.input_ids == prompt + ids
        assert sample.labels == [MASKED] * len(prompt) + ids
        assert tokenizer.convert_ids_to_tokens(ids) == pieces
    assert prompts.encode_prompts(tokenizer, ["Where was Ada born?"])[0] == prompt


def test_prompt_is_what_the_sample_begins_with(tokenizer):
    prompt = prompts.encode_prompts(tokenizer, [QUESTION])[0]
    sample = prompts.encode_samples(tokenizer, [QUESTION], [ANSWER], 64)[0]
    assert sample.input_ids[: len(prompt)] == prompt
    assert all(label == MASKED for label in sample.labels[: len(prompt)])


def test_bos_is_there_exactly_once_or_never():
    expected = prompts.encode_prompts(tiny_tokenizer(), [QUESTION])[0]
    assert expected[0] == 1 and expected.count(1) == 1
    assert expected == tiny_tokenizer()(closed_book_qa.prompt(QUESTION))["input_ids"]
    assert prompts.encode_prompts(tiny_tokenizer(add_bos=False), [QUESTION])[0] == expected
    without = tiny_tokenizer()
    without.bos_token = None
    assert prompts.encode_prompts(without, [QUESTION])[0] == expected[1:]
    assert prompts.encode_samples(without, [QUESTION], [ANSWER], 64)[0].labels[0] == MASKED


def test_few_shot_prompt_repeats_the_form(tokenizer):
    ids = prompts.encode_prompts(tokenizer, [QUESTION], [("Q1?", "A1"), ("Q2?", "A2")])[0]
    text = "<|question|> Q1? <|answer|> A1 <|question|> Q2? <|answer|> A2 <|question|> "
    assert tokenizer.decode(ids) == f"<s>{text}{QUESTION} <|answer|>"


def test_many_samples_equal_each_alone(tokenizer):
    questions, answers = [QUESTION, "Who?"], [ANSWER, "Ünïcode"]
    alone = [prompts.encode_samples(tokenizer, [q], [a], 64)[0] for q, a in zip(questions, answers, strict=True)]
    assert prompts.encode_samples(tokenizer, questions, answers, 64) == alone
    assert prompts.encode_samples(tokenizer, [], [], 64) == []


def test_length_is_refused_never_cut(tokenizer):
    length = len(prompts.encode_samples(tokenizer, [QUESTION], [ANSWER], 64)[0].input_ids)
    prompts.encode_samples(tokenizer, [QUESTION], [ANSWER], length)
    with pytest.raises(DataError, match=f"has {length} tokens, more than max_length = {length - 1}"):
        prompts.encode_samples(tokenizer, [QUESTION], [ANSWER], length - 1)


def test_a_merge_across_the_border_is_refused():
    joining = words(pre_tokenizers.CharDelimiterSplit("|"), ["> A "])
    with pytest.raises(ModelError, match="'Who\\?': the tokenizer joins the end of the prompt"):
        prompts.encode_samples(joining, ["Who?"], ["A"], 64)[0]


def test_an_answer_that_the_tokenizer_drops_is_refused():
    dropping = words(pre_tokenizers.WhitespaceSplit(), [], normalizers.Replace("A", ""))
    with pytest.raises(TrainingError, match="no token of the answer 'A' is supervised"):
        prompts.encode_samples(dropping, ["Who?"], ["A"], 64)[0]


def test_an_empty_answer_and_a_missing_eos_are_refused(tokenizer):
    with pytest.raises(DataError, match="the answer is empty"):
        prompts.encode_samples(tokenizer, [QUESTION], [" "], 64)[0]
    endless = tiny_tokenizer()
    endless.eos_token = None
    with pytest.raises(ModelError, match="no EOS"):
        prompts.encode_samples(endless, [QUESTION], [ANSWER], 64)[0]
