"""The tidy table, the figures, the tables and the page: pure functions of the cells' summaries."""


localrules:
    results,
    figure,
    table,
    report,


def summaries_of(wildcards):
    name = wildcards.get("figure") or wildcards.get("table")
    return [PATHS.summary(product) for product in TARGETS.get(name, [])]


rule results:
    input:
        SUMMARIES,
    output:
        table=f"{PATHS.root}/results.parquet",
    params:
        common=common_options("collect")[:2],
    log:
        f"{LOGS}/results.log",
    benchmark:
        f"{LOGS}/results.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/collect.py {STUDY.study:q} --results {params.common:q} > {log:q} 2>&1"


rule figure:
    input:
        summaries_of,
    output:
        multiext(f"{PATHS.root}/figures/{{figure}}", ".png", ".svg", ".pdf", ".csv"),
    params:
        common=common_options("collect")[:2],
    log:
        f"{LOGS}/figures/{{figure}}.log",
    benchmark:
        f"{LOGS}/figures/{{figure}}.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/collect.py {STUDY.study:q} --figure {wildcards.figure} {params.common:q} > {log:q} 2>&1"


rule table:
    input:
        summaries_of,
    output:
        f"{PATHS.root}/tables/{{table}}.csv",
    params:
        common=common_options("collect")[:2],
    log:
        f"{LOGS}/tables/{{table}}.log",
    benchmark:
        f"{LOGS}/tables/{{table}}.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/collect.py {STUDY.study:q} --table {wildcards.table} {params.common:q} > {log:q} 2>&1"


rule report:
    input:
        results=f"{PATHS.root}/results.parquet",
        figures=[f"{PATHS.root}/figures/{name}.svg" for name in TARGETS if name in grid_targets.FIGURES],
        tables=[f"{PATHS.root}/tables/{name}.csv" for name in TARGETS if name in grid_targets.TABLES],
    output:
        page=f"{PATHS.root}/report.html",
    params:
        common=common_options("collect")[:2],
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{LOGS}/report.tsv"
    conda:
        "../../envs/data.yaml"
    shell:
        "{PYTHON} {SCRIPTS}/collect.py {STUDY.study:q} --report {params.common:q} > {log:q} 2>&1"
