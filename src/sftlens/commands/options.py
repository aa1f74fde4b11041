"""The command line of a program: options made from settings, with choices and defaults; near misses are named."""

import argparse
import difflib
import math
import os
import re
import sys
from collections.abc import Container, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from pydantic import ValidationError

from sftlens.config.stages.data import TABLE
from sftlens.config.stages.model import ComputeType
from sftlens.errors import ConfigError
from sftlens.gate import parse_json
from sftlens.settings import Location, Settings, found, tell_shipped

S = TypeVar("S", bound=Settings)

RENAMED_OPTIONS = {"--order": "--criterion"}
"""Options of an earlier version -> the option that has taken their place; accepted for one version."""
RENAMED_VALUES = {"--criterion": {"shrink": "interpolation"}}
"""Option -> values of an earlier version -> the value that has taken their place."""
ALIASES = {
    "--lr": "--learning-rate",
    "--num-train-epochs": "--epochs",
    "--warmup": "--warmup-steps",
    "--max-grad-norm": "--gradient-clipping",
    "--max-seq-length": "--max-length",
    "--output-dir": "--out",
    "--model-name-or-path": "--model",
    "--train-file": "--train",
}
"""What transformers and TRL call an option -> its name here; where a program has that option, both are accepted."""


class Model(str):
    """The type of an option that takes a model; it becomes the Path of a folder or pointer, fetched if need be."""


def _count(text: str) -> int:
    """Read a number: what a program counts, and a seed, is never negative."""
    if not re.fullmatch(r"\d{1,18}", text.strip(), re.ASCII):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no whole number from 0 on")
    return int(text)


