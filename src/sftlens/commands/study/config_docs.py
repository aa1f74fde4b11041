"""Write the pages generated from the code: schema.json, README.md and all-keys.yaml of config/, docs/results.md.

sftlens config-docs            write them anew, after a change of a key, a column, a metric or its description
sftlens config-docs --check    exit 1 and name those that are out of step
"""

import sys
from pathlib import Path

from sftlens import files
from sftlens.commands import headline, options
from sftlens.config import documentation, loading
from sftlens.results import dictionary

CONFIG = Path("config")


def main() -> None:
    parser = options.Parser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, compare")
    args = parser.parse_args()
    pages = documentation.documents(loading.load_file(CONFIG / "config.yaml"))
    texts = {CONFIG / name: text for name, text in pages.items()} | {Path("docs/results.md"): dictionary.document()}
    changed = [path for path, text in texts.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if args.check and changed:
        names = ", ".join(map(str, changed))
        sys.exit(f"error: out of step with the code: {names}; run `sftlens config-docs`")
    for path in changed:
        files.write_text(path, texts[path])
        headline.say("config_docs", [path])
