"""The errors a user can mend: every message names the file, the key and the remedy."""

import errno
import os
import re

LONGEST_MESSAGE = 2000
"""Characters of a message; of a longer one the middle, most likely somebody's data, is left out."""


class SftlensError(Exception):
    """Something the user gave us is wrong; the message says what to change."""

    def __str__(self) -> str:
        """Return the message in one line, whatever the names and values in it hold."""
        return one_line(super().__str__())


def one_line(text: str) -> str:
    """Return a text without line breaks and control characters, shortened to about LONGEST_MESSAGE characters."""
    line = re.sub(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+", " ", text).strip()
    if len(line) <= LONGEST_MESSAGE:
        return line
    head, tail = line[: LONGEST_MESSAGE // 2], line[-LONGEST_MESSAGE // 4 :]
    return f"{head} [... {len(line) - len(head) - len(tail):,} characters ...] {tail}"


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
    errno.EROFS: "make it writable or choose another folder",
    errno.EACCES: "change its permissions or choose another folder",
    errno.EPERM: "change its permissions or choose another folder",
    errno.ENOTDIR: "remove the file that is in the place of a folder or choose another folder",
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free space or choose another folder"),
}
"""What helps against an error of the disk."""
REMEDIES = MENDED | {
    errno.ENOENT: "correct the path",
    errno.EEXIST: "remove what is in this place, a file or a link that leads nowhere, or choose another",
    errno.ENOTEMPTY: "remove what is in this place or choose another",
    errno.EISDIR: "give a file, or remove the folder that is in its place",
    errno.ELOOP: "remove the link that leads back to itself",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the number of open files (ulimit -n)",
    errno.ENOMEM: "take a machine with more memory",
    errno.ESTALE: "the file system was mounted anew: try again",
    errno.EIO: "the disk or the file system is damaged: look at the system's log",
}
"""What helps against an error of the system."""


def explained(error: OSError) -> str:
    """Return the message of an error of the system in one line: the file, what is wrong, and the remedy."""
    if error.errno is None:
        return one_line(f"{type(error).__name__}: {error}")
    # pyarrow's own texts say less than the system's. Of the two files of a copy the second one is written.
    name = error.filename2 or error.filename or "output"
    named = os.fsdecode(name) if isinstance(name, (str, bytes)) else str(name)
    return one_line(f"{named}: {os.strerror(error.errno)}; {REMEDIES.get(error.errno, 'look at this place')}")


def panicked(error: BaseException) -> bool:
    """Whether a library written in Rust broke off, such as tokenizers: its class of errors is no Exception."""
    return type(error).__name__ == "PanicException"
