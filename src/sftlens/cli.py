"""`sftlens PROGRAM ...`: every program under one name, and the workflow that runs them as a study."""

import difflib
import sys
from importlib import import_module
from pathlib import Path

PROGRAMS = {
    "measure": (
        "check", "question_set", "facts", "mastery", "mastery_quality", "evaluate", "divergence_base", "divergence",
        "changes", "compare", "compare_changes",
    ),
    "tune": ("training_set", "finetune"),
    "fix": ("restore", "repair", "delta"),
    "study": (
        "study", "status", "clean", "plan", "requirements", "base", "choose_templates", "collect", "export",
        "config_docs",
    ),
    "worlds": ("world", "worlds"),
}  # fmt: skip
"""The programs by the folder of sftlens.commands that holds them, in the order of `sftlens --help`."""
TITLES = {"measure": "measure a model", "tune": "fine-tune", "fix": "repair", "study": "run a whole study",
          "worlds": "invent worlds"}  # fmt: skip
ENTRY = Path(__file__).with_name("__main__.py")
"""The file that runs a program, its name the first argument, in a process of its own."""


def main(name: str | None = None) -> None:
    """Run a program with the arguments of this process: the one named, else the one that the first argument names."""
    if name is None:
        if len(sys.argv) < 2 or sys.argv[1] in ("-h", "--help"):
            print(overview())
            return
        if sys.argv[1] == "--version":
            from sftlens import __version__

            print(f"sftlens {__version__}")
            return
        name = sys.argv.pop(1)
        sys.argv[0] = f"sftlens {name}"
    name = name.replace("-", "_")
    group = next((group for group, names in PROGRAMS.items() if name in names), None)
    if group is None:
        known = [name for names in PROGRAMS.values() for name in names]
        near = difflib.get_close_matches(name, known, n=1)
        sys.exit(f"error: there is no program {name!r}; " + (f"did you mean {near[0]!r}?" if near else "see --help"))
    from sftlens.commands import program

    program.run_and_leave(import_module(f"sftlens.commands.{group}.{name}").main)


def overview() -> str:
    """Return the text of `sftlens --help`: each program with the first line of its description."""
    lines = ["usage: sftlens PROGRAM [options]; sftlens PROGRAM --help describes one", ""]
    lines += ["What supervised fine-tuning does to what a language model knows: measure it, repair it."]
    for group, names in PROGRAMS.items():
        lines += ["", f"{TITLES[group]}:"]
        for name in names:
            # Read, not imported: some programs load torch, and a list of them need not wait for that.
            with (ENTRY.parent / "commands" / group / f"{name}.py").open(encoding="utf-8") as file:
                lines.append(f"  {name.replace('_', '-'):17} {file.readline().strip().strip(chr(34)).rstrip('.')}")
    return "\n".join(lines)
