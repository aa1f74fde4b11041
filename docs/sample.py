"""Write docs/sample-report.html: the demo's report without its scripts, which are other people's libraries.

python docs/sample.py    after `make demo`; `make sample` does both
"""

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPORT = HERE.parent / "results/demo/report.html"
SAID = (
    "<p><em>A sample: the report of <code>make demo</code>, with the scripts taken out. In the "
    "report itself one can point at charts, switch lines on and off, and sort, filter and copy tables.</em></p>"
)


def sample(page: str) -> str:
    """Return a report without scripts: its figures and tables are what one sees where no script runs."""
    page = re.sub(r"<script\b.*?</script>\n?", "", page, flags=re.DOTALL)
    page = re.sub(r" script-src[^;\"]*;", "", page, count=1)
    return page.replace("</h1>", f"</h1>\n{SAID}", 1)


if __name__ == "__main__":
    report = Path(sys.argv[1]) if len(sys.argv) > 1 else REPORT
    (HERE / "sample-report.html").write_text(sample(report.read_text(encoding="utf-8")), encoding="utf-8")
