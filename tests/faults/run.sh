#!/usr/bin/env bash
# The writing tools when a file operation fails, or the process is killed, at the n-th of them: a failure ends with 74 (or 73: cannot
# create) and one line, the final name never holds anything but the whole output, inputs stay as they were, and a second call gives
# the content of an uninterrupted run. preload.cpp injects the faults.
#     tests/faults/run.sh BUILD short|long|N [CASE...]    long: every operation of every kind, and 60 kills at random moments;
#                                                         N: every N-th operation of every kind;
#                                                         short: medarc, nsd, custom, simulate at the 1st, 2nd, 4th, ... of each kind,
#                                                         the tools with networks once for each kind
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1") form=${2:-short} golden=$PWD/tests/golden
shift 2
shim=$build/tests/libme2_faults.so
if LD_PRELOAD=$shim "$build/bin/me2-preprocess" --version 2>&1 | grep -q 'ASan runtime'; then echo "not with AddressSanitizer"; exit 77; fi
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
work=$(realpath "$scratch")/w log=$(realpath "$scratch")/log
mkdir "$work" && cd "$work" || exit 1
exec 2> "$scratch/shell.err"  # the shell's own remarks on killed processes
export ME2_FSYNC=off OMP_NUM_THREADS=1 PATH=$build/bin:$build/tests:$PATH
failed=0 runs=0
wrong() { echo "WRONG: $*"; [ -s err ] && sed 's/^/    /' err; failed=$((failed + 1)); }

