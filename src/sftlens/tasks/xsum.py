"""One-sentence summaries of news articles (paper Table 5)."""

from collections.abc import Callable, Sequence
from functools import lru_cache

from sftlens.tasks import TASKS, Task
from sftlens.tasks.closed_book_qa import prompt, target

KINDS = ("rouge1", "rouge2", "rougeL")


@lru_cache(maxsize=10_000)
def scores(output: str, summary: str) -> dict[str, float]:
    """Return the ROUGE F-measures, 0 to 1, of two texts with Porter's stemming (package rouge-score).

    Lin, "ROUGE: a package for automatic evaluation of summaries", ACL workshop 2004.
    """
    from rouge_score import rouge_scorer

    found = rouge_scorer.RougeScorer(list(KINDS), use_stemmer=True).score(summary, output)
    return {kind: float(found[kind].fmeasure) for kind in KINDS}


def judgement(kind: str) -> Callable[[str, Sequence[str]], float]:
    """Return the ROUGE of an output against the best of the accepted summaries."""
    return lambda output, accepted: max(scores(output, summary)[kind] for summary in accepted)


TASKS.add(
    Task(
        "xsum",
        "One-sentence summaries of articles; a long article is cut at its end",
        "Narayan et al., EMNLP 2018, arXiv 1808.08745; arXiv 2509.16596, Table 5",
        prompt,
        target,
        {kind: judgement(kind) for kind in KINDS},
        columns=("document", "summary"),
        max_new_tokens=128,
        max_length=1024,
        cut=True,
        sample=500,
    )
)
