#!/usr/bin/env bash
# Fuzzes every target for a while, starting from its corpus. New inputs go to BUILD/fuzz/NAME, crashes to tests/fuzz/corpus/NAME,
# where the default tests replay them from then on.
#     tests/fuzz/run.sh BUILD [SECONDS] [NAME...]
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1 seconds=${2:-60}
shift 2
status=0
for program in "$build"/tests/*_fuzz; do
  name=$(basename "$program" _fuzz)
  (($# == 0)) || [[ " $* " == *" $name "* ]] || continue
  mkdir -p "$build/fuzz/$name" "tests/fuzz/corpus/$name"
  echo "fuzz: $name for $seconds s"
  "$program" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=10 -print_final_stats=1 -artifact_prefix="tests/fuzz/corpus/$name/" \
    "$build/fuzz/$name" "tests/fuzz/corpus/$name" > "$build/fuzz/$name.log" 2>&1 || { status=1; echo "fuzz: $name FAILED, see $build/fuzz/$name.log"; }
  grep -E 'number_of_executed_units|peak_rss' "$build/fuzz/$name.log"
done
exit $status
