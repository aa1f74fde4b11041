"""Headings and captions of the figures and tables of what fine-tuning changed and what restoring undoes."""

CAPTIONS = {
    "restoration": (
        "Which parameters are restored, or how many",
        "Macro accuracy after setting the k % of the elements that rank first in an order back to their pre-trained "
        "values: against k, and against the share of the sum of squared changes that this undid. Shrink restores no "
        "element in particular: all are moved towards the base, so far that as much of that sum is undone as by "
        "relative, the paper's order. Where the lines of the second row lie upon each other, it matters how much was "
        "undone and not which elements.",
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
