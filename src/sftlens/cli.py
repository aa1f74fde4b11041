"""`sftlens STAGE ...`: every program under one name."""

import sys
from importlib import import_module
from pathlib import Path

PROGRAMS = {
    "measure": ("facts", "mastery", "mastery_quality", "evaluate", "divergence", "changes", "compare_changes"),
    "tune": ("training_set", "finetune"),
    "fix": ("restore", "delta", "repair"),
    "study": ("world", "base", "choose_templates", "collect", "plan", "requirements", "config_docs"),
}
ENTRY = Path(__file__).with_name("__main__.py")
"""The file that runs a program, its name the first argument, in a process of its own."""


def main() -> None:
    """Run the program that the first argument names with the other arguments."""
    from sftlens.commands import program

    name = sys.argv[1].replace("-", "_") if len(sys.argv) > 1 else ""
    group = next((group for group, names in PROGRAMS.items() if name in names), None)
    if group is None:
        known = ", ".join(name for names in PROGRAMS.values() for name in names)
        sys.exit(f"error: unknown program {name!r}; use one of {known}")
    sys.argv[:2] = [f"sftlens {name}"]
    program.run_and_leave(import_module(f"sftlens.commands.{group}.{name}").main)
