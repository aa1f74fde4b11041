"""Target-only rules: the paper's figures and tables by name, and the size of the grid."""

PARTS = {name: ("figures", ".svg") for name in grid_targets.FIGURES}
PARTS |= {name: ("tables", ".csv") for name in grid_targets.TABLES}

for target in TARGETS:

    rule:
        name:
            target
        input:
            "{}/{}/{}{}".format(PATHS.root, PARTS[target][0], target, PARTS[target][1]),
            # Directly besides the aggregate: else a deleted summary would go unnoticed.
            [PATHS.summary(product) for product in TARGETS[target]],


localrules:
    all,
    cells,


rule cells:
    run:
        from sftlens.grid import counting

        print(counting.describe(STUDY))
