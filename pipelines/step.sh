#!/usr/bin/env bash
# One stage: goes on where an interrupted call stopped, and replaces an output that is out of date.
#     pipelines/step.sh OUTPUT COMMAND...
# ME2_TIMES=file: it gets a line for each stage: wall and processor seconds, output; and what the stage says on stderr begins with its output
# (below that file's folder), because several stages may be at work.
out=$1
shift
if [ -n "${ME2_TIMES:-}" ]; then
  # A signal is for the stage, which tells how it ended.
  exec 2> >(exec 3>&-; trap '' HUP INT TERM; while IFS= read -r line || [ -n "$line" ]; do printf '%s: %s\n' "${out#"${ME2_TIMES%/*}"/}" "$line" >&2; done)
  said=$!
fi
end() {  # STATUS: when all is said
  exec 2>&-
  [ -z "${said:-}" ] || wait "$said"
  exit "$1"
}
took() {  # STATUS: says what it took, and ends
  if [ -n "${ME2_TIMES:-}" ] && [ "$1" = 0 ]; then
    times > "$ME2_TIMES.$$"  # not in a pipe, where they would be those of another shell
    awk -v wall=$SECONDS -v out="$out" 'NR == 2 { gsub("m|s", " "); printf "%6d s wall %8.1f s processor  %s\n", wall, $1 * 60 + $2 + $3 * 60 + $4, out }' "$ME2_TIMES.$$" >> "$ME2_TIMES"
    rm "$ME2_TIMES.$$"
  fi
  end "$1"
}
run() {  # a signal to this script is the stage's, which saves what it has
  local stage= stop= status
  trap 'stop=yes; [ -z "$stage" ] || kill -TERM "$stage" 2> /dev/null' HUP INT TERM
  "$@" &
  stage=$!
  [ -z "$stop" ] || kill -TERM $stage 2> /dev/null  # it came before there was a stage
  wait $stage
  status=$?
  while kill -0 $stage 2> /dev/null; do wait $stage; status=$?; done
  return $status
}
# Another pipeline in the same folder would make the same output; the lock ends with the last process that holds it.
exec 9> "$(dirname "$out")/.$(basename "$out").lock" || end 73
flock -n 9 || { echo "step: $out: another pipeline is making it in this folder" >&2; end 75; }
if [ -e "$out.partial" ]; then
  run "$@" --resume && took 0
  status=$?
  case $status in 64 | 73) ;; *) end $status ;; esac  # begun with other options or inputs: start anew
  rm -rf "$out.partial"
fi
if [ -e "$out" ]; then set -- "$@" --overwrite; fi
[ -n "${ME2_TIMES:-}" ] || exec "$@"
run "$@"
took $?
