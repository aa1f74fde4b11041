"""Draw the question set of sftlens check from EntityQuestions anew.

  sftlens question-set --entity-questions DIR_OR_ZIP --out questions.csv

About 50 facts of each of the 24 relations, those whose subjects the data set names most often. The rule stands in
sftlens/data/question_sets/shipped.py. With the default seed the file is byte for byte the one that comes with sftlens.
Columns: fact_id, relation, subject, question (in words of our own), answers (with | between several).
"""

import csv
import io
import os
from pathlib import Path

from sftlens import files
from sftlens.commands import headline, options, written
from sftlens.data import facts
from sftlens.data.question_sets import shipped
from sftlens.errors import ConfigError


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--entity-questions", metavar="DATA", help="folder or zip (default: ENTITY_QUESTIONS_DIR)")
    parser.add_argument("--seed", type=int, default=0, help="order of subjects that are named equally often")
    parser.add_argument("--out", type=Path, required=True, help="CSV file to write")
    args = parser.parse_args()
    if not (path := args.entity_questions or os.environ.get(facts.VARIABLE)):
        raise ConfigError(f"no data set is named; give --entity-questions, or set {facts.VARIABLE}")
    written.check(args, {"questions.csv": args.out})
    rows = shipped.draw(Path(path).expanduser(), args.seed)
    text = io.StringIO()
    writer = csv.DictWriter(text, shipped.COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    files.write_text(args.out, text.getvalue())
    headline.say("question_set", [args.out], f"{len(rows):,} facts")
