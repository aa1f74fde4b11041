"""Chat templates as models bring them: their own arguments, dates, what ends a turn, and thinking before the answer."""

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from sftlens import inference
from sftlens.errors import ConfigError, DataError, ModelError
from sftlens.inference.prompts import token_ids

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

THINKING = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),
    ("◁think▷", "◁/think▷"),
)
"""What begins and ends a thinking block, as the models in use write it."""
_MARK, _ANSWER = "Zq7vX", "Kw3jY"
"""Stand for a question and an answer where a template is looked at by rendering it."""
_OURS = ("add_generation_prompt", "chat_template", "conversation", "messages", "tokenize")
"""Arguments of a chat template that are not the user's to give."""
_TODAY = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
"""The call by which a chat template writes the date."""


@dataclass(frozen=True)
class Chat:
    """A tokenizer's chat template as it is used: which of several, with which arguments and system prompt."""

    tokenizer: "PreTrainedTokenizerBase"
    folder: Path
    """Where that tokenizer lies, for messages."""
    name: str | None = None
    """Which of several named templates; None: the one there is, or `default`."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of the template's own, such as enable_thinking."""
    system: str | None = None
    """System prompt put before messages that have none."""
    today: date = field(default_factory=date.today)
    """The date in all prompts of one run, for templates that write one."""

    @cached_property
    def source(self) -> str:
        """The template's text, its dates written out. Raises ConfigError where there is none of that name."""
        there = self.tokenizer.chat_template
        if not isinstance(there, dict):
            there = {} if self.name or not there else {"default": str(there)}
        if (name := self.name or "default") not in there:
            named = ", ".join(sorted(there))
            raise ConfigError(
                f"{self.folder}: the tokenizer has no chat template called {name!r}; "
                + (f"name one of {named} with --chat-template-name" if named else "leave out --chat-template-name")
            )
        return _TODAY.sub(lambda call: json.dumps(self.today.strftime(call[2])), str(there[name]))

    def render(self, prompt: Any, answer: str | None = None) -> str:
        """Return the text of a prompt (one user message, or a list of messages), ready for the answer or with one.

        Raises DataError where the template does not take the messages.
        """
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        if self.system and messages[0]["role"] != "system":
            messages = [{"role": "system", "content": self.system}, *messages]
        if answer is not None:
            messages.append({"role": "assistant", "content": answer})
        if self.in_parts:
            messages = [{**message, "content": parts(message["content"])} for message in messages]
        return self._apply(messages, answer is None)

    def _apply(self, messages: list[dict[str, Any]], generation: bool) -> str:
        how = {"tokenize": False, "add_generation_prompt": generation, "chat_template": self.source}
        try:
            return str(self.tokenizer.apply_chat_template(messages, **{**self.arguments, **how}))
        except Exception as error:  # a template is a program of the model's maker and fails in its own ways
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            remedy = "leave out --system-prompt, " if self.system and "system" in reason.lower() else ""
            raise DataError(
                f"{self.folder}: the chat template does not take the messages {str(messages)[:80]!r} ({reason[:200]}); "
                f"{remedy}change their roles, or take the example out"
            ) from None

    @cached_property
    def in_parts(self) -> bool:
        """Whether the template takes lists of parts for messages, as those of models that see do.

        Raises ModelError where it leaves the message out in either form; DataError as `render`.
        """

        def shown(content: Any) -> bool:
            with suppress(DataError):
                return _MARK in self._apply([{"role": "user", "content": content}], True)
            return False

        if shown(_MARK):
            return False
        if shown(parts(_MARK)):
            return True
        self._apply([{"role": "user", "content": _MARK}], True)
        raise ModelError(
            f"{self.folder}: the chat template leaves the question out of the prompt; choose another "
            "(--chat-template-name), or give --prompt-template"
        )

    @cached_property
    def sample(self) -> str:
        """A rendered prompt: all that prompts have in common, the date included."""
        return self.render(_MARK)

    @property
    def example(self) -> str:
        """The same for people: a rendered prompt with {question} in it."""
        return self.sample.replace(_MARK, "{question}")

    def check(self) -> None:
        """Raise an error for what the template does not take, or would leave out of every prompt without a word.

        ConfigError: an argument, or a name of a template; ModelError: question or system prompt; DataError: messages.
        """
        for name in self.arguments:
            if name in _OURS or not re.search(rf"\b{re.escape(name)}\b", self.source):
                raise ConfigError(
                    f"--chat-template-arg {name}: the chat template of {self.folder} takes no such argument; look for "
                    "its names in chat_template.jinja (or in tokenizer_config.json)"
                )
        sample = self.sample
        if self.system and self.system.strip() not in sample:
            raise ModelError(
                f"{self.folder}: the chat template leaves a system prompt out; put its text into the questions, or "
                "choose another template (--chat-template-name)"
            )

    @cached_property
    def turn_end(self) -> str:
        """What the template writes behind an assistant's message, one token or one line; "" for nothing."""
        with suppress(DataError):
            _, answered, tail = self.render(_MARK, _ANSWER).rpartition(_ANSWER)
            if answered and tail.strip():
                first = token_ids(self.tokenizer, [tail.strip()], add_special_tokens=False)[0][0]
                token = str(self.tokenizer.convert_ids_to_tokens(first))
                return token if token in self.tokenizer.get_added_vocab() else tail.strip().splitlines()[0]
        return ""


