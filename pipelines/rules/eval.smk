# Scores and the report. A score that was not asked for is not in the report.
rule score:
    input:
        recon=recon(),
        truth=simulated() if not INPUTS.get("truth") else truth(),
    output:
        scores=f"{OUT}/scores.json",
        images=f"{OUT}/per-image.csv",
        text=f"{OUT}/scores.txt",
    params:
        command=score_command(None),
    log:
        f"{OUT}/logs/score.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("score", score_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("score", score_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("score", score_command(input), input, attempt, threads),
    shell:
        "{params.command} --out {output.scores} --per-image {output.images} --overwrite --threads {threads} > {output.text} 2> {log}"


rule retrieval:
    input:
        brain=f"{OUT}/tokens.zarr",
        targets=targets(),
    output:
        scores=f"{OUT}/retrieval.json",
        text=f"{OUT}/retrieval.txt",
    params:
        command=retrieval_command(None),
    log:
        f"{OUT}/logs/retrieval.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("retrieval", retrieval_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("retrieval", retrieval_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("retrieval", retrieval_command(input), input, attempt, threads),
    shell:
        "{params.command} --out {output.scores} --overwrite --threads {threads} > {output.text} 2> {log}"


rule captions:
    input:
        caption=f"{OUT}/caption.zarr",
        references=simulated(),
    output:
        scores=f"{OUT}/captions.json",
        text=f"{OUT}/captions.txt",
    params:
        command=captions_command(None),
    log:
        f"{OUT}/logs/captions.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("captions", captions_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("captions", captions_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("captions", captions_command(input), input, attempt, threads),
    shell:
        "{params.command} --out {output.scores} --overwrite --threads {threads} > {output.text} 2> {log}"


rule report:
    input:
        scores=[f"{OUT}/{PRODUCTS[s]}" for s in ("score", "retrieval", "captions") if asked(s)],
        images=f"{OUT}/per-image.csv",
        recon=recon(),
    output:
        page=f"{OUT}/report.html",
    params:
        scores=" ".join(f"--scores {OUT}/{PRODUCTS[s]}" for s in ("score", "retrieval", "captions") if asked(s)),
        truth=lambda wildcards: truth(),
        captions=f"--captions {OUT}/caption.zarr --references {stimuli()}" if asked("captions") else "",
        brain=f"--brain {OUT}/tokens.zarr --targets {targets()}" if asked("retrieval") else "",
        options=options("report"),
    log:
        f"{OUT}/logs/report.log",
    conda:
        "../envs/me2.yaml"
    threads: cores("report")
    resources:
        mem_mb=resource("report", "mem_mb", 4000),
        runtime=resource("report", "runtime", 60),
    shell:
        "me2-eval report {output.page} {params.scores} --per-image {input.images} --truth {params.truth} --recon {input.recon}"
        " {params.captions} {params.brain} {params.options} --overwrite > {log} 2>&1"
