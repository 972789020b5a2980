#!/usr/bin/env bash
# me2-preprocess when system calls fail, or the process is killed, at every n-th of them: the final name never holds anything but the
# whole store, a failure says one line, and --resume gives the content of an uninterrupted run. strace injects the faults.
#     tests/faults/preprocess.sh BUILD [short|long]      short: the first, second, fourth, 8th, ... call of each kind; long: every one,
#                                                        and 60 kills at random moments of each verb
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1") form=${2:-short} golden=$PWD/tests/golden
command -v strace > /dev/null || { echo "strace is not on this machine"; exit 77; }
strace -qq -o /dev/null true 2> /dev/null || { echo "strace may not trace here"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
exec 2> shell.err  # the shell's own remarks on killed processes
export ME2_FSYNC=off OMP_NUM_THREADS=1 PATH=$build/bin:$PATH
tool=$build/bin/me2-preprocess
failed=0 runs=0
wrong() { echo "WRONG: $*"; [ -s err ] && sed 's/^/    /' err; failed=$((failed + 1)); }

# One digest for a store or a folder of stores.
digest() {
  if [ -e "$1/zarr.json" ]; then "$tool" show "$1" --digest | tail -1; return; fi
  for store in "$1"/*.zarr; do "$tool" show "$store" --digest | tail -1; done
}

"$tool" medarc "$golden/medarc_layout" base.zarr --subject 1 -q > /dev/null || exit 1
"$tool" show base.zarr --array betas --npy betas.npy > /dev/null
trials=$("$tool" show base.zarr --json | grep -m1 '"trials"' | grep -oE '[0-9]+')
{ echo stimulus; seq "$trials" | awk '{ print "im" $1 % 20 }'; } > events.tsv

declare -A verbs=(
  [medarc]="medarc $golden/medarc_layout OUT --subject 1"
  [nsd]="nsd $golden/nsd_raw OUT --subject 1"
  [custom]="custom OUT --betas betas.npy --events events.tsv --split share:0.2"
  [simulate]="simulate OUT --subjects 1 --sessions 1 --trials-per-session 12 --test-images 2 --validation-images 1 --voxel-scale .02 --side 16"
)

# After a run that ended with $2: the invariant, then --resume.
check() {  # VERB STATUS WHAT
  local command=${verbs[$1]//OUT/out}
  if [ -e out ]; then
    [ "$(digest out 2> /dev/null)" = "$(cat "want.$1")" ] || wrong "$1, $3: the final name holds something else"
  elif [ "$2" = 0 ]; then
    wrong "$1, $3: exit 0 without an output"
  fi
  # shellcheck disable=SC2086
  "$tool" $command -q --resume > /dev/null 2> err || wrong "$1, $3: --resume ended with $?"
  [ "$(digest out 2> /dev/null)" = "$(cat "want.$1")" ] || wrong "$1, $3: --resume gave other content"
  rm -rf out out.*
  runs=$((runs + 1))
}

for verb in medarc nsd custom simulate; do
  command=${verbs[$verb]//OUT/out}
  # shellcheck disable=SC2086
  "$tool" $command -q > /dev/null 2> err || { wrong "$verb without faults"; continue; }
  digest out > "want.$verb"
  rm -rf out
  for fault in pwrite64:error=ENOSPC pwrite64:signal=KILL rename:error=EIO rename:signal=KILL fsync:error=EIO mkdir:error=ENOSPC unlink:signal=KILL; do
    call=${fault%%:*}
    if [ $call = fsync ]; then export ME2_FSYNC=on; else export ME2_FSYNC=off; fi
    for ((n = 1; n < 2000;)); do
      # shellcheck disable=SC2086
      strace -f -qq -o trace -e trace="$call" -e inject="$fault:when=$n" "$tool" $command -q > /dev/null 2> err
      status=$?
      grep -q INJECTED trace || grep -q 'killed by SIGKILL' trace || { rm -rf out out.*; break; }  # fewer calls than that
      case $fault in
        *KILL) ;;
        *)
          if [ $status != 0 ]; then
            [ "$(grep -c ': error: ' err)" = 1 ] || wrong "$verb, $fault $n: no line of error"
            case $call:$status in pwrite64:74 | rename:7[34] | fsync:74 | mkdir:7[34]) ;; *) wrong "$verb, $fault $n: exit $status" ;; esac
          elif [ "$call" = pwrite64 ]; then
            wrong "$verb, $fault $n: a write that failed was not noticed"
          fi ;;
      esac
      check "$verb" $status "$fault $n"
      if [ "$form" = long ]; then n=$((n + 1)); else n=$((n * 2)); fi
    done
  done
  if [ "$form" = long ]; then
    for ((k = 0; k < 60; ++k)); do
      # shellcheck disable=SC2086
      timeout -s KILL "0.$(printf %03d $((RANDOM % 120 + 1)))" "$tool" $command -q > /dev/null 2> err
      check "$verb" $? "killed at random"
    done
  fi
done
echo "$runs runs with a fault, $failed wrong"
[ $failed = 0 ] && [ $runs -gt 20 ]
