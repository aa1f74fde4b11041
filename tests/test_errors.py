"""A message is one line of bounded length, whatever names and values it repeats."""

import errno

import pytest

from sftlens.errors import DataError, explained


def test_a_message_is_one_short_line() -> None:
    message = str(DataError(f"a\nb\x1b[31m\u2028{'x' * 100_000}: the remedy"))
    assert "\n" not in message and "\x1b" not in message and "\u2028" not in message
    assert len(message) < 2100
    assert message.startswith("a b [31m ") and message.endswith(": the remedy")
    assert str(DataError("as it is")) == "as it is"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileExistsError(errno.EEXIST, "", "here"), "here: File exists; remove what is in this place"),
        (OSError(errno.ELOOP, "", "here"), "remove the link that leads back to itself"),
        (OSError(errno.ENAMETOOLONG, "", "y" * 5000), "characters ...]"),
        (OSError(errno.ENOSPC, "", "from", None, "to"), "to: No space left on device; free space"),
        (OSError("without a number"), "OSError: without a number"),
        (IsADirectoryError(errno.EISDIR, "", b"\xff"), "Is a directory"),
    ],
)
def test_an_error_of_the_system_is_one_line(error: OSError, words: str) -> None:
    message = explained(error)
    assert words in message and "\n" not in message and len(message) < 2100
