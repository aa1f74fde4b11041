"""What every column and metric of results.parquet means: the source of docs/results.md."""

from collections.abc import Iterator

from sftlens.results.collect import COLUMNS

INTRODUCTION = """# The columns and metrics of results.parquet

<!-- made by scripts/config_docs.py from src/sftlens/results/dictionary.py; do not edit -->

`results/<study>/results.parquet` is the one tidy table of a study: one row a number, in the order of the grid. Every
figure and table is a function of it (`intervals` and `contrasts` besides of the answers, `answers.parquet` in a cell's
folder). Wall time, memory and hosts are not in it: they stand in the block `run` of each `summary.json`.

```python
import pandas as pd

results = pd.read_parquet("results/demo/results.parquet")
accuracy = results.query("stage == 'evaluate' and metric == 'contains' and bucket == 'macro' and relation == ''")
accuracy.pivot_table("value", ["train_set", "scale"], "split")
```

## Columns

An axis that does not apply is empty (text), 0 (`seed`) or missing (`ratio`).
"""
AXES = {
    "study": "name of the study",
    "model": "name of the base model in the configuration",
    "train_set": "where the training examples come from: `D0` to `D4`, `mixed`; `base` at n = 0",
    "scale": "number of training examples n as text, or `all`; `0` is the base model",
    "seed": "seed of the training set and of its order",
    "strategy": "way of fine-tuning; `base` and `fewshot` at n = 0",
    "stage": "what measured it: one of the sections below",
    "criterion": "ranking criterion of a restoration, or the post-hoc method",
    "region": "parameters that are ranked: `transformer`, `attention`, `layers0-3`, ...",
    "ratio": "k: percent of the region's elements that are restored, or that rank first",
    "split": "`train`, `test` (in-domain relations), `testood` (out-of-domain relations)",
    "bucket": "mastery bucket `D0` to `D4` of the question by its base model, `all` questions, or `macro`, the unweighted mean "
    "of the five; in `mastery_quality` also a design or a bin",
    "relation": "a single relation (all buckets); empty: all of the split",
    "layer": "index of the block, from 0; empty: outside the blocks",
    "module": "projection, such as `q_proj`",
    "metric": "what the value is: see below",
    "value": "the number, in the unit of its metric",
    "n": "what it was taken over (see below); 0 where nothing was counted",
    "low": "lower end of its 95 % interval; missing without one",
    "high": "upper end of its 95 % interval",
}
_ANSWERS = {
    "contains": ("share", "questions", "the answer contains the object or an alias: the paper's accuracy"),
    "word_boundary": ("share", "questions", "the same, and not as a part of a longer word"),
    "exact": ("share", "questions", "the answer is an accepted one and nothing else, up to SQuAD's normalisation"),
    "f1": ("share", "questions", "SQuAD's token overlap with the best accepted answer"),
    "well_formed": ("share", "questions", "the answer ends within the limit of new tokens"),
    "contains_given_well_formed": ("share", "well-formed answers", "`contains` among well-formed answers"),
    "contains_without_leak": (
        "share",
        "questions without leak",
        "`contains` where the subject holds no answer",
    ),
    "contains_not_in_train": (
        "share",
        "such questions",
        "`contains` where the question is no train fact",
    ),
    "leak": ("share", "questions", "the subject already holds an accepted answer"),
    "in_train": ("share", "questions", "the question also stands among the train facts"),
    "reprobed_mastery": (
        "share",
        "facts of a fixed sample",
        "mean R of this model, probed as its base was",
    ),
    "base_mastery": ("share", "the same facts", "mean mastery R of the base model by its first probe"),
}
METRICS: dict[str, dict[str, tuple[str, str, str]]] = {
    "mastery": {
        "facts": ("facts", "facts", "facts of a split in a bucket (paper Tables 1 and 8)"),
        "facts_probed": ("facts", "facts", "the same where a quota ended probing early: no count of all facts"),
    },
    "mastery_quality": {
        "retest_agreement": ("share", "facts", "a second probe puts a fact into the same bucket"),
        "retest_within_one": ("share", "facts", "the two buckets are at most one apart"),
        "expected_agreement": ("share", "facts", "what the posterior predicts for `retest_agreement`"),
        "expected_within_one": ("share", "facts", "what the posterior predicts for `retest_within_one`"),
        "kappa": ("-1 to 1", "facts", "Cohen's kappa of the two buckets"),
        "kappa_quadratic": ("-1 to 1", "facts", "the same with quadratic weights"),
        "retest_correlation": ("-1 to 1", "facts", "Pearson correlation of R in the two probes"),
        "retest_difference": ("R", "facts", "mean of the second minus the first R"),
        "prior_zero": ("share", "facts", "facts whose true rate is zero (zero-inflated beta prior, fitted)"),
        "prior_alpha": ("", "facts", "first parameter of that beta distribution"),
        "prior_beta": ("", "facts", "second parameter of that beta distribution"),
        "posterior_facts": ("facts", "facts of the split", "expected number of facts whose rate lies in the bucket"),
        "bucket_certainty": ("share", "facts of the bucket", "mean posterior probability of the facts' own bucket"),
        "variance_relation": ("variance", "relations", "between the relations' true mean rates"),
        "variance_fact": ("variance", "relations", "of a completion's hit, due to the fact"),
        "variance_template": ("variance", "relations", "the same, due to the template"),
        "variance_interaction": ("variance", "relations", "the same, due to fact x template"),
        "variance_sample": ("variance", "relations", "the same, due to the single sample"),
        "share_of_R_fact": ("share", "relations", "part of the variance of R that is the fact's"),
        "share_of_R_template": ("share", "relations", "the template's part"),
        "share_of_R_interaction": ("share", "relations", "the part of fact x template"),
        "share_of_R_sample": ("share", "relations", "the samples' part"),
        "reliability": ("share", "relations", "generalisability of R for a design (`bucket`: templates x samples)"),
        "error_sd": ("R", "relations", "standard deviation of a fact's R about its true rate, for a design"),
        "mastery_by_exposure": ("R", "facts", "mean R of the facts that the corpus states so often (`bucket`)"),
        "exposure_spearman": ("-1 to 1", "facts", "rank correlation of R with exposure"),
        "mastery_by_probability": ("R", "facts", "mean R in a bin of the probability of the answer (`bucket`)"),
        "probability_in_bin": ("share", "facts", "mean probability of the answer in that bin"),
        "probability_spearman": ("-1 to 1", "facts", "rank correlation of R with the probability of the answer"),
        "probability_brier": ("R squared", "facts", "mean squared difference of that probability and R"),
        "probability_ece": ("R", "facts", "expected calibration error of that probability"),
    },
    "finetune": {
        "examples": ("examples", "examples", "real size of the training set"),
        "loss_first": ("nats per token", "supervised tokens of the step", "training loss of the first step"),
        "loss_last": ("nats per token", "supervised tokens of the step", "training loss of the last step"),
    },
    "evaluate": {
        **_ANSWERS,
        "majority": (
            "share",
            "questions",
            "`contains` of always giving a relation's most frequent train object",
        ),
        "majority_of_asked": (
            "share",
            "questions",
            "the same of the asked facts, for relations without train facts",
        ),
    },
    "divergence": {
        "facts_kept": (
            "facts",
            "facts of bucket D4",
            "facts whose answer comes near the beginning of the base's completion",
        ),
        "kl": (
            "nats",
            "facts kept",
            "KL(fine-tuned || base), first token, ten most probable tokens, own prompts",
        ),
        "kl_at_start": ("nats", "such facts", "the same where the answer comes at once"),
        "kl_same_prompt": ("nats", "facts kept", "the same with the question's prompt for both models"),
        "kl_full_pq": ("nats", "facts kept", "KL(fine-tuned || base) over the whole vocabulary"),
        "kl_full_qp": ("nats", "facts kept", "KL(base || fine-tuned) over the whole vocabulary"),
    },
    "changes": {
        **{
            f"{null}share_of_{end}": ("share", "elements", f"sum of {what} held by the k % that rank first{how}")
            for null, how in (("", ""), ("null_", ", with the changes permuted in each tensor"))
            for end, what in (
                ("change", "r = \\|d\\| / (\\|p\\| + 1e-8)"),
                ("abs_d", "\\|d\\|, d = s - p"),
                ("d2", "d²"),
            )
        },
        "unchanged": ("share", "elements of the region", "elements that training left as they were"),
        "place_elements": ("share", "elements of the place", "a layer's and module's part of the region's parameters"),
        "place_restored": ("share", "elements of the place", "its part of the 20 % that rank first"),
        "place_null_restored": ("share", "elements of the place", "the same with the changes permuted in each tensor"),
        "place_sum_r": ("share", "elements of the place", "its part of the sum of r"),
        "place_sum_abs_d": ("share", "elements of the place", "its part of the sum of \\|d\\|"),
        "place_sum_d2": ("share", "elements of the place", "its part of the sum of d²"),
        "place_unchanged": ("share", "elements of the place", "its own elements that training left as they were"),
    },
    "restore": {
        **_ANSWERS,
        "reverted_elements": ("share", "elements of the region", "elements that differ from the fine-tuned model's"),
        "reverted_change": ("share", "elements of the region", "part of the sum of r that was reverted"),
        "reverted_abs_d": ("share", "elements of the region", "part of the sum of \\|d\\| that was reverted"),
        "reverted_d2": ("share", "elements of the region", "part of the sum of d² that was reverted"),
        "distance_to_base": ("", "elements of the region", "Euclidean distance of the restored model from its base"),
    },
}
"""Stage -> metric -> its unit, what n counts, and what it is."""


def document() -> str:
    """Return docs/results.md. Raises KeyError for a column that nothing is said of."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield INTRODUCTION
    yield from ("| column | type | meaning |", "|---|---|---|")
    for name, dtype in COLUMNS.items():
        yield f"| `{name}` | {dtype} | {AXES[name]} |"
    for stage, metrics in METRICS.items():
        yield f"\n## `{stage}`\n"
        yield from ("| metric | unit | n | meaning |", "|---|---|---|---|")
        for name, (unit, count, text) in metrics.items():
            yield f"| `{name}` | {unit or '-'} | {count} | {text} |"
