# Pipelines: Make and Snakemake (7.21 of Debian, 9 of PyPI) give the same content; what is killed goes on; faults are named.
# Snakemake and SLURM are installed where they are missing and can be; ME2_SNAKEMAKE7, ME2_SNAKEMAKE9 name others.
setup_file() {
  load ../support/load
  cd "$BATS_FILE_TMPDIR" || return 1
  make_demo > make.log 2>&1 || { tail make.log >&2; return 1; }
  digests demo > expected
}
setup() {
  load ../support/load
  setup_case
  unset SNAKEMAKE
  ln -s "$BATS_FILE_TMPDIR/tiny" tiny
  cat > tiny.yaml << 'Y'
out: demo
subject: subj01
sessions: 1
pretrain_subjects: [subj02]
stages: [decode, caption, score, retrieval, captions, report]
shards: {decode: 2}
simulate: --subjects 2 --sessions 1 --trials-per-session 96 --test-images 10
models: {encoder: tiny/encoder, unclip: tiny/unet, vae: tiny/vae, caption: tiny/git}
options:
  train: --hidden 32 --prior-depth 2 --prior-dim-head 16 --corrected-mixco --max-lr 1e-3 --no-lowlevel --evaluate-interval 0
  pretrain: --epochs 1 --batch-size 12
  finetune: --epochs 1 --batch-size 48
  prior: --steps 20 --guidance 1
  score: --metrics pixcorr,ssim --allow-missing
  retrieval: --allow-missing
  captions: --allow-missing
Y
}

