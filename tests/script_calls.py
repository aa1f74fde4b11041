"""Calling the scripts as a user does, in this process where that is enough."""

import runpy
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

SCRIPTS = Path(__file__).parent.parent / "scripts"


def ok(script: str, *args: object) -> None:
    """Run a script in this process: starting one costs more than the work."""
    argv, path = [script, *map(str, args)], [str(SCRIPTS), *sys.path]
    with patch.object(sys, "argv", argv), patch.object(sys, "path", path):
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")


def refused(script: str, *args: object) -> str:
    """Run a script that must end with one line of error, and return it."""
    with pytest.raises(SystemExit) as end:
        ok(script, *args)
    message = str(end.value.code)
    assert message.startswith("error: ") and "\n" not in message, message
    return message


def process(script: str, *args: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPTS / script), *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300)
