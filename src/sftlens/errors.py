"""The errors a user can mend: every message names the file, the key and the remedy."""

import errno
import os


class SftlensError(Exception):
    """Something the user gave us is wrong; the message says what to change."""


class ConfigError(SftlensError):
    """A key of the configuration is unknown, malformed or contradicts another one."""


class DataError(SftlensError):
    """A data file is missing, truncated or malformed."""


class TemplateError(SftlensError):
    """A completion template is missing or has no place for its subject."""


class ModelError(SftlensError):
    """A checkpoint or a tokenizer cannot be used as it is."""


class LaunchError(SftlensError):
    """The processes, nodes or GPUs that a job was to run on cannot be had."""


class TrainingError(SftlensError):
    """Training cannot start or cannot go on."""


class TrainingPaused(SftlensError):
    """Training stopped before its end because its time was over; the same command goes on where it stopped."""


PAUSED_STATUS = 75
"""Exit status of a program that stopped like that (EX_TEMPFAIL of sysexits.h: try again later)."""


MENDED = {
    errno.EROFS: "make it writable",
    errno.EACCES: "change its permissions",
    errno.ENOTDIR: "remove the file that is in the place of a folder",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space"),
}
"""What helps against an error of the system."""


def explained(error: OSError) -> str | None:
    """Return the message of a disk that cannot be written to; None for other errors of the system."""
    if error.errno not in MENDED:
        return None
    # pyarrow's own texts say less than the system's. Of the two files of a copy the second one is written.
    reason, remedy = os.strerror(error.errno), MENDED[error.errno]
    return f"{error.filename2 or error.filename or 'output'}: {reason}; {remedy} or choose another folder"