# What an output holds, whatever its form; times and paths are left out.
content() {
  if [ -f "$1" ]; then jq -S .scores "$1"; return; fi
  if [ -e "$1/zarr.json" ]; then me2-preprocess show "$1" --digest | tail -1; return; fi
  if [ -e "$1/model.safetensors" ]; then sha256sum < "$1/model.safetensors"; return; fi
  for store in "$1"/*.zarr; do me2-preprocess show "$store" --digest | tail -1; done
}
inputs() { (cd in && find . -type f -printf '%p %s %T@\n' | sort); }

# prepare CASE: its inputs below in/, and `command`, which makes `out` of them. `again` is what a second call adds.
prepare() {
  again=--resume
  case $1 in
    medarc) cp -r "$golden/medarc_layout" in/release; command=(me2-preprocess medarc in/release out --subject 1) ;;
    nsd) cp -r "$golden/nsd_raw" in/nsd; command=(me2-preprocess nsd in/nsd out --subject 1) ;;
    custom)
      me2-preprocess medarc "$golden/medarc_layout" base.zarr --subject 1 -q > /dev/null
      me2-preprocess show base.zarr --array betas --npy in/betas.npy > /dev/null
      { echo stimulus; seq "$(me2-preprocess show base.zarr --json | grep -m1 '"trials"' | grep -oE '[0-9]+')" | awk '{ print "im" $1 % 20 }'; } > in/events.tsv
      command=(me2-preprocess custom out --betas in/betas.npy --events in/events.tsv --split share:0.2) ;;
    simulate) command=(me2-preprocess simulate out --subjects 1 --sessions 1 --trials-per-session 12 --test-images 2 --validation-images 1 --voxel-scale .02 --side 16) ;;
    align)
      cp -r "$golden/backbone" in/m
      me2-test-store make -q in/betas.zarr "betas=in/m/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,3
      command=(me2-align apply in/betas.zarr out --model in/m --subject subj01) ;;
    embed)
      cp -r "$golden/backbone" in/m
      me2-test-store make -q in/latent.zarr "latent=in/m/io.safetensors:out.latent@0" --stimulus 4,2,9,2,4
      command=(me2-embed brain in/latent.zarr out --model in/m) ;;
    prior)
      cp -r "$golden/prior_sample" in/m
      me2-test-store make -q in/tokens.zarr "tokens=in/m/io.safetensors:in.text_embed" --stimulus 5,3
      command=(me2-prior sample in/tokens.zarr out --model in/m --steps 3) ;;
    decode)
      cp -r "$golden/unclip_end2end" in/m
      me2-test-golden make in/m/io.safetensors in/tokens.zarr --arrays clip_tokens=in.tokens
      command=(me2-decode unclip in/tokens.zarr out --model in/m --steps 2 --size 64) ;;
    caption)
      cp -r "$golden/git_caption" in/m
      me2-test-captions tokens in/tokens.zarr in/m/io.safetensors:in.image_features
      command=(me2-caption generate in/tokens.zarr out --model in/m) ;;
    eval)
      me2-test-golden make "$golden/unclip_end2end/io.safetensors" in/tokens.zarr --arrays clip_tokens=in.tokens
      me2-decode unclip in/tokens.zarr in/recon.zarr --model "$golden/unclip_end2end" --steps 1 --size 64 -q
      again=--overwrite
      command=(me2-eval score in/recon.zarr --truth in/recon.zarr --metrics "pixcorr,ssim" --resamples 10 --out out) ;;
  esac > /dev/null
  rm -rf base.zarr
}

run_with() {  # FAULT...: the command with a fault, its operations in $log
  rm -f "$log"
  ME2_FAULT=$1 ME2_FAULT_BELOW=$work ME2_FAULT_LOG=$log LD_PRELOAD=$shim "${command[@]}" -q > /dev/null 2> err
}

# After a run that ended with STATUS: the invariant, then the second call.
check() {  # CASE STATUS WHAT
  if [ -e out ]; then
    [ "$(content out 2> /dev/null)" = "$want" ] || wrong "$1, $3: the final name holds something else"
  elif [ "$2" = 0 ]; then
    wrong "$1, $3: exit 0 without an output"
  fi
  [ "$(inputs)" = "$before" ] || wrong "$1, $3: an input was changed"
  "${command[@]}" -q $again > /dev/null 2> err || wrong "$1, $3: the second call ended with $?"
  [ "$(content out 2> /dev/null)" = "$want" ] || wrong "$1, $3: the second call gave other content"
  rm -rf out out.*
  runs=$((runs + 1))
}

# One fault; false when there are fewer operations of that kind.
one() {  # CASE KIND WHAT N
  local status
  run_with "$2 $4 $3"
  status=$?
  grep -q hit "$log" || { rm -rf out out.*; return 1; }
  if [ "$3" != KILL ]; then
    if [ $status != 0 ]; then
      [ "$(grep -c ': error: ' err)" = 1 ] || wrong "$1, $2 $4 $3: no line of error"
      [[ $status == 7[34] ]] || wrong "$1, $2 $4 $3: exit $status"
    elif [[ $2 != open && $2 != unlink ]]; then  # what is only looked for may be missing, what is only tidied may stay
      wrong "$1, $2 $4 $3: was not noticed"
    fi
  fi
  check "$1" $status "$2 $4 $3"
}

step=1
[[ $form =~ ^[1-9][0-9]*$ ]] && step=$form
light=(medarc nsd custom simulate)
all=("${light[@]}" align embed prior decode caption eval)
(($#)) && all=("$@")
for name in "${all[@]}"; do
  mkdir in
  prepare "$name" 2> err || wrong "$name: preparing"
  before=$(inputs)
  ME2_FSYNC=on run_with "none 1 EIO" || wrong "$name without faults"
  want=$(content out)
  [ -n "$want" ] || wrong "$name: no content to compare with"
  declare -A count=()
  for kind in create open write fsync rename unlink; do count[$kind]=$(grep -c "^$kind$" "$log"); done
  rm -rf out
  started=$runs
  for fault in create:ENOSPC open:EIO write:ENOSPC write:KILL fsync:EIO rename:EIO rename:KILL unlink:KILL; do
    kind=${fault%:*} what=${fault#*:} last=${count[${fault%:*}]}
    if [ $kind = fsync ]; then export ME2_FSYNC=on; else export ME2_FSYNC=off; fi
    if [ "$form" != short ]; then
      for ((n = 1; n <= last; n += step)); do one "$name" $kind $what $n || break; done
    elif [[ " ${light[*]} " == *" $name "* ]]; then
      for ((n = 1; n <= last; n *= 2)); do one "$name" $kind $what $n || break; done
    else
      case $fault in
        open:*) one "$name" $kind $what 1 ;;  # the first input is looked at
        create:*) one "$name" $kind $what $((last / 4 + 1)) ;;
        write:ENOSPC) one "$name" $kind $what $((last / 2 + 1)) ;;
        rename:EIO | fsync:*) one "$name" $kind $what "$last" ;;
      esac
    fi
  done
  if [ "$form" = long ]; then
    for ((k = 0; k < 60; ++k)); do
      timeout -s KILL "0.$(printf %03d $((RANDOM % 120 + 1)))" "${command[@]}" -q > /dev/null 2> err
      check "$name" $? "killed at random"
    done
  fi
  echo "$name: $((runs - started)) faults"
  rm -rf in out out.*
done
echo "$runs runs with a fault, $failed wrong"
[ $failed = 0 ] && [ $runs -gt 3 ]
