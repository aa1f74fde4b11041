"""The tidy table, the figures, the tables and the page: pure functions of the cells' summaries."""


localrules:
    results,
    figure,
    table,
    report,


rule results:
    input:
        JOBS.summaries,
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
        JOBS.summaries,
    output:
        report(
            f"{PATHS.root}/figures/{{figure}}.svg",
            caption="../report/target.rst",
            category="Figures",
            labels=JOBS.labels,
        ),
        multiext(f"{PATHS.root}/figures/{{figure}}", "-narrow.svg", ".png", ".pdf", ".csv", ".txt"),
    log:
        f"{LOGS}/figures/{{figure}}.log",
    benchmark:
        f"{LOGS}/figures/{{figure}}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        study=STUDY.study,
        words=JOBS.words,
        version=RESULT_VERSION["collect"],
    shell:
        'python "$SCRIPTS"/collect.py {params.study:q} --figure {wildcards.figure} > {log:q} 2>&1'


rule table:
    input:
        JOBS.summaries,
    output:
        report(
            f"{PATHS.root}/tables/{{table}}.csv",
            caption="../report/target.rst",
            category="Tables",
            labels=JOBS.labels,
        ),
        multiext(f"{PATHS.root}/tables/{{table}}", ".txt", ".md", ".tex"),
    log:
        f"{LOGS}/tables/{{table}}.log",
    benchmark:
        f"{LOGS}/tables/{{table}}.tsv"
    conda:
        "../../envs/data.yaml"
    params:
        study=STUDY.study,
        words=JOBS.words,
        version=RESULT_VERSION["collect"],
    shell:
        'python "$SCRIPTS"/collect.py {params.study:q} --table {wildcards.table} > {log:q} 2>&1'


rule report:
    input:
        results=f"{PATHS.root}/results.parquet",
        targets=[JOBS.target(name) for name in JOBS.targets],
    output:
        page=report(
            f"{PATHS.root}/report.html",
            caption="../report/page.rst",
            category="The page of the study",
            labels={"model": ", ".join(STUDY.models), "page": "report"},
        ),
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
