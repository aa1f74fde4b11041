"""How a program is told to ask a model: a text with the question in it, or the chat template and its arguments."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sftlens.errors import ConfigError
from sftlens.inference.chat import Chat
from sftlens.repair import prompting

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options."""
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--chat-template", action="store_true", help="prompt with the fine-tuned tokenizer's chat template"
    )
    how.add_argument("--prompt-template", help=r"prompt with this text (default: 'Question: {question}\nAnswer:')")
    text = "an argument of the chat template's own, such as enable_thinking=false; repeatable"
    parser.add_argument("--chat-template-arg", action="append", default=[], metavar="KEY=VALUE", help=text)
    text = "which of several named chat templates (default: the one called default)"
    parser.add_argument("--chat-template-name", metavar="NAME", help=text)
    parser.add_argument("--system-prompt", metavar="TEXT", help="system prompt, for the chat template")


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return how questions are asked, checked as far as that needs no model. Raises ConfigError."""
    arguments = {}
    for text in args.chat_template_arg:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise ConfigError(f"--chat-template-arg {text}: write KEY=VALUE, such as enable_thinking=false")
        try:
            arguments[name] = json.loads({"True": "true", "False": "false", "None": "null"}.get(value, value))
        except (ValueError, RecursionError):  # a text without quotes
            arguments[name] = value
    template = prompting.read_template(args.prompt_template or prompting.QUESTION_ANSWER)
    found = {
        "template": None if args.chat_template else template,
        "chat_template": args.chat_template,
        "chat_template_name": args.chat_template_name,
        "chat_template_args": arguments,
        "system_prompt": args.system_prompt,
    }
    try:
        json.dumps(found, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ConfigError(f"how to ask: {error.object[error.start : error.end]!r} is no UTF-8 text; mend it") from None
    return found


def made(asked: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", folder: Path) -> prompting.Prompting:
    """Return the prompting of `settings`, by the fine-tuned model's tokenizer, which lies in `folder`."""
    how = (asked[key] for key in ("chat_template_name", "chat_template_args", "system_prompt"))
    return prompting.Prompting(asked["template"], Chat(tokenizer, folder, *how))
