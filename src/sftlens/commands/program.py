"""What all entry points share: options made from settings, one way to run a stage, errors as one line.

This is the only place besides the scripts that knows argparse.
"""

import os

# One numeric thread unless told otherwise: more are slower on a loaded machine and change the rounding.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Where several are asked for, those that wait must sleep: on a busy machine spinning ones take all the time there is.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import argparse
import atexit
import gc
import json
import socket
import sys
from collections.abc import Callable, Container, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn, TypeVar, get_args

from pydantic import ValidationError

from sftlens import files
from sftlens.config.mastery import MEASURING, ProbingSettings
from sftlens.errors import PAUSED_STATUS, ConfigError, SftlensError, TrainingPaused, explained
from sftlens.models import identity
from sftlens.runtime import launch, stages
from sftlens.runtime.result_version import RESULT_VERSION
from sftlens.settings import Settings

# Importing torch and transformers makes half a million objects that last. Looking through them for garbage again and
# again took half of a small job's start; one look at every million new objects is enough.
gc.set_threshold(1_000_000, 20, 50)

S = TypeVar("S", bound=Settings)


RENAMED_OPTIONS = {"--order": "--criterion"}
"""Options of an earlier version -> the option that has taken their place; accepted for one version."""
RENAMED_VALUES = {"--criterion": {"shrink": "interpolation"}}
"""Option -> values of an earlier version -> the value that has taken their place."""


class Parser(argparse.ArgumentParser):
    """Accepts options and values of an earlier version, with a line on stderr that names the new ones."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Do what argparse does, on the command line as it would be written today."""
        given = list(sys.argv[1:] if args is None else args)
        for place, word in enumerate(given):
            flag, equals, value = word.partition("=")
            new = RENAMED_OPTIONS.get(flag, flag)
            if new != flag and new in self._option_string_actions and flag not in self._option_string_actions:
                print(f"notice: option {flag} is now called {new}; use that", file=sys.stderr)
                flag, given[place] = new, f"{new}{equals}{value}"
            at = place if equals else place + 1
            value = value if equals else "".join(given[at : at + 1])
            if today := RENAMED_VALUES.get(flag, {}).get(value):
                print(f"notice: {flag} {value} is now called {today}; use that", file=sys.stderr)
                given[at] = f"{flag}={today}" if equals else today
        return super().parse_known_args(given, namespace)


def parser(doc: str | None, *groups: type[Settings], without: Container[str] = ()) -> argparse.ArgumentParser:
    """Return an argument parser with one option for each field of each settings class, but for those in `without`."""
    made = Parser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--state", type=Path, help="folder that keeps finished work, so that it is never done twice")
    for group in groups:
        options = made.add_argument_group((group.__doc__ or group.__name__).splitlines()[0])
        for name, field in group.model_fields.items():
            if name in without:
                continue
            flag = "--" + name.replace("_", "-")
            default = "" if field.is_required() else f" (default: {field.get_default(call_default_factory=True)})"
            text = f"{field.description or ''}{default}".replace("%", "%%")
            if field.annotation is bool:
                options.add_argument(flag, action=argparse.BooleanOptionalAction, help=text, default=None)
            else:
                options.add_argument(flag, help=text, default=None, metavar="VALUE")
    return made


def settings(args: argparse.Namespace, group: type[S]) -> S:
    """Return the settings that the options gave; nested ones are given as JSON. Raises ConfigError."""
    values = {name: getattr(args, name) for name in group.model_fields if getattr(args, name, None) is not None}
    for name, value in values.items():
        annotation = group.model_fields[name].annotation
        kinds = (annotation, *get_args(annotation))  # X | None
        if any(isinstance(kind, type) and issubclass(kind, Settings) for kind in kinds):
            values[name] = _json(name, value)
    try:
        return group.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:  # options that contradict one another; the message names them and the remedy
            raise ConfigError(first["msg"].removeprefix("Value error, ")) from None
        flag = "--" + str(first["loc"][0]).replace("_", "-")
        raise ConfigError(f"option {flag}: {first['msg']}; see --help") from None


def add_choice(made: argparse.ArgumentParser, flag: str, default: str, known: Mapping[str, str]) -> None:
    """Add an option that takes one of the names of a registry, which --help lists with their descriptions."""
    listed = "; ".join(f"{name}: {text}" for name, text in known.items())
    made.add_argument(flag, default=default, metavar="NAME", help=f"{listed} (default: {default})".replace("%", "%%"))


def add_measuring(made: argparse.ArgumentParser) -> None:
    """Add the options of what is asked of a model: its training set, its BOS token, probing it again."""
    made.add_argument("--train", type=Path, help="ordered training set (scripts/training_set.py), asked as split train")
    made.add_argument("--scale", default="all", help="how many of its first rows were trained on")
    made.add_argument("--templates", type=Path, help="probe a sample of the test facts again with these templates")
    made.add_argument("--probing", default="{}", help="settings of that probing as JSON (see scripts/mastery.py)")
    made.add_argument("--bos", choices=["require", "none"], default="require", help="whether a BOS token is needed")
    add_device(made)


