"""One node's part of a group on several nodes; started by srun (see `sftlens.runtime.launch.slurm`), not by hand."""

import json
import os
import sys
from pathlib import Path

from sftlens.runtime.launch.group import Node, run


def main(described: str) -> int:
    """Run this node's processes of the group that a JSON text describes; return the exit status."""
    group = json.loads(described)
    node = Node(group["nodes"], int(os.environ["SLURM_NODEID"]), group["address"], group["port"])
    return run(Path(group["script"]), group["arguments"], group["processes"], node, Path(group["messages"]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
