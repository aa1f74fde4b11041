"""Functions run in groups of processes that train together, forked from a server that has imported everything.

Starting such a group costs milliseconds instead of seconds.
"""

import importlib
import multiprocessing
import os
import socket
import sys
from collections.abc import Callable

import pytest

from sftlens.training import deepspeed_engine

# Imported here, in the server, once for all processes; DeepSpeed imports most of it only when an engine is made.
deepspeed_engine._deepspeed(cuda=False)
for name in (
    "deepspeed.runtime.zero.stage3",
    "deepspeed.runtime.zero.stage_1_and_2",
    "functorch.compile",
    "networkx",
    "sftlens.training.loop",
    "torch._inductor.compile_fx",
    "transformers.integrations.deepspeed",
    "transformers.models.auto.modeling_auto",
    "transformers.models.llama.modeling_llama",
):
    importlib.import_module(name)


def run(function: Callable[..., object], processes: int, *args: object) -> list[int]:
    """Call `function(rank, *args)` in so many processes; return their exit codes (minus a signal's number)."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["process_groups"])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = [
        context.Process(target=_member, args=(function, rank, processes, port, args)) for rank in range(processes)
    ]
    with pytest.MonkeyPatch.context() as patch:
        # Before Python 3.12 the server does not look where this process does, and silently imports nothing.
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        for process in started:
            process.start()
    for process in started:
        process.join(timeout=120)
    return [process.exitcode for process in started]


def _member(function: Callable[..., object], rank: int, processes: int, port: int, args: tuple[object, ...]) -> None:
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - what a dying group prints
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE=str(processes), OMP_NUM_THREADS="1")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    code: object = 1
    try:
        function(rank, *args)
        code = 0
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(int(str(code)))  # what libraries do at the end of a process takes longer than the test
