"""What the page says of each figure and table."""

CAPTIONS = {
    "fig2": (
        "Accuracy against the number of training examples",
        "Share of test questions whose greedy answer contains the right object or an alias, averaged over "
        "the five mastery buckets with equal weight, for in-domain (ID) and out-of-domain (OOD) "
        "relations. One line per bucket that the training examples come from. The grey lines are the "
        "model before fine-tuning, with the same prompt and, where measured, with five examples in the "
        "prompt. Paper: Figures 2 and 6.",
    ),
    "fig4": (
        "Accuracy on well-known facts",
        "The same accuracy on test bucket D4 (ID) alone: facts that the base model completes correctly "
        "more than three times in four. Paper: Figure 4.",
    ),
    "fig5": (
        "KL divergence from the base model",
        "KL(fine-tuned || base) of the first predicted token over the fine-tuned model's ten most "
        "probable tokens, mean over the ID test facts of bucket D4 whose answer comes near the beginning "
        "of the completion. The fine-tuned model reads the question, the base model a completion "
        "template, so the value at n = 0 shows what this difference of prompts alone does. Paper: Figure "
        "5.",
    ),
    "exposure": (
        "Mastery against exposure",
        "Mean mastery R of the facts that the pretraining text states so often, with its 95 % interval over facts. "
        "The text was written here, so exposure is known; with a real model it is not. What the text never "
        "states can only be guessed.",
    ),
    "reliability": (
        "How good the measurement of mastery is",
        "A random sample of facts was probed a second time with other random numbers. Expected is what the first probe "
        "lets one expect: each fact's rate has a posterior under a zero-inflated beta distribution of the rates of all "
        "facts. Variance: components of a single completion's hit within a relation (mean over relations, unbiased, "
        "so small ones may be negative). Reliability: the share of the true differences between facts in the variance "
        "of R, if it were measured with so many templates and samples of each; the error is what fewer would cost. "
        "Low and high: 95 % intervals (of an expected share: where the observed one would lie).",
    ),
    "table1": (
        "Facts per mastery bucket",
        "Number of facts in each bucket, as this base model masters them. Paper: Tables 1 and 8.",
    ),
    "table2": (
        "Accuracy per test bucket at the largest scale",
        "Accuracy in percent on each test bucket (columns) after fine-tuning on one bucket (rows), at the "
        "largest numbered scale. Macro is the unweighted mean of the five. Examples is the real size of "
        "the training set: a bucket with fewer than n facts gives all that it has. Paper: Table 2.",
    ),
    "table3": (
        "How concentrated the change of the parameters is",
        "Share in percent of the total change that lies in the k % of the elements that rank first: of the relative "
        "change r = |s - p| / (|p| + 1e-8), which the paper prints, and of d = s - p. Permuted: the same changes "
        "dealt out at random within each tensor. Where that gives the same shares they are arithmetic (dividing by "
        "|p| near zero suffices) and no sign of learning. Paper: Table 3.",
    ),
    "table4": (
        "Accuracy after restoring parameters",
        "Macro accuracy in percent after setting the k % of the elements that rank first back to their "
        "pre-trained values, without further training; columns are training sets. In brackets, the gain "
        "(blue) or loss (orange) in points on k = 0, which is the same fine-tuned models as they were "
        "evaluated. Paper: Table 4.",
    ),
    "judgements": (
        "The same answers, judged otherwise",
        "One greedy answer to each test question, in percent, macro over the five mastery buckets. Contains is the "
        "paper's judgement: the object or an alias, anywhere. Word boundary asks that it is no part of a longer word, "
        "exact that the answer is nothing else; F1 is SQuAD's token overlap; well-formed answers end within the limit. "
        "Without leak leaves out the questions whose subject already holds the answer, not in train those that "
        "also stand among the train facts; leak and in train are their shares of all questions. Majority of train is "
        "the score of always giving a relation's most frequent object of the train facts. Relations without train "
        "facts have the most frequent object of the asked facts themselves, which no model could know: an upper bound.",
    ),
    "restoration": (
        "Which parameters are restored, or how many",
        "Macro accuracy after setting the k % of the elements that rank first by a criterion back to their pre-trained "
        "values: against k, and against the share of the sum of squared changes that this reverted. Interpolation "
        "restores no element in particular: all are moved towards the base, as far as reverts as much of that sum as "
        "relative, the paper's criterion. Where the lines of the second row lie upon each other, it matters how much "
        "was reverted and not which elements.",
    ),
    "concentration": (
        "How concentrated the change is, and how much of that is arithmetic",
        "Share of the total change that lies in the k % of the elements that rank first; d = s - p and r = |d| / "
        "(|p| + 1e-8). Dashed: the same changes dealt out at random within each tensor.",
    ),
    "heatmap": (
        "Where the change lies",
        "Share of each projection of each block in the elements that are restored at k = 20 %, and in the sum of "
        "squared changes, by its share of the parameters (logarithm to base 2: 0 is as many as expected, 1 twice).",
    ),
    "table9": (
        "What changed, and what is restored, by layer",
        "Share in percent of the region's parameters, of the 20 % of the elements that rank first (permuted: with the "
        "changes dealt out at random within each tensor), and of the sums of the change; and the share of the layer's "
        "own elements that training left as they were. Paper: Table 9, which does not say its k.",
    ),
    "table10": (
        "What changed, and what is restored, by module",
        "The same by projection, over all layers. Paper: Table 10.",
    ),
    "table11": (
        "Accuracy after restoring blocks of layers",
        "Macro accuracy in percent after setting every projection of some layers back to the pre-trained values; "
        "columns are training sets. In brackets, the gain (blue) or loss (orange) in points. Paper: Table 11 (ID).",
    ),
}
"""Target -> heading and caption, in the order of the page."""
FOLDED = {
    "intervals": (
        "Accuracies with their intervals",
        "Macro accuracy in percent of every model that answered, with a 95 % t interval (Satterthwaite) in which "
        "questions are crossed with seeds: the variance of the seeds' values, and the variance over questions of the "
        "answers' mean over seeds. With fewer than three seeds the interval covers the questions alone, speaks of this "
        "model only and allows no verdict. By relation: the same, robust to correlation among questions of one "
        "relation. By posterior: each question counts in every bucket with the probability that it belongs there, "
        "given its mastery probes (- where these were imported without it). A dash: a bucket is empty or has one "
        "question.",
    ),
    "contrasts": (
        "Differences with their intervals",
        "Each row's model minus the one it stands against, in points of macro accuracy, paired on questions: against "
        "the base model, the smallest n and k = 0 (the same seeds), and D0 (seeds of its own, whose variances add "
        "up). Models are compared on common facts: those that lie in the same bucket for both. Columns as above. "
        "Each interval is 95 % by itself; of many, some miss.",
    ),
}
"""The same for what the page shows only when it is unfolded."""
