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
    threads: cores("align")
    resources:
        mem_mb=lambda wildcards, input, attempt: megabytes("align", align_command(input), input, attempt),
        runtime=lambda wildcards, input, attempt: minutes("align", align_command(input), input, attempt),
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
    threads: cores("embed")
    resources:
        mem_mb=lambda wildcards, input, attempt: megabytes("embed", embed_command(input), input, attempt),
        runtime=lambda wildcards, input, attempt: minutes("embed", embed_command(input), input, attempt),
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
    threads: cores("prior")
    resources:
        mem_mb=lambda wildcards, input, attempt: megabytes("prior", prior_command(input), input, attempt),
        runtime=lambda wildcards, input, attempt: minutes("prior", prior_command(input), input, attempt),
    shell:
        "{params.step} {output.store} {params.command} --threads {threads} > {log} 2>&1"
