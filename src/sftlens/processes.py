"""The processes of a machine, or of a container, whose processes have numbers of their own."""

import os
from contextlib import suppress


def alive(pid: int) -> bool:
    """Whether a process of this machine is alive; what is no number of a process may be one elsewhere."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # another user's process may not be signalled
        return True
    return True


def space() -> str:
    """Return what stands for the numbers of processes that this process sees; "" where the system does not say."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""
