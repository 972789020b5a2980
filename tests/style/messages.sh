#!/usr/bin/env bash
# docs/troubleshooting.md quotes messages: every quoted piece (first column, between the dots that stand for what varies) must be in the sources.
cd "$(dirname "$0")/../.." || exit 1
status=0 count=0
sources=$(find libcommon tools pipelines -name '*.h' -o -name '*.cpp' -o -name '*.sh' -o -name '*.mk' -o -name '*.smk' -o -name '*.py')
while IFS= read -r message; do
  count=$((count + 1))
  while IFS= read -r piece; do
    piece=$(sed 's/^ *//; s/ *$//' <<< "$piece")
    [ -n "$piece" ] || continue
    # shellcheck disable=SC2086
    grep -qF -- "$piece" $sources || { echo "docs/troubleshooting.md: no message has \"$piece\" any more"; status=1; }
  done <<< "${message//…/$'\n'}"
done < <(sed -n 's/^| `\([^`]*\)` |.*/\1/p' docs/troubleshooting.md)
((count > 20)) || { echo "docs/troubleshooting.md: only $count messages found"; status=1; }
exit $status
