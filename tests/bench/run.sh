#!/usr/bin/env bash
# Every measurement against its peer, one table after the other. The peers are Python packages (each script names its own): run with
# an interpreter that has them, ME2_PYTHON=/path/to/python; a script whose peer is missing is passed over with a word.
#     tests/bench/run.sh BUILD [NAME...]
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "$1") python=${ME2_PYTHON:-python3}
shift
cmake --build "$build" --target bench me2-test-zarr -j "$(nproc)" || exit 1
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
status=0
for script in tests/bench/*.py; do
  name=$(basename "$script" .py)
  (($# == 0)) || [[ " $* " == *" $name "* ]] || continue
  case $name in
    medarc) arguments=(--tool "$build/bin/me2-preprocess") ;;
    zarr_speed) arguments=(--tool "$build/tests/me2-test-zarr") ;;
    train) arguments=("$build") ;;
    startup) arguments=("$build/bench" "$place") ;;
    *) arguments=("$build/bench") ;;
  esac
  echo "== $name: $(sed -n '1,3s/^"""//p' "$script" | head -1)"
  errors=$(mktemp)
  if ! "$python" "$script" "${arguments[@]}" 2> "$errors"; then
    if grep -q ModuleNotFoundError "$errors"; then
      echo "passed over: $(grep ModuleNotFoundError "$errors" | tail -1) in $python; ME2_PYTHON names another interpreter"
    else
      cat "$errors"
      status=1
    fi
  fi
  rm -f "$errors"
done
exit $status
