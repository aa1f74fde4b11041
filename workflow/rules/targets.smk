"""Target-only rules: the paper's figures and tables by name, the size of the grid and its price."""


localrules:
    all,
    paper,
    cells,
    plan,


for target in JOBS.targets:

    rule:
        name:
            target
        input:
            JOBS.named(target),


rule paper:
    input:
        JOBS.paper,
    log:
        f"{LOGS}/paper.txt",
    conda:
        "../../envs/data.yaml"
    params:
        lacks=JOBS.paper_lacks,
    shell:
        "echo {params.lacks:q} | tee {log:q}"


rule cells:
    log:
        ".snakemake/log/cells.txt",
    conda:
        "../../envs/data.yaml"
    params:
        text=partial(job_list.describe, ASKED),
    shell:
        "echo {params.text:q} | tee {log:q}"


rule plan:
    log:
        ".snakemake/log/plan.txt",
    conda:
        "../../envs/data.yaml"
    params:
        text=plan.Plan(ASKED).described,
    shell:
        "echo {params.text:q} | tee {log:q}"


# A name that nothing makes matches only here; Snakemake's own message for it leaves open what there is.
rule unknown:
    input:
        JOBS.unknown,
    output:
        "{unknown}",
    log:
        ".snakemake/log/unknown-{unknown}.txt",
    wildcard_constraints:
        unknown=r"[A-Za-z]\w*",
