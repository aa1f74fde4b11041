"""Calling the scripts as a user does, in this process where that is enough."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from unittest.mock import patch

import pytest

from sftlens import cli
from sftlens.commands import program

SCRIPTS = Path(__file__).parent.parent / "scripts"


def ok(script: str, *args: object) -> None:
    """Run a script in this process: starting one costs more than the work."""
    name = script.removesuffix(".py")
    group = next(group for group, names in cli.PROGRAMS.items() if name in names)
    with patch.object(sys, "argv", [script, *map(str, args)]):
        program.run(import_module(f"sftlens.commands.{group}.{name}").main)


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