make_demo() {
  make -C "$ROOT" -f Makefile.pipeline demo -o build BUILD="$BUILD" TINY="$PWD/tiny" TINY_OUT="$PWD/tiny" DEMO="$PWD/demo" TINY_SCENES=80 TINY_ENCODER_STEPS=2 \
    TINY_VAE_STEPS=2 TINY_UNET_STEPS=2 TINY_GIT_EPOCHS=1 DEMO_SUBJECTS=2 DEMO_SESSIONS=1 DEMO_TRIALS=96 DEMO_TEST=10 DEMO_HIDDEN=32 DEMO_PRETRAIN_EPOCHS=1 \
    DEMO_FINETUNE_EPOCHS=1 2>&1
}
digests() {
  for s in targets latent tokens prior recon caption; do me2-preprocess show "$1/$s.zarr" --digest | grep '^ *sha256'; done
  for m in pretrained finetuned; do sha256sum < "$1/$m/model.safetensors"; done
}
root_apt() { [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" > /dev/null 2>&1; }
snakemake7() {
  SNAKEMAKE=${ME2_SNAKEMAKE7:-/usr/bin/snakemake}
  [ -x "$SNAKEMAKE" ] || root_apt snakemake || skip "Debian's snakemake is not here and cannot be installed"
}
snakemake9() {
  SNAKEMAKE=${ME2_SNAKEMAKE9:-$BUILD/snakemake9/bin/snakemake}
  [ -x "$SNAKEMAKE" ] || { python3 -m venv "$BUILD/snakemake9" && "$BUILD/snakemake9/bin/pip" install -q snakemake snakemake-executor-plugin-slurm; } > /dev/null 2>&1 ||
    skip "snakemake 9 is not here and cannot be installed from PyPI"
}
snake() { "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile tiny.yaml --config bin="$BUILD/bin" "$@" 2>&1; }

whole_run() {
  run -0 snake --lint
  run -0 snake -j 2 -n
  assert [ ! -e demo/targets.zarr ]
  run -0 snake -j 2
  assert_equal "$(digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
  assert [ -s demo/report.html ]
  run -0 snake -j 2
  assert_output --partial "Nothing to be done"

  # A changed option runs again what depends on it, and nothing else.
  sed -i 's/--steps 20/--steps 10/' tiny.yaml
  run -0 snake -j 2 -n
  for rule in prior decode_shard caption report; do assert_output --regexp "rule $rule:"; done
  for rule in targets pretrain finetune align embed; do refute_output --regexp "rule $rule:"; done
}
@test "Snakemake 7: lint, dry run, whole run as Make's to the byte, a changed option redoes what depends on it" { snakemake7; whole_run; }
@test "Snakemake 9: lint, dry run, whole run as Make's to the byte, a changed option redoes what depends on it" { snakemake9; whole_run; }

killed_and_rerun() {
  # 10 s is about the length of a whole run; where the kill falls is not the same twice.
  for n in 1 2 3; do
    set -m
    snake -j 2 --rerun-incomplete > log 2>&1 &
    job=$!
    set +m
    sleep "$n.$((RANDOM % 10))"
    kill -9 -- "-$job" 2> /dev/null || true
    wait "$job" || true
    snake --unlock > /dev/null || true
  done
  run -0 snake -j 2 --rerun-incomplete
  assert_equal "$(digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}
@test "Snakemake 7 killed and run again ends in the same bytes" { snakemake7; killed_and_rerun; }
@test "Snakemake 9 killed and run again ends in the same bytes" { snakemake9; killed_and_rerun; }

@test "Make killed at ten random moments and run again ends in the same bytes" {
  for n in 1 2 3 4 5 6 7 8 9 10; do
    set -m
    make_demo > log 2>&1 &
    job=$!
    set +m
    sleep "$((RANDOM % 2)).$((RANDOM % 10))"
    kill -9 -- "-$job" 2> /dev/null || true
    wait "$job" || true
  done
  run -0 make_demo
  assert_equal "$(digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}

@test "missing files are named, all of them, before any work" {
  snakemake7
  for config in subj01_40sess subj01_1sess pretrain_7 evaluate_only new_subject; do
    run "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile "$ROOT/pipelines/configs/$config.yaml" -j 1
    assert_failure
    files=$(grep -c '{path:' "$ROOT/pipelines/configs/$config.yaml")
    assert_output --partial "$files of $files files are missing"
    run "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile "$ROOT/pipelines/configs/$config.yaml" -j 1 -f check_inputs
    assert_failure
    assert_equal "$(grep '^MISSING' <<< "$output" | sort -u | wc -l)" "$files"
    run "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile "$ROOT/pipelines/configs/$config.yaml" --lint
    assert_success
  done
}

@test "two pipelines in one folder: the second says so" {
  (exec 9> .stage.zarr.lock && flock -n 9 && sleep 5) &
  sleep 0.5
  run -75 "$ROOT/pipelines/step.sh" stage.zarr true
  assert_output --partial "another pipeline is making it in this folder"
  wait
  run -0 "$ROOT/pipelines/step.sh" stage.zarr true
}

@test "a full disk ends with 74, and the pipeline goes on after space is made" {
  mkdir disk
  mount -t tmpfs -o size=64m tmpfs disk 2> /dev/null || skip "no right to mount a tmpfs"
  ln -s disk/demo demo
  mkdir disk/demo
  head -c 63700K /dev/zero > disk/filler
  run make_demo
  rm disk/filler
  first=$output
  run make_demo
  second=$status
  sum=$(digests demo) || true
  umount -l disk
  assert_regex "$first" "Error 74"
  assert_equal "$second" 0
  assert_equal "$sum" "$(cat "$BATS_FILE_TMPDIR/expected")"
}

start_slurm() {
  command -v slurmctld munged > /dev/null || root_apt slurm-wlm munge || skip "slurm-wlm and munge are not here and cannot be installed"
  [ "$(id -u)" = 0 ] || skip "starting slurmd takes root"
  D=$(mktemp -d /tmp/me2-slurm.XXXXXX)
  chmod 755 "$D"
  mkdir -p "$D/munge" "$D/state" "$D/spool" "$D/log"
  chmod 700 "$D/munge"
  H=$(hostname -s)
  dd if=/dev/urandom of="$D/munge/key" bs=128 count=1 2> /dev/null
  chmod 600 "$D/munge/key"
  chmod 755 "$D/munge"
  cat > "$D/slurm.conf" << C
ClusterName=test
SlurmctldHost=$H(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=16817
SlurmdPort=16818
AuthType=auth/munge
AuthInfo=socket=$D/munge/sock
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=$D/state
SlurmdSpoolDir=$D/spool
SlurmctldPidFile=$D/slurmctld.pid
SlurmdPidFile=$D/slurmd.pid
SlurmctldLogFile=$D/log/slurmctld.log
SlurmdLogFile=$D/log/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
KillWait=5
MinJobAge=300
SwitchType=switch/none
NodeName=$H NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
  export SLURM_CONF=$D/slurm.conf
  munged --key-file="$D/munge/key" --socket="$D/munge/sock" --pid-file="$D/munge/pid" --log-file="$D/munge/log" --seed-file="$D/munge/seed" 3>&-
  slurmctld -c 3>&- && slurmd 3>&-
  for _ in $(seq 40); do [ "$(sinfo -h -o %T)" = idle ] && break; sleep 0.5; done
  # The jobs' steps lose SLURM_CONF (snakemake-executor-plugin-slurm-jobstep clears SLURM_*).
  mkdir "$D/bin"
  printf '#!/bin/sh\nSLURM_CONF=%s exec /usr/bin/srun "$@"\n' "$D/slurm.conf" > "$D/bin/srun"
  chmod +x "$D/bin/srun"
  PATH=$D/bin:$PATH
}
teardown() {
  [ -n "${D:-}" ] || return 0
  scancel -u root 2> /dev/null || true
  for daemon in slurmd.pid slurmctld.pid munge/pid; do
    pid=$(cat "$D/$daemon" 2> /dev/null) || continue
    kill "$pid" 2> /dev/null || true
    for _ in $(seq 40); do kill -0 "$pid" 2> /dev/null || break; sleep 0.25; done
  done
  rm -rf "$D"
}
@test "SLURM through the profile, Snakemake 7: a real controller and node, the same bytes" {
  snakemake7
  start_slurm
  run timeout -k 5 400 "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile tiny.yaml --config bin="$BUILD/bin" --profile "$ROOT/pipelines/profiles/slurm" --latency-wait 5
  assert_success
  assert_equal "$(digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}
@test "SLURM through the profile, Snakemake 9: a real controller and node, the same bytes" {
  snakemake9
  start_slurm
  run timeout -k 5 580 "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --configfile tiny.yaml --config bin="$BUILD/bin" --profile "$ROOT/pipelines/profiles/slurm" --latency-wait 5 \
    --slurm-no-account --slurm-status-command squeue --slurm-init-seconds-before-status-checks 1
  assert_success
  assert_equal "$(digests demo)" "$(cat "$BATS_FILE_TMPDIR/expected")"
}
