"""What all programs share: one way to run a stage, content hashes of its inputs, and errors as one line."""

import os

# One numeric thread unless told otherwise: more are slower on a loaded machine and change the rounding.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Of several threads those that wait must sleep: on a busy machine spinning ones take all the time there is.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

import atexit
import gc
import re
import socket
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NoReturn

from sftlens import files
from sftlens.commands import headline, written
from sftlens.data import relations
from sftlens.errors import PAUSED_STATUS, ConfigError, SftlensError, TrainingPaused, explained, one_line, panicked
from sftlens.models import identity
from sftlens.runtime import launch, provenance, stages
from sftlens.runtime.provenance import COMPUTED
from sftlens.runtime.result_version import RESULT_VERSION

NO_MEMORY = re.compile("OutOfMemoryError|can't allocate memory|not enough memory")
Paths = Mapping[str, Path]
Values = Mapping[str, Any]
Compute = Callable[[Path], None]

# Importing torch and transformers makes half a million objects that last. Looking through them for garbage again and
# again took half of a small job's start; one look at every million new objects is enough.
gc.set_threshold(1_000_000, 20, 50)


def described(args: Namespace, name: str, outputs: Paths, inputs: Values, settings: Values) -> stages.Stage:
    """Return a stage: what it writes and what its result depends on; `inputs` holds a content hash for each input."""
    depends = {"inputs": dict(inputs), "settings": dict(settings), "version": RESULT_VERSION[name]}
    return stages.Stage(name, outputs, depends, args.state)


def stage(args: Namespace, name: str, outputs: Paths, inputs: Values, settings: Values, compute: Compute) -> None:
    """Run the stage that `described` returns."""
    run_stage(args, described(args, name, outputs, inputs, settings), compute)


def run_stage(args: Namespace, made: stages.Stage, compute: Compute) -> None:
    """Run a stage, on GPUs of its own where --gpus says so, and say what was written.

    Raises ConfigError where an output would take an input's place, or that of other people's files.
    """
    written.check(args, made.outputs)

    def compute_on_gpus(folder: Path) -> None:
        _lease_gpus(getattr(args, "gpus", None))
        compute(folder)

    if not stages.run(made, compute_on_gpus):
        print(f"{made.name}: nothing it depends on has changed; the finished result was published", file=sys.stderr)
    headline.say(made.name, made.outputs.values(), headline.of(made.name, made.outputs))


@cache
def _lease_gpus(count: int | None) -> list[socket.socket]:
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
    model = path.is_dir() or path.name == "base.json" or path.suffix == ".gguf"
    return identity.identity(path) if model else files.sha256(path)


def contents(args: Namespace, *names: str, **tables: Any) -> dict[str, str]:
    """Return the content hash of each named input that was given, and of the parts of `tables` that are used."""
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    hashes = {name: relations.templates_identity(p) if name == "templates" else content(p) for name, p in given.items()}
    origins = {name: identity.origin(path) for name, path in given.items() if name in ("model", "base", "finetuned")}
    hashes |= {f"{name}: origin": text for name, text in origins.items() if text}
    return hashes | {name: files.table_sha256(table) for name, table in tables.items() if table is not None}


def computing(args: Namespace, *paths: Path | None) -> dict[str, str]:
    """Settle in what the models in `paths` compute: `args.compute_dtype` becomes a type, or `stored`.

    Return it as a part of a key where it is not the type of their weights: results from before there was a choice stay
    valid, and none stands for one that was computed in another type.
    """
    models = [path for path in paths if path is not None]
    stated, wanted = {identity.stated_type(path) or "" for path in models}, args.compute_dtype
    on_cpu = bool(stated - {"float32"}) and launch.on_cpu(getattr(args, "device", None), getattr(args, "gpus", None))
    # The common cases, told without transformers: nothing but fp32, a GPU, or what the user wants.
    if "" not in stated and (stated <= {wanted} or wanted == "stored" or (wanted == "auto" and not on_cpu)):
        provenance.NOTED[COMPUTED] = ", ".join(sorted(stated))
        args.compute_dtype = "stored"
        return {}
    from sftlens.models import checkpoints

    types = [checkpoints.chosen_type(path, args.compute_dtype, on_cpu=on_cpu) for path in models]
    provenance.NOTED[COMPUTED] = ", ".join(sorted({name_of(computed) for _, computed in types}))
    others = {name_of(computed) for stored, computed in types if stored != computed}
    args.compute_dtype = others.pop() if others else "stored"
    return {} if args.compute_dtype == "stored" else {"compute_dtype": args.compute_dtype}


def name_of(dtype: Any) -> str:
    """Return what the configuration calls a type of torch."""
    return str(dtype).removeprefix("torch.")


def refuse_same(base: Path, finetuned: Path, inputs: Mapping[str, str] | None = None) -> None:
    """Raise ConfigError where the fine-tuned model is the base itself, by place or by the hashes `inputs`."""
    if identity.resolve(base).samefile(identity.resolve(finetuned)):
        raise ConfigError(f"{finetuned}: is the base model itself; give the model that was fine-tuned from it")
    if inputs and inputs["base"] == inputs["finetuned"]:
        raise ConfigError(f"{finetuned}: holds the same as {base}: fine-tuning changed nothing; give another model")


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
        sys.exit(f"error: {explained(error)}")
    except (MemoryError, RuntimeError) as error:
        # torch says it in a RuntimeError: of the GPU in a class of its own, of the CPU in words.
        if not isinstance(error, MemoryError) and not NO_MEMORY.search(f"{type(error).__name__} {error}"):
            raise
        remedy = "lower batch_tokens or the batch size, or take a machine with more"
        sys.exit(f"error: the memory is too small ({one_line(str(error))[:200] or type(error).__name__}); {remedy}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BaseException as error:
        if not panicked(error):
            raise
        said = one_line(str(error))[:200]
        sys.exit(f"error: a library broke off ({said}); a file that it read is damaged: fetch or make it again")


def run_and_leave(main: Callable[[], None]) -> NoReturn:
    """Do the same as a process of its own, and end it without tearing torch down object by object, which takes long."""
    run(main)
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
