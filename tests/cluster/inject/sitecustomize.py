"""Tests only (PYTHONPATH): Slurm jobs are looked at every second; the training of a cell fails or waits when told to.

That torch sees none of the faked GPUs is no fault.

The plugin waits ten seconds longer after every look that found nothing, up to three minutes, and has no setting for
that. In the folder SFTLENS_TEST_FAULTS a file `fail` holds the words that mark the call of a training that fails; while
a file `hold` is there, the processes of a training wait before their second step, and say so by `reached-RANK`.
"""

import importlib.abc
import importlib.machinery
import os
import sys
import time
from pathlib import Path

POLLING = "snakemake_interface_executor_plugins.executors.remote"
TRAINING = "sftlens.training.loop"
DEVICES = "sftlens.runtime.launch.devices"
FAULTS = Path(os.environ.get("SFTLENS_TEST_FAULTS", "/nonexistent"))


def poll_quickly(module):
    import asyncio

    async def sleep(self):
        await asyncio.sleep(1)

    module.RemoteExecutor.sleep = sleep


def wait_at_the_second_step(module):
    original = module.take_step

    def take_step(engine, batch, number, *rest):
        if number == 2 and (FAULTS / "hold").exists():
            (FAULTS / f"reached-{os.environ.get('RANK', '0')}").touch()
            while (FAULTS / "hold").exists():
                time.sleep(0.1)
        return original(engine, batch, number, *rest)

    module.take_step = take_step


def believe_in_the_faked_gpus(module):
    module.refuse_unseen = lambda count: None


CHANGES = {POLLING: poll_quickly, DEVICES: believe_in_the_faked_gpus, TRAINING: wait_at_the_second_step}


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name not in CHANGES:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        load = spec.loader.exec_module

        def exec_module(module):
            load(module)
            CHANGES[name](module)

        spec.loader.exec_module = exec_module
        return spec


sys.meta_path.insert(0, Finder())

words = " ".join(getattr(sys, "orig_argv", []))
if "finetune.py" in words and (FAULTS / "fail").exists() and (FAULTS / "fail").read_text() in words:
    print("error: injected by a test", file=sys.stderr, flush=True)
    os._exit(1)
