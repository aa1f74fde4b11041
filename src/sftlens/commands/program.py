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
import socket
import sys
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from sftlens import files
from sftlens.commands import headline
from sftlens.commands.options import nested
from sftlens.config.stages.mastery import MEASURING, ProbingSettings
from sftlens.errors import PAUSED_STATUS, ConfigError, SftlensError, TrainingPaused, explained
from sftlens.models import identity
from sftlens.runtime import launch, stages
from sftlens.runtime.result_version import RESULT_VERSION

# Importing torch and transformers makes half a million objects that last. Looking through them for garbage again and
# again took half of a small job's start; one look at every million new objects is enough.
gc.set_threshold(1_000_000, 20, 50)


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
    return nested("--probing", args.probing, ProbingSettings)


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
    """Run a stage, on GPUs of its own where it asks for any, and say what was written."""
    name, gpus = described.name, getattr(args, "gpus", None)

    def compute_on_gpus(folder: Path) -> None:
        _gpus(gpus)
        compute(folder)

    if not stages.run(described, compute_on_gpus):
        print(f"{name}: nothing it depends on has changed; the finished result was published", file=sys.stderr)
    headline.say(name, described.outputs.values(), headline.of(name, described.outputs))


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


def refuse_same(base: Path, finetuned: Path, inputs: Mapping[str, str] | None = None) -> None:
    """Raise ConfigError where the fine-tuned model is the base itself, by place or by the hashes `inputs`."""
    if identity.resolve(base).samefile(identity.resolve(finetuned)):
        raise ConfigError(f"{finetuned}: is the base model itself; give the model that was fine-tuned from it")
    if inputs and inputs["base"] == inputs["finetuned"]:
        raise ConfigError(f"{finetuned}: holds the same as {base}: fine-tuning changed nothing; give another model")


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
