"""Keep what some stages make now, after their numbers in sftlens.runtime.result_version were raised.

python tests/golden/renew.py STAGE...
"""

import json
import sys
import tempfile
from pathlib import Path

GOLDEN = Path(__file__).parent


def main(stages: list[str]) -> None:
    """Write STAGE.json of each stage. Ends with an error for one whose number is that of the results on record."""
    sys.path[:0] = [str(GOLDEN), str(GOLDEN.parent), str(GOLDEN.parents[1] / "src")]
    import stage_results

    from sftlens.files import write_text
    from sftlens.runtime.result_version import RESULT_VERSION

    for stage in stages:
        known = stage_results.read(stage)
        if known and known["version"] >= RESULT_VERSION[stage]:
            sys.exit(
                f"error: {stage}: raise its number in src/sftlens/runtime/result_version.py first "
                f"(results of number {known['version']} are on record)"
            )
    with tempfile.TemporaryDirectory() as temporary:
        inputs = stage_results.prepare(Path(temporary) / "inputs")
        for stage in stages:
            made = stage_results.made(stage, inputs, Path(temporary) / "made" / stage)
            text = json.dumps({"version": RESULT_VERSION[stage], "made": made}, ensure_ascii=False, indent=1)
            write_text(GOLDEN / f"{stage}.json", text + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
