"""Target-only rules: the paper's figures and tables by name, and the size of the grid."""


localrules:
    all,
    cells,


for target in JOBS.targets:

    rule:
        name:
            target
        input:
            JOBS.target(target),
            JOBS.files(JOBS.targets[target]),


rule cells:
    log:
        ".snakemake/log/cells.txt",
    conda:
        "../../envs/data.yaml"
    params:
        text=counting.describe(STUDY),
    shell:
        "echo {params.text:q} | tee {log:q}"