def add_device(made: argparse.ArgumentParser) -> None:
    """Add the options of where a model runs."""
    made.add_argument("--device", help="torch device, or auto: all GPUs (default: what there is)")
    add_gpus(made)


def add_gpus(made: argparse.ArgumentParser) -> None:
    """Add the option of how many GPUs of this machine a stage takes for itself."""
    made.add_argument("--gpus", type=int, help="GPUs of this machine that no other job has; 0: none (default: all)")


def facts(path: Path, *columns: str, unique: bool = True) -> Any:
    """Return a table of facts with `columns` and what an evaluation may use; see `data.tables.facts`."""
    from sftlens.data import tables

    return tables.facts(path, columns, ["split", "relation", "subject", "bucket", "mastery"], unique=unique)


def asked(args: argparse.Namespace) -> tuple[Any, Any]:
    """Return what an evaluation uses of --facts, and the rows of --train that the model was trained on; or None."""
    from sftlens.data import used

    if not args.facts:
        return None, None
    table = used.by_evaluation(facts(args.facts), reprobed=args.templates is not None)
    return table, used.by_evaluation_of_training(facts(args.train, unique=False), args.scale) if args.train else None


def reprobing(args: argparse.Namespace, of: str) -> Any:
    """Return how to probe a model again, whose content is `of`; None without --templates."""
    from sftlens.data import templates
    from sftlens.evaluation import suite

    return suite.Reprobing(templates.load(args.templates), _probing(args), of) if args.templates else None


def reprobing_settings(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the result of probing again depends on, besides its inputs."""
    return {"probing": _probing(args).model_dump(include=set(MEASURING))} if args.templates else {}


def _probing(args: argparse.Namespace) -> ProbingSettings:
    try:
        return ProbingSettings.model_validate(_json("probing", args.probing))
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"option --probing: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _json(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"option --{name.replace('_', '-')}: not valid JSON ({error}); see --help") from None


def stage(
    args: argparse.Namespace,
    name: str,
    *,
    outputs: Mapping[str, Path],
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
    compute: Callable[[Path], None],
) -> None:
    """Run one stage; `inputs` holds a content hash for each input (see `content`)."""
    run_stage(args, described(args, name, outputs=outputs, inputs=inputs, settings=settings), compute)


def described(
    args: argparse.Namespace,
    name: str,
    *,
    outputs: Mapping[str, Path],
    inputs: Mapping[str, str],
    settings: Mapping[str, Any],
) -> stages.Stage:
    """Return a stage: what it writes and what its result depends on."""
    depends = {"inputs": dict(inputs), "settings": dict(settings), "version": RESULT_VERSION[name]}
    return stages.Stage(name, outputs, depends, args.state)


def run_stage(args: argparse.Namespace, described: stages.Stage, compute: Callable[[Path], None]) -> None:
    """Run a stage, on GPUs of its own where it asks for any, and say so when there was nothing to do."""
    name, gpus = described.name, getattr(args, "gpus", None)

    def compute_on_gpus(folder: Path) -> None:
        _gpus(gpus)
        compute(folder)

    if not stages.run(described, compute_on_gpus):
        print(f"{name}: nothing it depends on has changed; the finished result was published", file=sys.stderr)


@cache
def _gpus(count: int | None) -> list[socket.socket]:
    """Take GPUs until this process ends."""
    if count is None:
        return []
    held = launch.lease(count)
    if count:
        launch.refuse_unseen(count)
    return held


def content(path: Path | None) -> str:
    """Return a content hash of an input: of a file's bytes, or of a model behind a folder or pointer."""
    if path is None:
        return ""
    if path.is_dir() or path.name == "base.json":
        return identity.identity(path)
    return files.sha256(path)


def contents(args: argparse.Namespace, *names: str, **tables: Any) -> dict[str, str]:
    """Return the content hash of each named input that was given, and of the parts of `tables` that are used."""
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    hashes = {name: _sentences(path) if name == "templates" else content(path) for name, path in given.items()}
    return hashes | {name: files.table_sha256(table) for name, table in tables.items() if table is not None}


def _sentences(path: Path) -> str:
    from sftlens.data import templates

    return templates.identity(path)


def run(main: Callable[[], None]) -> None:
    """Call `main`; what the user can mend becomes one line on stderr and exit status 1.

    A stage that stopped before its job's time was over, and saved its state, ends with PAUSED_STATUS.
    """
    try:
        main()
    except TrainingPaused as pause:
        print(f"paused: {pause}", file=sys.stderr)
        sys.exit(PAUSED_STATUS)
    except SftlensError as error:
        sys.exit(f"error: {error}")
    except BrokenPipeError:  # whoever reads the output, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        if message := explained(error):
            sys.exit(f"error: {message}")
        raise
    except KeyboardInterrupt:
        sys.exit(130)


def run_and_leave(main: Callable[[], None]) -> NoReturn:
    """Do the same as a process of its own, and end it without tearing torch down object by object, which takes long."""
    run(main)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
