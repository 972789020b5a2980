# For every Bats file: setup() { load ../support/load; setup_case; }
# Gives the tools on PATH, bats-assert, $DATA (tests/golden), $SHARED (material kept outside the repository; may be missing) and an
# empty folder of the case's own as the current one.
bats_require_minimum_version 1.7.0
for library in bats-support bats-assert bats-file; do
  for place in ${BATS_LIB_PATH//:/ } /usr/lib/bats /usr/local/lib /usr/lib/node_modules; do
    if [ -f "$place/$library/load.bash" ]; then load "$place/$library/load"; break; fi
  done
done

export ME2_FSYNC=off  # for crashes of the machine; slow on some disks
ROOT=$(cd "${BATS_TEST_DIRNAME:-.}/../.." && pwd)
BUILD=${ME2_BUILD:-$ROOT/build}
DATA=$ROOT/tests/golden
SHARED=${ME2_SHARED:-$ROOT/../shared}
PATH=$BUILD/bin:$BUILD/tests:$PATH
export PATH ROOT DATA SHARED NO_COLOR=1
unset SLURM_CPUS_PER_TASK ME2_TMPDIR
export OMP_NUM_THREADS=1  # several cases run at once

setup_case() {
  mkdir -p "$BATS_TEST_TMPDIR/w" "$BATS_TEST_TMPDIR/tmp"
  export TMPDIR=$BATS_TEST_TMPDIR/tmp  # what a tool leaves behind there is seen
  cd "$BATS_TEST_TMPDIR/w" || return 1
}

tools() { (cd "$BUILD/bin" && ls -d me2-*); }

# "me2-align apply", one line for each verb of each tool
verbs() {
  local tool
  for tool in $(tools); do "$BUILD/bin/$tool" --help-markdown | sed -n "s/^## \($tool .*\)/\1/p"; done
}

# The digest of what a store holds, and that two stores hold the same. A store without one is a failure, not equal to another without one.
content() { me2-preprocess show "$1" --digest | sed -n 's/^ *sha256 //p' | grep -xE '[0-9a-f]{64}' || fail "$1: no digest"; }
assert_same_content() {
  local one other
  one=$(content "$1") && other=$(content "$2") || fail "no digest of $1 or $2"
  [ "$one" = "$other" ] || fail "$1 and $2 hold different things"
}

assert_golden() { me2-test-golden close "$@"; }  # fails with the largest difference

skip_without_shared() { [ -e "$SHARED/$1" ] || skip "$1 is not on this machine"; }

# The path of a golden case: another set of the same cases (ME2_GOLDENS), ours, or the shared one.
golden() {
  local place
  for place in "${ME2_GOLDENS:-/nonexistent}" "$DATA" "$SHARED/goldens"; do
    if [ -e "$place/$1" ]; then echo "$place/$1"; return; fi
  done
  skip "golden case $1 is not on this machine"
}

# One line on stderr, nothing on stdout: what each failure looks like. After `run --separate-stderr`.
assert_one_line_of_error() {
  assert_equal "$output" ""
  assert_equal "$(printf '%s\n' "$stderr" | grep -c ': error: ')" 1
}

assert_nothing_written() { assert_equal "$(ls -A .)" ""; assert_equal "$(ls -A "$TMPDIR")" ""; }

# Runs a command whose stdout is a pipe that nobody reads any more.
reader_gone() {
  python3 -c '
import os, subprocess, sys
reader, writer = os.pipe()
os.close(reader)
status = subprocess.run(sys.argv[1:], stdout=writer).returncode
sys.exit(status if status >= 0 else 128 - status)' "$@"
}

# interrupted SIGNAL CONDITION COMMAND...: runs COMMAND and sends it SIGNAL as soon as the shell code CONDITION holds; $status is what it ended
# with. A command that was ready before the signal came is run again, after `forget` (a function of the test) has removed what it made.
interrupted() {
  local signal=$1 condition=$2 monitored=$- job
  shift 2
  set -m  # a job in the background would ignore SIGINT
  for _ in $(seq 20); do
    "$@" 3>&- & job=$!
    until eval "$condition" || ! kill -0 $job 2> /dev/null; do sleep .02; done
    kill -s "$signal" $job 2> /dev/null || true
    status=0
    wait $job || status=$?
    [ $status = 0 ] || break
    forget
  done
  [[ $monitored == *m* ]] || set +m
}

# A port below those that the kernel gives to outgoing connections, so that only another caller of this could take it.
free_port() {
  python3 -c '
import random, socket
while True:
    port = random.randrange(20000, 32000)
    try:
        with socket.socket() as s:
            s.bind(("127.0.0.1", port))
        print(port)
        break
    except OSError:
        pass'
}
