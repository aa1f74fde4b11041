"""How questions and task examples become prompts: a text with the question in it, or the chat template."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any

from sftlens.errors import ConfigError, DataError, ModelError
from sftlens.inference.prompts import token_ids

if TYPE_CHECKING:
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
    chat: "PreTrainedTokenizerBase"
    """The fine-tuned model's tokenizer, whose chat template it is."""
    folder: Path
    """Where that tokenizer lies, for messages."""

    def check(self, tasks: Sequence[Any] = ()) -> None:
        """Raise ModelError when a chat template is needed, for questions or for `tasks`, and there is none."""
        lists = any(not isinstance(prompt, str) for prompt in tasks)
        if (self.template is None or lists) and not self.chat.chat_template:
            remedy = "give the task as prompt and target" if lists else "give --prompt-template instead"
            raise ModelError(
                f"{self.folder}: the tokenizer has no chat template (chat_template.jinja, or chat_template in "
                f"tokenizer_config.json); {remedy}, or fetch the file"
            )

    @property
    def form(self) -> str:
        """The text of one question in few-shot prompts: base models know no chat template."""
        return self.template or QUESTION_ANSWER

    @property
    def opening(self) -> str:
        """The text that begins every question, such as `Question:`; "" where it could stand in an answer too."""
        words = (self.template or "").split("{question}", 1)[0].strip()
        return "" if words.replace(" ", "").isalnum() else words

    def identity(self) -> str:
        """Return the part of a result's key that says how prompts are made."""
        return self.template or f"chat: {self.chat.chat_template}"

    def questions(self, tokenizer: "PreTrainedTokenizerBase", questions: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each question's prompt, by the tokenizer of the model that answers."""
        if self.template is None:
            return self.tasks(tokenizer, questions)
        return token_ids(tokenizer, [self.template.format(question=question) for question in questions])

    def tasks(self, tokenizer: "PreTrainedTokenizerBase", tasks: Sequence[Any]) -> list[list[int]]:
        """Return the token ids of each task prompt.

        Messages go through the chat template; a text stands as it is, or is one user message without a `template`.
        """
        chat = [self.template is None or not isinstance(prompt, str) for prompt in tasks]
        plain = iter(token_ids(tokenizer, [p for p, is_chat in zip(tasks, chat, strict=True) if not is_chat]))
        texts = [self._chat(p) for p, is_chat in zip(tasks, chat, strict=True) if is_chat]
        # A chat template writes BOS and the other special tokens itself.
        wrapped = iter(token_ids(tokenizer, texts, add_special_tokens=False))
        return [next(wrapped if is_chat else plain) for is_chat in chat]

    def _chat(self, prompt: Any) -> str:
        from jinja2 import TemplateError

        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
        try:
            return str(self.chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        except TemplateError as error:
            raise DataError(
                f"{self.folder}: the chat template does not take the messages {str(messages)[:80]!r} ({error}); change "
                "their roles, or take the example out"
            ) from None
