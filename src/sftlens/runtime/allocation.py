"""How this process gets its memory, and gives it back."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_KEPT = 32 << 20
_MOST_KEPT = 256 << 20
_FIRST_COLLECTION = 1_000_000
_COLLECTION = (200_000, 20, 50)


def keep_freed() -> None:
    """Let glibc keep up to 256 MB that tensors of less than 32 MB free, for the next ones.

    By default it returns them to the system, and getting them anew took a tenth of the time of generation. Does
    nothing where there is no glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        mallopt(_M_TRIM_THRESHOLD, _MOST_KEPT)


def collect_late() -> None:
    """Look for garbage only after a million new objects, and from then on for what has come since.

    Importing torch and transformers makes half a million objects that last; a small job would spend much of its time
    looking through them again and again (benchmarks/start_up.py).
    """
    gc.set_threshold(_FIRST_COLLECTION)
    gc.callbacks.append(_settle)


def _settle(phase: str, info: dict[str, int]) -> None:
    if phase == "stop":
        gc.callbacks.remove(_settle)
        gc.freeze()
        gc.set_threshold(*_COLLECTION)
