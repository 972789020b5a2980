# Snakemake and SLURM for the long tests; installed where they are missing and can be. ME2_SNAKEMAKE7, ME2_SNAKEMAKE9 name others.
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
snake() { "$SNAKEMAKE" -s "$ROOT/pipelines/Snakefile" --config bin="$BUILD/bin" "$@" 2>&1; }

# A controller and a node on loopback, everything of theirs in one folder; stop_slurm ends them.
start_slurm() {
  command -v slurmctld munged > /dev/null || root_apt slurm-wlm munge || skip "slurm-wlm and munge are not here and cannot be installed"
  [ "$(id -u)" = 0 ] || skip "starting slurmd takes root"
  SLURM_AT=$(mktemp -d /tmp/me2-slurm.XXXXXX)
  chmod 755 "$SLURM_AT"
  mkdir -p "$SLURM_AT/munge" "$SLURM_AT/state" "$SLURM_AT/spool" "$SLURM_AT/log" "$SLURM_AT/bin"
  dd if=/dev/urandom of="$SLURM_AT/munge/key" bs=128 count=1 2> /dev/null
  chmod 600 "$SLURM_AT/munge/key"
  chmod 755 "$SLURM_AT/munge"
  local host
  host=$(hostname -s)
  cat > "$SLURM_AT/slurm.conf" << C
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
AuthType=auth/munge
AuthInfo=socket=$SLURM_AT/munge/sock
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
SlurmdParameters=config_overrides
StateSaveLocation=$SLURM_AT/state
SlurmdSpoolDir=$SLURM_AT/spool
SlurmctldPidFile=$SLURM_AT/slurmctld.pid
SlurmdPidFile=$SLURM_AT/slurmd.pid
SlurmctldLogFile=$SLURM_AT/log/slurmctld.log
SlurmdLogFile=$SLURM_AT/log/slurmd.log
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_min_interval=100000
KillWait=5
MinJobAge=3600
SwitchType=switch/none
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 RealMemory=16000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
C
  export SLURM_CONF=$SLURM_AT/slurm.conf
  munged --key-file="$SLURM_AT/munge/key" --socket="$SLURM_AT/munge/sock" --pid-file="$SLURM_AT/munge/pid" --log-file="$SLURM_AT/munge/log" --seed-file="$SLURM_AT/munge/seed" 3>&-
  slurmctld -c 3>&- && slurmd 3>&-
  local n=0
  until [ "$(sinfo -h -o %T 2> /dev/null)" = idle ]; do
    n=$((n + 1))
    [ $n -lt 240 ] || { cat "$SLURM_AT"/log/*; fail "the node is not idle after two minutes"; }
    sleep 0.5
  done
  # The jobs' steps lose SLURM_CONF (snakemake-executor-plugin-slurm-jobstep clears SLURM_*).
  printf '#!/bin/sh\nSLURM_CONF=%s exec /usr/bin/srun "$@"\n' "$SLURM_AT/slurm.conf" > "$SLURM_AT/bin/srun"
  chmod +x "$SLURM_AT/bin/srun"
  PATH=$SLURM_AT/bin:$PATH
}
stop_slurm() {
  [ -n "${SLURM_AT:-}" ] || return 0
  local daemon pid
  scancel -u root 2> /dev/null || true
  for daemon in slurmd.pid slurmctld.pid munge/pid; do
    pid=$(cat "$SLURM_AT/$daemon" 2> /dev/null) || continue
    kill "$pid" 2> /dev/null || true
    for _ in $(seq 120); do kill -0 "$pid" 2> /dev/null || break; sleep 0.25; done
  done
  rm -rf "$SLURM_AT"
}
