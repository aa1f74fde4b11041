"""How a stage is started: in this process, in several on this node, on several nodes; and on which GPUs.

`start` runs a script in N processes, each of them inside `worker`; `helped` runs more of them beside this one; `lease`
takes GPUs of this machine. Nothing else knows about launchers.
"""

from sftlens.runtime.launch.devices import lease, on_cpu, refuse_unseen
from sftlens.runtime.launch.group import Layout
from sftlens.runtime.launch.slurm import be_alone, seconds_left, start
from sftlens.runtime.launch.workers import HELPER, helped, share_threads, worker

__all__ = [
    "HELPER", "Layout", "be_alone", "helped", "lease", "on_cpu", "refuse_unseen", "seconds_left", "share_threads",
    "start", "worker",
]  # fmt: skip
