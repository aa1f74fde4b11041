"""Progress bars are for people: drawn on a terminal, silent in a pipe or a log."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

from repository import ROOT

SOURCE = ROOT / "src"
PATH = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); "
WORK = PATH + "from sftlens.runtime import progress; list(progress.bar(range(3), 'probe'))"


def test_a_terminal_shows_the_bar() -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    done = subprocess.run([sys.executable, "-c", WORK], stderr=theirs, timeout=60)
    shown = os.read(ours, 65536).decode()
    os.close(ours)
    os.close(theirs)
    assert done.returncode == 0
    assert "probe" in shown and "/3" in shown


def test_a_pipe_stays_quiet() -> None:
    done = subprocess.run([sys.executable, "-c", WORK], capture_output=True, timeout=60, check=True)
    assert done.stdout == done.stderr == b""
