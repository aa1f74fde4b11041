"""The tidy table, the figures, the tables and the page: pure functions of the cells' summaries."""


localrules:
    results,
    figure,
    table,
    report,


rule results:
    input:
        JOBS.summaries(),
    output:
        table=f"{PATHS.root}/results.parquet",
    log:
        f"{LOGS}/results.log",
    benchmark:
        f"{LOGS}/results.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        study=STUDY.study,
        version=RESULT_VERSION["collect"],
    shell:
        'python "$SCRIPTS"/collect.py {params.study:q} --results > {log:q} 2>&1'


rule figure:
    input:
        JOBS.summaries_of,
    output:
        multiext(f"{PATHS.root}/figures/{{figure}}", ".png", ".svg", ".pdf", ".csv"),
    log:
        f"{LOGS}/figures/{{figure}}.log",
    benchmark:
        f"{LOGS}/figures/{{figure}}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        study=STUDY.study,
        version=RESULT_VERSION["collect"],
    shell:
        'python "$SCRIPTS"/collect.py {params.study:q} --figure {wildcards.figure} > {log:q} 2>&1'


rule table:
    input:
        JOBS.summaries_of,
    output:
        f"{PATHS.root}/tables/{{table}}.csv",
    log:
        f"{LOGS}/tables/{{table}}.log",
    benchmark:
        f"{LOGS}/tables/{{table}}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        study=STUDY.study,
        version=RESULT_VERSION["collect"],
    shell:
        'python "$SCRIPTS"/collect.py {params.study:q} --table {wildcards.table} > {log:q} 2>&1'


rule report:
    input:
        results=f"{PATHS.root}/results.parquet",
        figures=[JOBS.target(name) for name in JOBS.figures],
        tables=[JOBS.target(name) for name in JOBS.tables],
    output:
        page=f"{PATHS.root}/report.html",
    log:
        f"{LOGS}/report.log",
    benchmark:
        f"{LOGS}/report.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        study=STUDY.study,
        version=RESULT_VERSION["collect"],
    shell:
        'python "$SCRIPTS"/collect.py {params.study:q} --report > {log:q} 2>&1'
