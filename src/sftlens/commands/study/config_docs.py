"""Write what describes the configuration: config/schema.json, config/README.md and config/all-keys.yaml.

python scripts/config_docs.py            write them anew, after a change of a key or its docstring
python scripts/config_docs.py --check    exit 1 and name those that are out of step
"""

import argparse
import sys
from pathlib import Path

from sftlens import files
from sftlens.config import documentation, loading

CONFIG = Path("config")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    args = parser.parse_args()
    texts = documentation.documents(loading.load_file(CONFIG / "config.yaml"))
    changed = [
        name
        for name, text in texts.items()
        if not (CONFIG / name).is_file() or (CONFIG / name).read_text(encoding="utf-8") != text
    ]
    if args.check and changed:
        names = ", ".join(f"config/{name}" for name in changed)
        sys.exit(f"error: out of step with the settings: {names}; run `python scripts/config_docs.py`")
    for name in changed:
        files.write_text(CONFIG / name, texts[name])
