"""The errors a user can mend: every message names the file, the key and the remedy."""

import errno


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


NO_ROOM = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EDQUOT, errno.EFBIG, errno.ENOTDIR)
"""What the system says of a full or read-only disk (or file: EFBIG), and of a file in the place of a folder."""


def explained(error: OSError) -> str | None:
    """Return the message of a disk that cannot be written to; None for other errors of the system."""
    if error.errno not in NO_ROOM:
        return None
    # Of the two files of a copy the second one is written.
    return f"{error.filename2 or error.filename or 'output'}: {error.strerror}; free space or choose another folder"
