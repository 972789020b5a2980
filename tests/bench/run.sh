#!/usr/bin/env bash
# run.sh BUILD [NAME...]: builds the measurements and runs tests/bench/NAME.{py,sh} (all of them without names). Each prints a table of
# ours, the peer's and the ratio from one run. PYTHON names an interpreter that has the peers; a script without its peer says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=$1
shift
cmake --build "$build" --target bench -j "${JOBS:-2}" > /dev/null
if [ $# -eq 0 ]; then
  for script in tests/bench/*.py tests/bench/*.sh; do
    name=$(basename "${script%.*}")
    [ "$name" = run ] || [ ! -e "$script" ] || set -- "$@" "$name"
  done
fi
for name in "$@"; do
  echo "== $name"
  if [ -e "tests/bench/$name.py" ]; then "${PYTHON:-python3}" "tests/bench/$name.py" "$build/bench"
  else bash "tests/bench/$name.sh" "$build/bench"; fi
done
