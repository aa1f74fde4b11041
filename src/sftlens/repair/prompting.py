"""How questions and task examples become prompts: a text with the question in it, or the chat template."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any

from sftlens.config.repair import RepairSettings
from sftlens.errors import ConfigError, DataError, ModelError
from sftlens.inference.chat import Chat, opens_thinking
from sftlens.inference.prompts import token_ids

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

QUESTION_ANSWER = "Question: {question}\nAnswer:"
"""The prompt unless another is given."""


def read_template(text: str) -> str:
    """Return a prompt template with its `\\n` and `\\t` as the characters they stand for.

    Raises ConfigError unless `{question}` is its one placeholder.
    """
    text = text.replace("\\n", "\n").replace("\\t", "\t")
    try:
        fields = [field for field in Formatter().parse(text) if field[1] is not None]
    except ValueError as error:
        raise ConfigError(f"prompt template {text!r}: {error}; write braces of its own twice: {{{{ }}}}") from None
    # A width ({question:>9999999999}) takes gigabytes, an attribute ({question.__class__}) is none of its business.
    unknown = [field for field in fields if field[1:] != ("question", "", None)]
    if unknown or len(fields) != 1:
        _, name, form, conversion = (unknown or [("", "", "", "")])[0]
        shown = f"{name}{f'!{conversion}' if conversion else ''}{f':{form}' if form else ''}"
        named = f"has the unknown placeholder {{{shown}}}" if unknown else f"has {len(fields)} places for questions"
        raise ConfigError(
            f"prompt template {text!r}: {named}; write {{question}} exactly once, braces of its own twice"
        )
    return text


@dataclass(frozen=True)
class Prompting:
    """The one way in which all models are prompted."""

    template: str | None
    """Text with {question} in it; None: the chat template."""
    chat: Chat
    """The fine-tuned model's chat template as it is used; its tokenizer may have none."""

    def check(self, tasks: Sequence[Any] = ()) -> None:
        """Raise an error when a chat template is needed, for questions or for `tasks`, and cannot be used.

        ModelError: there is none, or it leaves the question out. ConfigError: none of that name, or options of a chat
        template although none is used. DataError: it does not take messages.
        """
        lists = any(not isinstance(prompt, str) for prompt in tasks)
        if self.template is not None and not lists:
            if self.chat.name or self.chat.arguments or self.chat.system:
                raise ConfigError(
                    "--chat-template-name, --chat-template-arg and --system-prompt say how the chat template is used; "
                    "add --chat-template, or leave them out"
                )
            return
        if not self.chat.tokenizer.chat_template:
            remedy = "give the task as prompt and target" if lists else "give --prompt-template instead"
            raise ModelError(
                f"{self.chat.folder}: the tokenizer has no chat template (chat_template.jinja, or chat_template in "
                f"tokenizer_config.json); {remedy}, or fetch the file"
            )
        self.chat.check()

    @property
    def form(self) -> str:
        """The text of one question in few-shot prompts, without BOS: base models know no chat template."""
        text, bos = self.template or QUESTION_ANSWER, str(self.chat.tokenizer.bos_token or "")
        return text.lstrip()[len(bos) :] if bos and text.lstrip().startswith(bos) else text

    @property
    def opening(self) -> str:
        """The text that begins every question, such as `Question:`; "" where it could stand in an answer too."""
        words = self.form.split("{question}", 1)[0].strip() if self.template else ""
        return "" if words.replace(" ", "").isalnum() else words

    def chat_for(self, prompts: Sequence[Any]) -> Chat | None:
        """Return the chat template where any of `prompts` goes through it, else None."""
        return self.chat if any(map(self.is_chat, prompts)) else None

    def turn_end(self, prompts: Sequence[Any]) -> str:
        """Return what ends a turn in `prompts`: of the chat template, or of its marks written by hand; "" for none."""
        if self.chat_for(prompts):
            return self.chat.turn_end
        with suppress(ConfigError, ModelError, DataError):  # a template that is not used need not be of use
            end = self.chat.turn_end
            return end if end and any(end in text for text in (self.template or "", *prompts[:1])) else ""
        return ""

    def opens_thinking(self, prompts: Sequence[Any]) -> bool:
        """Whether `prompts` end inside a thinking block."""
        return opens_thinking(self.chat.sample if self.chat_for(prompts) else self.template or "")

    def is_chat(self, prompt: Any) -> bool:
        """Whether a question (a text) or a task's prompt (a text or messages) goes through the chat template."""
        return self.template is None or not isinstance(prompt, str)

    def identity(self, prompts: Sequence[Any] = ("",)) -> str:
        """Return the part of a result's key that says how `prompts` are made."""
        chat = self.chat_for(prompts)
        return json.dumps([self.template, *([chat.source, chat.sample] if chat else [])])

    def questions(self, tokenizer: "PreTrainedTokenizerBase", questions: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each question's prompt, by the tokenizer of the model that answers."""
        if self.template is None:
            return self.tasks(tokenizer, questions)
        # Where the template writes BOS and the tokenizer does too, one of them goes.
        bos = "" if self.form in (self.template, QUESTION_ANSWER) else str(self.chat.tokenizer.bos_token)
        return token_ids(tokenizer, [bos + self.form.format(question=question) for question in questions])

    def tasks(self, tokenizer: "PreTrainedTokenizerBase", tasks: Sequence[Any]) -> list[list[int]]:
        """Return the token ids of each task prompt.

        Messages go through the chat template; a text stands as it is, or is one user message without a `template`.
        """
        chat = [self.is_chat(prompt) for prompt in tasks]
        plain = iter(token_ids(tokenizer, [p for p, is_chat in zip(tasks, chat, strict=True) if not is_chat]))
        texts = [self.chat.render(p) for p, is_chat in zip(tasks, chat, strict=True) if is_chat]
        # A chat template writes BOS and the other special tokens itself.
        wrapped = iter(token_ids(tokenizer, texts, add_special_tokens=False))
        return [next(wrapped if is_chat else plain) for is_chat in chat]


@dataclass(frozen=True)
class RepairInputs:
    """What all models answer, and how they are prompted."""

    facts: "pd.DataFrame"
    """The table of `user_files.read_facts` with the column half."""
    tasks: "pd.DataFrame | None"
    """The table of `user_files.read_task` with the column half; None without a task."""
    prompting: Prompting
    sentences: Mapping[str, list[str]] | None
    """Completion templates of each relation; None: mastery is few-shot."""
    settings: RepairSettings
