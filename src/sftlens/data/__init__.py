"""Questions, and what counts as right (paper sections 1 and 4): files of facts -> tables of facts."""
