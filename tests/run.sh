#!/usr/bin/env bash
# The default tests: CTest (units, goldens, style, replayed fuzz corpora), then Bats (the command lines). Both run even when the
# first fails; the closing lines tell how many of each passed.
#     tests/run.sh BUILD [JOBS]
set -uo pipefail
cd "$(dirname "$0")/.."
build=$(realpath "$1") jobs=${2:-$(nproc)}
status=0

ctest --test-dir "$build" -LE long -j "$jobs" --output-on-failure | tee "$build/ctest.log" | grep -vE '^ *Start +[0-9]+:' || status=1
ctest_closing=$(grep -E '^[0-9]+% tests passed' "$build/ctest.log")

options=()
if parallel --version 2> /dev/null | grep -q '^GNU' && ((jobs > 1)); then options=(--jobs "$jobs"); fi
export PATH=$build/bin:$build/tests:$PATH ME2_BUILD=$build
bats "${options[@]}" --timing --formatter tap --print-output-on-failure tests/cli | tee "$build/bats.log" || status=1
passed=$(grep -cE '^ok ' "$build/bats.log")
skipped=$(grep -cE '^ok .*# skip' "$build/bats.log")
failed=$(grep -cE '^not ok ' "$build/bats.log")

echo
echo "unit and style tests: ${ctest_closing:-did not run}"
grep -E '^not ok ' "$build/bats.log"
echo "bats: $((passed - skipped)) passed, $failed failed, $skipped skipped"
((passed > 0)) || status=1
exit $status
