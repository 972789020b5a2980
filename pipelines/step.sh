#!/usr/bin/env bash
# One stage: goes on where an interrupted call stopped, and replaces an output that is out of date.
#     pipelines/step.sh OUTPUT COMMAND...
out=$1
shift
# Another pipeline in the same folder would make the same output; the lock ends with the last process that holds it.
exec 9> "$(dirname "$out")/.$(basename "$out").lock" || exit 73
flock -n 9 || { echo "step: $out: another pipeline is making it in this folder" >&2; exit 75; }
if [ -e "$out.partial" ]; then
  "$@" --resume && exit 0
  status=$?
  case $status in 64 | 73) ;; *) exit $status ;; esac  # begun with other options or inputs: start anew
  rm -rf "$out.partial"
fi
if [ -e "$out" ]; then exec "$@" --overwrite; fi
exec "$@"
