"""The prompt of fine-tuning and of answering: its text, its token ids, the labels of a training sample."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from sftlens.errors import DataError, ModelError, TrainingError
from sftlens.tasks import DEFAULT, TASKS

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_CHUNK = 1000
"""Texts that are tokenised at once."""
MASKED = -100
"""Label of a token that carries no loss (PyTorch's own convention)."""


@dataclass(frozen=True)
class Sample:
    """One training sample.

    Attributes:
        input_ids: BOS (where the tokenizer has one), prompt, answer, EOS.
        labels: of the same length; the token's id where it is supervised, MASKED elsewhere. Not shifted.
        phase: samples of a lower phase are trained first, in each epoch.
    """

    input_ids: list[int]
    labels: list[int]
    phase: int = 0

    @property
    def supervised(self) -> int:
        """Number of tokens that carry a loss."""
        return sum(label != MASKED for label in self.labels)


def encode_prompts(
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[str],
    examples: Sequence[tuple[str, str]] = (),
    task: str = DEFAULT,
) -> list[list[int]]:
    """Return the ids of each question's prompt, behind solved (question, answer) examples if there are any; no EOS.

    They begin with exactly one BOS where the tokenizer has one, else with none: it is put by id, so a tokenizer that
    adds it by itself and one that only has it give the same ids.

    The examples are the baseline of the base model at n = 0: in the form of fine-tuning, one after another, without
    an EOS between them.
    """
    if not questions:
        return []
    form = TASKS.get(task)
    solved = "".join(form.prompt(asked) + form.target(answer) for asked, answer in examples)
    texts = [solved + form.prompt(question) for question in questions]
    return [_bos(tokenizer) + ids for ids in token_ids(tokenizer, texts, add_special_tokens=False)]


def token_ids(
    tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], *, add_special_tokens: bool = True
) -> list[list[int]]:
    """Return the token ids of each text.

    Chunk by chunk: what the tokenizer keeps beside the ids takes several times their memory.
    """
    options = {"add_special_tokens": add_special_tokens, "return_attention_mask": False}
    found: list[list[int]] = []
    for start in range(0, len(texts), _CHUNK):
        found += cast("list[list[int]]", tokenizer(list(texts[start : start + _CHUNK]), **options)["input_ids"])
    # A text may begin with the BOS that the tokenizer puts there too.
    bos = tokenizer.bos_token_id
    return [ids[1:] if bos is not None and ids[:2] == [bos, bos] else ids for ids in found]


def bos_note(tokenizer: "PreTrainedTokenizerBase") -> str | None:
    """Return a sentence where questions begin with a BOS and completion templates do not; None where both are alike.

    The prompt of fine-tuning has one (paper section 3), a completion template has what the tokenizer adds (section 2).
    A tokenizer may have a BOS and add none (SmolLM2): a divergence then compares a model that reads one with a model
    that reads none.
    """
    bos = tokenizer.bos_token_id
    if bos is None or token_ids(tokenizer, ["A"])[0][:1] == [bos]:
        return None
    return (
        f"the tokenizer has the BOS {tokenizer.bos_token!r} but adds none: questions begin with it, completion "
        "templates do not. `bos: none` for the model (by hand: --bos none) leaves it out of both"
    )


