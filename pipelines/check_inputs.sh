#!/usr/bin/env bash
# The files that a Snakemake configuration needs, with their sizes, and which of them are missing: then it ends with 66.
#     pipelines/check_inputs.sh CONFIG
config=${1:-}
[ -n "$config" ] || { echo "check-inputs: CONFIG=FILE says which configuration, one of $(echo "$(dirname "$0")"/configs/*.yaml)" >&2; exit 64; }
[ -f "$config" ] || { echo "check-inputs: $config: no such file" >&2; exit 66; }
command -v snakemake > /dev/null || { echo "check-inputs: snakemake is not installed: apt-get install snakemake, or pip install snakemake" >&2; exit 69; }
said=$(mktemp)
trap 'rm -f "$said"' EXIT
table=$(snakemake -s "$(dirname "$0")/Snakefile" --configfile "$config" -j 1 --nolock -f check_inputs 2> "$said")
status=$?
if grep -qE 'files (are missing|are there)$' <<< "$table"; then
  echo "$table"
  [ $status = 0 ] || exit 66
else
  tail -n 5 "$said" >&2
  exit 65
fi
