"""All parameters are trained on all rows (paper section 3; that it is all parameters is our inference)."""

from sftlens.strategies import DEFAULT, STRATEGIES, Strategy


class Full(Strategy):
    """No hook changes anything."""

    name = DEFAULT
    description = "All parameters are trained on all rows of the training set"
    reference = "arXiv 2509.16596, section 3"


STRATEGIES.add(Full)