def encode_samples(
    tokenizer: "PreTrainedTokenizerBase",
    questions: Sequence[str],
    answers: Sequence[str],
    max_length: int,
    task: str = DEFAULT,
) -> list[Sample]:
    """Return training samples: prompt and answer tokenised as one string, EOS by id, loss on answer and EOS.

    A token is supervised if its character span ends after the prompt. Nothing is ever cut off but the inputs of a task
    that says so (`shortened`).

    Raises DataError where a sample is longer than `max_length` tokens, or an answer is empty; TrainingError where no
    token of an answer would be supervised; ModelError where the tokenizer has no EOS, or joins the prompt's end with
    the answer's beginning, so that at inference the prompt's ids would differ from those seen in training.
    """
    if tokenizer.eos_token_id is None:
        raise ModelError(
            "the tokenizer has no EOS token, so no answer could end: set eos_token in tokenizer_config.json"
        )
    if not questions:
        return []
    form = TASKS.get(task)
    if form.cut:
        targets = token_ids(tokenizer, [form.target(answer) for answer in answers], add_special_tokens=False)
        questions = shortened(tokenizer, questions, [max_length - len(ids) - 1 for ids in targets], task)
    prompts = [form.prompt(question) for question in questions]
    texts = [prompt + form.target(answer) for prompt, answer in zip(prompts, answers, strict=True)]
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    full = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True)
    bos, eos = _bos(tokenizer), cast("int", tokenizer.eos_token_id)
    samples = []
    for i, (question, answer) in enumerate(zip(questions, answers, strict=True)):
        where, ids = f"question {question!r}", full["input_ids"][i]
        if ids[: len(prompt_ids[i])] != prompt_ids[i]:
            raise ModelError(
                f"{where}: the tokenizer joins the end of the prompt with the beginning of the answer, so the prompt "
                "has other ids in training than when the question is asked; take this question out of the facts, or "
                "use a tokenizer that splits before a space"
            )
        if not answer.strip():
            raise DataError(f"{where}: the answer is empty; give it an answer or take it out of the facts")
        # A token whose span ends after the prompt is supervised.
        ends = [end for _, end in full["offset_mapping"][i]]
        labels = [token if end > len(prompts[i]) else MASKED for token, end in zip(ids, ends, strict=True)]
        sample = Sample([*bos, *ids, eos], [MASKED] * len(bos) + labels + [eos])
        if sample.supervised < 2:  # EOS always counts, so one alone means that the answer itself does not
            raise TrainingError(
                f"{where}: no token of the answer {answer!r} is supervised; the tokenizer drops it: use the tokenizer "
                "that belongs to the model"
            )
        if len(sample.input_ids) > max_length:
            raise DataError(
                f"{where}: its sample has {len(sample.input_ids)} tokens, more than max_length = {max_length}; samples "
                "are never cut: raise max_length or take the question out of the facts"
            )
        samples.append(sample)
    return samples


def shortened(
    tokenizer: "PreTrainedTokenizerBase", questions: Sequence[str], room: Sequence[int], task: str
) -> list[str]:
    """Return the inputs of a task that may be cut, each cut at its end until its prompt has at most `room` tokens.

    Tokens are counted with BOS; an input is cut between two words where it has any. Other tasks' inputs stay as they
    are. Raises DataError where an input leaves no room for a single character.
    """
    form = TASKS.get(task)
    if not form.cut:
        return list(questions)
    found = []
    for question, most in zip(questions, room, strict=True):
        text = question
        while (over := len(encode_prompts(tokenizer, [text], task=task)[0]) - most) > 0:
            ends = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)["offset_mapping"]
            kept = len(ends) - over
            if kept < 1:
                raise DataError(
                    f"input {question[:60]!r}: a prompt of {most} tokens leaves no room for it; raise tasks.{task}."
                    f"max_length (by hand: --max-length), or lower tasks.{task}.max_new_tokens"
                )
            shorter = text[: cast("list[tuple[int, int]]", ends)[kept - 1][1]]
            text = (shorter.rpartition(" ")[0].rstrip() or shorter) if shorter != text.rstrip() else shorter[:-1]
        found.append(text)
    return found


def encode_continuations(
    tokenizer: "PreTrainedTokenizerBase", beginnings: Sequence[str], rests: Sequence[str], max_length: int
) -> list[Sample]:
    """Return training samples of sentences as the tokenizer encodes them, loss on their rests; no EOS is added.

    Raises DataError where one is longer than `max_length` tokens, TrainingError where none of a rest is supervised.
    """
    if not beginnings:
        return []
    texts = [first + rest for first, rest in zip(beginnings, rests, strict=True)]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    samples = []
    for first, text, ids, spans in zip(beginnings, texts, encoded["input_ids"], encoded["offset_mapping"], strict=True):
        # A token whose span ends after the beginning is supervised; special tokens have no span.
        labels = [token if end > len(first) else MASKED for token, (_, end) in zip(ids, spans, strict=True)]
        sample = Sample(ids, labels)
        if not sample.supervised:
            raise TrainingError(f"sentence {text!r}: no token of it is supervised; take it out of the table of texts")
        if len(ids) > max_length:
            raise DataError(
                f"sentence {text!r}: has {len(ids)} tokens, more than max_length = {max_length}; raise max_length"
            )
        samples.append(sample)
    return samples


def _bos(tokenizer: "PreTrainedTokenizerBase") -> list[int]:
    return [] if tokenizer.bos_token_id is None else [cast("int", tokenizer.bos_token_id)]
