# Betas to image tokens.


rule align:
    input:
        subject=subject_inputs([SUBJECT]),
        model=brain_model(),
    output:
        store=directory(f"{OUT}/latent.zarr"),
    params:
        step=STEP,
        command=lambda wildcards: align_command(None).replace("OUTPUT", f"{OUT}/latent.zarr"),
    log:
        f"{OUT}/logs/align.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("align", align_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("align", align_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("align", align_command(input), input, attempt, threads),
    shell:
        "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


rule embed:
    input:
        latent=f"{OUT}/latent.zarr",
        model=brain_model(),
    output:
        store=directory(f"{OUT}/tokens.zarr"),
    params:
        step=STEP,
        command=lambda wildcards: embed_command(None).replace("OUTPUT", f"{OUT}/tokens.zarr"),
    log:
        f"{OUT}/logs/embed.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("embed", embed_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("embed", embed_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("embed", embed_command(input), input, attempt, threads),
    shell:
        "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"


rule prior:
    input:
        tokens=f"{OUT}/tokens.zarr",
        model=brain_model(),
    output:
        store=directory(f"{OUT}/prior.zarr"),
    params:
        step=STEP,
        command=lambda wildcards: prior_command(None).replace("OUTPUT", f"{OUT}/prior.zarr"),
    log:
        f"{OUT}/logs/prior.log",
    conda:
        "../envs/me2.yaml"
    threads: lambda wildcards, input: cores("prior", prior_command(input), input)
    resources:
        mem_mb=lambda wildcards, input, attempt, threads: megabytes("prior", prior_command(input), input, attempt, threads),
        runtime=lambda wildcards, input, attempt, threads: minutes("prior", prior_command(input), input, attempt, threads),
    shell:
        "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"