def _amount(text: str) -> float:
    """Read a number that is neither negative nor infinite."""
    with suppress(ValueError):
        if 0 <= (value := float(text)) < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text[:40]!r} is no number from 0 on")


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Shows in the first line only what is required, and the default of every option."""

    def add_usage(self, usage: Any, actions: Iterable[argparse.Action], groups: Any, prefix: str | None = None) -> None:
        """Leave optional options to the list below."""
        super().add_usage(usage, [action for action in actions if action.required], [], prefix)

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        silent = action.required or "(default" in text or default is False or default in (None, [], argparse.SUPPRESS)
        return text if silent else f"{text} (default: %(default)s)"


class Parser(argparse.ArgumentParser):
    """argparse's, with errors of one line, other names of options, and hub ids for models."""

    workflow: Any
    """The group of the options that a study's jobs are given and people rarely need."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=Formatter, **options)
        self.register("type", Path, lambda text: Path(text).expanduser())
        self.register("type", int, _count)
        self.register("type", float, _amount)

    def error(self, message: str) -> Any:
        raise ConfigError(f"{message}; see {self.prog} --help")

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Return the options; models that were given as hub ids are fetched. Raises ConfigError, ModelError."""
        parsed, extra = self.parse_known_args(args, namespace)
        if extra:
            self.error(f"argument {extra[0]!r} is one too many")
        for name, value in vars(parsed).items():
            if name in ("templates", "study") and isinstance(value, Path):
                tell_shipped(f"--{name}" if name == "templates" else name, str(value))
                setattr(parsed, name, Path(found(str(value))))
            elif isinstance(value, Model):
                setattr(parsed, name, _folder(value))
            elif isinstance(value, list):
                setattr(parsed, name, [_folder(item) if isinstance(item, Model) else item for item in value])
        return parsed

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Do what argparse does, with names of options and values from earlier versions and other libraries."""
        given = list(sys.argv[1:] if args is None else args)
        known = self._option_string_actions
        for place, word in enumerate(given):
            flag, equals, value = word.partition("=")
            if not flag.startswith("--") or flag == "--":
                continue
            if flag not in known:  # `--learning_rate`, `--lr`, or an option of an earlier version
                flag = flag.replace("_", "-")
                if (new := RENAMED_OPTIONS.get(flag)) in known:
                    print(f"notice: option {flag} is now called {new}; use that", file=sys.stderr)
                    flag = str(new)
                elif ALIASES.get(flag) in known:
                    flag = ALIASES[flag]
            if flag not in known and not self._subparsers and not any(name.startswith(flag) for name in known):
                near = difflib.get_close_matches(flag, known, n=1)
                self.error(f"there is no option {flag}" + (f"; did you mean {near[0]}?" if near else ""))
            given[place] = f"{flag}{equals}{value}"
            at = place if equals else place + 1
            value = value if equals else "".join(given[at : at + 1])
            if today := RENAMED_VALUES.get(flag, {}).get(value):
                print(f"notice: {flag} {value} is now called {today}; use that", file=sys.stderr)
                given[at] = f"{flag}={today}" if equals else today
        return super().parse_known_args(given, namespace)


def parser(doc: str | None, *groups: type[Settings], without: Container[str] = ()) -> Parser:
    """Return a parser with one option for each field of each settings class, but for those in `without`."""
    made = Parser(description=doc)
    for group in groups:
        options = made.add_argument_group((group.__doc__ or group.__name__).splitlines()[0].rstrip("."))
        for name, field in group.model_fields.items():
            if name in without:
                continue
            flag, kind = "--" + name.replace("_", "-"), field.annotation
            default = None if field.is_required() else field.get_default(call_default_factory=True)
            said = "" if field.is_required() else f" (default: {'none' if default is None else default})"
            how: dict[str, Any] = {"help": f"{field.description or ''}{said}".replace("%", "%%"), "default": None}
            if kind is bool:
                how["action"] = argparse.BooleanOptionalAction
            elif _inner(kind):
                how |= {"nargs": "+", "metavar": "KEY=VALUE"}
            elif choices := _choices(kind):
                how["choices"] = choices
            else:
                parts = {kind, *get_args(kind)}
                numbers = "N" if int in parts else "X" if float in parts else "TEXT"
                how["metavar"] = "PATH" if Location in parts else numbers
            options.add_argument(flag, **how)
    made.workflow = made.add_argument_group("for the workflow")
    text = "folder that keeps finished work, so that nothing is done twice"
    made.workflow.add_argument("--state", type=Path, help=text)
    return made


def _inner(kind: Any) -> type[Settings] | None:
    """The settings class behind `Class` or `Class | None`; None for any other type."""
    for part in (kind, *get_args(kind)):
        if isinstance(part, type) and issubclass(part, Settings):
            return part
    return None


def _choices(kind: Any) -> list[str]:
    if get_origin(kind) is Literal:
        return [str(choice) for choice in get_args(kind)]
    return [] if get_origin(kind) is list else [choice for part in get_args(kind) for choice in _choices(part)]


def settings(args: argparse.Namespace, group: type[S]) -> S:
    """Return the settings that the options gave; nested ones as `key=value` or as JSON. Raises ConfigError."""
    values = {name: getattr(args, name) for name in group.model_fields if getattr(args, name, None) is not None}
    for name, value in values.items():
        if _inner(group.model_fields[name].annotation):
            values[name] = _nested("--" + name.replace("_", "-"), value)
    return _validated(group, values)


def nested(flag: str, words: Sequence[str], group: type[S]) -> S:
    """Return the settings that one option gave, as `key=value` or as JSON. Raises ConfigError."""
    return _validated(group, _nested(flag, words), flag)


def _nested(flag: str, words: Sequence[str]) -> Any:
    text = " ".join(words)
    if text.lstrip().startswith("{"):
        try:
            return parse_json(text)
        except ValueError as error:
            raise ConfigError(f"option {flag}: not valid JSON ({error}); key=value works too") from None
    for word in words:
        if "=" not in word:
            raise ConfigError(f"option {flag}: {word!r} has no value; write key=value, such as {flag} seed=1")
    return dict(word.split("=", 1) for word in words)


def _validated(group: type[S], values: Any, flag: str = "") -> S:
    try:
        return group.model_validate(values)
    except ValidationError as error:
        faults = error.errors()
    first = next((fault for fault in faults if fault["type"] == "extra_forbidden"), faults[0])
    message, place = first["msg"].removeprefix("Value error, "), [str(part) for part in first["loc"]]
    inner: type[Settings] | None = group
    if not flag:
        if not place:  # options that contradict one another; the message names them and the remedy
            raise ConfigError(message)
        name, *place = place
        flag, inner = "--" + name.replace("_", "-"), _inner(group.model_fields[name].annotation)
    if first["type"] == "extra_forbidden":
        keys = list(inner.model_fields) if inner else []
        near = difflib.get_close_matches(place[-1], keys, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(keys)}"
        raise ConfigError(f"option {flag}: there is no key {place[-1]!r}; {hint}")
    raise ConfigError(f"option {flag}: {f'key {place[0]!r}: ' if place else ''}{message}; see --help")


def both(first: str, one: object, second: str, other: object) -> None:
    """Raise ConfigError where one of two options is given, by its value, and the other is not."""
    if bool(one) != bool(other):
        there, missing = (first, second) if one else (second, first)
        raise ConfigError(f"option {missing}: is missing, but {there} is given; give both, or neither")


def add_choice(made: argparse.ArgumentParser, flag: str, default: str, known: Mapping[str, str]) -> None:
    """Add an option that takes one of the names of a registry, which --help lists with their descriptions."""
    listed = "; ".join(f"{name}: {text}" for name, text in known.items())
    made.add_argument(flag, default=default, metavar="NAME", help=f"{listed} (default: {default})".replace("%", "%%"))


def add_source(made: argparse.ArgumentParser) -> Any:
    """Add the options of where real facts come from; return their group, of which only one may be given."""
    source = made.add_mutually_exclusive_group()
    text = "folder or zip of EntityQuestions (no value: from ENTITY_QUESTIONS_DIR)"
    source.add_argument("--entity-questions", nargs="?", const="", metavar="DATA", help=text)
    text = f"your own facts: Parquet, CSV, TSV or JSON lines (no value: from {TABLE})"
    source.add_argument("--table", nargs="?", const=os.environ.get(TABLE, ""), metavar="FILE", help=text)
    return source


def add_evaluation(made: argparse.ArgumentParser) -> None:
    """Add the options of an evaluation: the training set, the BOS token, probing again, the device."""
    made.add_argument("--train", type=Path, help="ordered training set (sftlens training-set), scored as split train")
    made.add_argument("--scale", default="all", help="how many of its first rows were trained on")
    made.add_argument("--templates", type=Path, help="probe a sample of the test facts again with these templates")
    text = "facts that --dev-facts are drawn from: those of split dev, where the table has splits"
    made.add_argument("--dev", type=Path, help=text)
    text = "settings of that probing (see sftlens mastery --help)"
    made.add_argument("--probing", nargs="+", default=[], metavar="KEY=VALUE", help=text)
    text = "test examples of a task that are asked too: task=gsm8k file=test.jsonl [dev=dev.jsonl] [sample=N] "
    text += "[max_new_tokens=N] [max_length=N]; repeatable, once a task"
    made.add_argument("--task-test", nargs="+", action="append", default=[], metavar="KEY=VALUE", help=text)
    add_bos(made)
    add_device(made)


def add_bos(made: argparse.ArgumentParser) -> None:
    made.add_argument("--bos", choices=["require", "none"], default="require", help="whether a BOS token is needed")


def add_device(made: argparse.ArgumentParser) -> None:
    made.add_argument("--device", help="torch device, or auto: all GPUs (default: what there is)")
    add_gpus(made)
    add_compute_dtype(made)


def add_compute_dtype(made: argparse.ArgumentParser) -> None:
    text = "what models compute in; auto: as stored, on a CPU without instructions for bf16 in float32 (default: auto)"
    made.add_argument("--compute-dtype", choices=get_args(ComputeType), default="auto", help=text)


def add_gpus(made: argparse.ArgumentParser) -> None:
    text = "GPUs of this machine that no other job has; 0: none (default: all)"
    made.add_argument("--gpus", type=int, metavar="N", help=text)


def _folder(name: Model) -> Path:
    from sftlens.models.sources import hub

    folder = hub.folder(name)
    if str(folder) != name:
        # Processes that this program starts are given its command line: they need not fetch anything.
        sys.argv[1:] = [word.replace(name, str(folder)) if word.endswith(name) else word for word in sys.argv[1:]]
    return folder
