"""How a stage is started: in this process, in several on this node, on several nodes; and on which GPUs.

`start` runs a script in N processes, each of them inside `worker`; `lease` takes GPUs of this machine. Nothing
else knows about launchers.
"""

from sftlens.launch.devices import lease, refuse_unseen
from sftlens.launch.layout import Layout
from sftlens.launch.slurm import seconds_left
from sftlens.launch.starting import start
from sftlens.launch.workers import worker

__all__ = ["Layout", "lease", "refuse_unseen", "seconds_left", "start", "worker"]