def parts(content: Any) -> Any:
    """Return a message's text as the list of parts that templates of models that see take."""
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def opens_thinking(prompt: str) -> bool:
    """Whether a prompt ends inside a thinking block that it opens."""
    return any(prompt.rfind(begin) > prompt.rfind(end) for begin, end in THINKING)


def ends(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase", turn_end: str = "") -> list[int]:
    """Return the tokens at which a model stops in use (`inference.ends`), and `turn_end` where it is one token."""
    found = set(inference.ends(model, tokenizer))
    ids = token_ids(tokenizer, [turn_end], add_special_tokens=False)[0] if turn_end else []
    return sorted(found | (set(ids) if len(ids) == 1 else set()))


def target(text: str, tokenizer: "PreTrainedTokenizerBase", turn_end: str = "") -> str:
    """Return an example's target as `read` would return it: without thinking, EOS and the end of the turn."""
    text = next((text.split(end, 1)[1] for _, end in THINKING if end in text), text)
    for mark in (tokenizer.eos_token, turn_end):
        text = text.strip().removesuffix(str(mark or ""))
    return text.strip()


class Said(NamedTuple):
    """What a model answered."""

    text: str
    """Without special tokens, the end of its turn, and the thinking before it."""
    ended: bool
    """Whether it ended within the limit."""
    thinking: bool
    """Whether it was still thinking at the limit; then there is no answer."""


def read(
    tokenizer: "PreTrainedTokenizerBase",
    outputs: Sequence[Sequence[int]],
    stops: Sequence[int],
    turn_end: str = "",
    opened: bool = False,
) -> list[Said]:
    """Return the answers in outputs: token ids, the last of which is one of `stops` where one ended within the limit.

    `stops` are those of `ends`, `turn_end` is text that ends an answer too; `opened`: the prompts end inside a thinking
    block.
    """
    over = [output[-1] in stops for output in outputs]
    bodies = [list(output[:-1] if end else output) for output, end in zip(outputs, over, strict=True)]
    texts = tokenizer.batch_decode(bodies, skip_special_tokens=True) if bodies else []
    # The marks of thinking may be special tokens.
    whole = tokenizer.batch_decode(bodies, skip_special_tokens=False) if bodies else []
    found = []
    for text, raw, ended in zip(texts, whole, over, strict=True):
        after = next((raw.split(end, 1)[1] for _, end in THINKING if end in raw), None)
        begun = opened or any(raw.lstrip().startswith(begin) for begin, _ in THINKING)
        if after is not None:
            for token in tokenizer.all_special_tokens:
                after = after.replace(token, "")
            text = after
        # What stops by itself without closing the block was the answer: a model that does not think.
        thinking = begun and after is None and not ended
        # An end of the turn that is more than one token is text.
        if turn_end and turn_end in text:
            text, ended = text.split(turn_end, 1)[0], True
        found.append(Said("" if thinking else text, ended, thinking))
    return found
