"""Closed-book question answering of one cell, or of the base model (n = 0)."""


rule evaluate:
    input:
        unpack(JOBS.evaluate_inputs),
    output:
        answers=f"{CELL}/evaluate/answers.parquet",
        summary=f"{CELL}/evaluate/summary.json",
    log:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/evaluate.log",
    benchmark:
        f"{LOGS}/{{model}}/{{train_set}}/n{{scale}}/seed{{seed}}/{{strategy}}/evaluate.tsv"
    conda:
        "../../envs/train.yaml"
    resources:
        **JOBS.resources.of("evaluate"),
    params:
        options=JOBS.evaluate_options,
        version=RESULT_VERSION["evaluate"],
        state=PATHS.state,
    shell:
        'python "$SCRIPTS"/evaluate.py --model {input.model:q} --facts {input.facts:q}'
        " --out $(dirname {output.summary:q}) {params.options:q} --state {params.state:q} --gpus {resources.gpu} > {log:q} 2>&1"
