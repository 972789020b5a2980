# The parser and the path checks, through a tool that takes every type of argument (tests/support/me2-test-args.cpp).
# bats file_tags=tool:parser
setup() {
  load ../support/load
  setup_case
  mkdir in && echo hello > in/text
}

all() { me2-test-args all in --needed x "$@"; }

# refuses CODE TEXT ARGUMENTS...: ends with CODE and one line holding TEXT, and leaves nothing behind
assert_refused() {
  local code=$1 text=$2
  shift 2
  run "-$code" --separate-stderr "$@"
  assert_one_line_of_error
  [[ $stderr == *"$text"* ]] || fail "\"$text\" is not in: $stderr"
}

@test "every type of option is read, and its default is known" {
  run -0 --separate-stderr all word --flag --whole 4 --large=-9000000000 --natural 18446744073709551615 --real -.5 --colour dark-blue
  assert_equal "$(jq -r '[.WORD, .["--flag"], .["--whole"], .["--large"], .["--natural"], .["--real"], .["--colour"], .["--text"]] | join(" ")' <<< "$output")" \
    "word true 4 -9000000000 18446744073709551615 -0.5 dark-blue plain"
  assert_equal "$(jq -c '[.["--maybe"], .["--mask"], .["--sessions"]]' <<< "$output")" '[null,null,[]]'
}

@test "lists come comma-separated, as ranges and repeated, and leave the next word alone" {
  run -0 --separate-stderr all --sessions 1,2:4 --sessions 9 --names a,b word --colours red,green
  assert_equal "$(jq -c '[.["--sessions"], .["--names"], .WORD, .["--colours"]]' <<< "$output")" \
    '[["1","2","3","4","9"],["a","b"],"word",["red","green"]]'
}

@test "options may stand before, between and behind the arguments" {
  run -0 --separate-stderr me2-test-args all --needed x in --whole 9 word -q
  assert_equal "$(jq -r '.WORD + .["--whole"]' <<< "$output")" word9
}

@test "behind -- everything is an argument" {
  run -0 --separate-stderr me2-test-args all --needed x -- in --whole
  assert_equal "$(jq -r .WORD <<< "$output")" --whole
}

@test "a repeated argument leaves the ones behind it their words" {
  mkdir a b
  run -0 me2-test-args many a b in OUT
  assert_output "3 OUT"
  assert_refused 64 "OUTPUT is required" me2-test-args many a
}

@test "wrong values name the option and what was expected" {
  assert_refused 64 '--whole: a whole number expected, "1.5" given' all --whole 1.5
  assert_refused 64 '--whole: 99999999999 is out of range' all --whole 99999999999
  assert_refused 64 '--natural: a whole number from 0 expected, "-1" given' all --natural -1
  assert_refused 64 '--real: a finite number expected' all --real nan
  assert_refused 64 '--colour: one of red, green, dark-blue expected, "blue" given' all --colour blue
  assert_refused 64 '--flag: true or false expected' all --flag=perhaps
  assert_refused 64 'lies before' all --sessions 4:1
}

@test "misspelt and abbreviated names are refused with the right one" {
  assert_refused 64 'there is no option "--who" (did you mean --whole?)' all --who 3
  assert_refused 64 'there is no option "--colur" (did you mean --colour?)' all --colur red
  assert_refused 64 'there is no verb "al"' me2-test-args al in
  assert_refused 64 'a verb comes first' me2-test-args --whole 3 all in
  assert_refused 64 'a verb is expected: all, copy, many' me2-test-args
}

@test "missing, doubled and superfluous things are refused" {
  assert_refused 64 '--needed is required' me2-test-args all in
  assert_refused 64 'INPUT is required' me2-test-args all --needed x
  assert_refused 64 '--whole is given 2 times' all --whole 1 --whole 2
  assert_refused 64 'one argument too many: "c"' all b c
  assert_refused 64 '--whole' all --whole
  assert_refused 64 '--whole has no value behind the =' all --whole=
  assert_refused 64 'an empty path' me2-test-args all "" --needed x
  assert_refused 64 '--resume and --overwrite' all --resume --overwrite
}

@test "an argument of 128 KiB, one with newlines and one that is not UTF-8 give one short line" {
  assert_refused 64 'there is no option' all "--$(printf 'x%.0s' {1..130000})"
  [ ${#stderr} -lt 1000 ]
  assert_refused 66 'No such file' me2-test-args all $'no\nsuch\nfile' --needed x
  assert_refused 64 '--whole: a whole number expected' all --whole $'\xff\xfe'
}

@test "a missing input is 66 and names an unfinished store beside it" {
  assert_refused 66 'gone.zarr: No such file' me2-test-args all gone.zarr --needed x
  mkdir gone.zarr.partial
  assert_refused 66 'run it again with --resume' me2-test-args all gone.zarr --needed x
  assert_refused 66 '--mask: gone: No such file' all --mask gone
  assert_refused 66 '--more: gone: No such file' all --more in --more gone
}

@test "an output that exists is 73 unless --overwrite or --resume" {
  mkdir out
  assert_refused 73 'out: exists (--overwrite replaces it)' me2-test-args copy in out
  run -0 me2-test-args copy in out --overwrite
}

@test "an output that cannot be or must not be is 73" {
  assert_refused 73 'does not exist' me2-test-args copy in nowhere/out
  assert_refused 73 'lies inside the input' me2-test-args copy in in/out
  assert_refused 73 'is also the input' me2-test-args copy in ./in/../in --overwrite
  mkdir sub && mv in sub/
  assert_refused 73 'contains the input' me2-test-args copy sub/in sub --overwrite
  echo model > m
  assert_refused 73 'would replace --model' me2-test-args copy sub/in m --model m --overwrite
}

@test "a symbolic link does not hide that an output lies inside an input" {
  ln -s in link
  assert_refused 73 'lies inside the input' me2-test-args copy in link/out
}

@test "a folder without permission to write is 73" {
  [ "$(id -u)" != 0 ] || skip "root may write everywhere"
  mkdir locked && chmod a-w locked
  assert_refused 73 'cannot write into' me2-test-args copy in locked/out
}

@test "- hands a store from one tool to the next, whose reader removes it" {
  me2-test-args copy in - | me2-test-args copy - - | me2-test-args copy - out
  assert_equal "$(cat out/text)" $'hello\ncopied\ncopied\ncopied'
  assert_equal "$(ls -A "$TMPDIR")" ""
  assert_equal "$(jq -r '.attributes.me2.inputs[0].provenance.inputs[0].provenance.inputs[0].path' out/zarr.json)" in
}

@test "a reader that fails removes what it was handed" {
  run -65 --separate-stderr bash -c 'set -o pipefail; me2-test-args copy in - | me2-test-args copy - out --fail broken'
  assert_nothing_written_but in
  mkdir out
  run -73 --separate-stderr bash -c 'me2-test-args copy in - > path; me2-test-args copy - out < path; s=$?; rm -r "$(dirname "$(cat path)")" path; exit $s'
  run -73 --separate-stderr bash -c 'me2-test-args copy in - | (sleep 0.5; me2-test-args copy - out)'
  assert_equal "$(ls -A "$TMPDIR")" ""
}
assert_nothing_written_but() { assert_equal "$(ls -A .)" "$1"; assert_equal "$(ls -A "$TMPDIR")" ""; }

@test "a writer that fails hands nothing over, and the reader says so" {
  run -66 --separate-stderr bash -c 'me2-test-args copy in - --fail broken 2> /dev/null | me2-test-args copy - out'
  [[ $stderr == *"the command before failed"* ]]
  assert_nothing_written_but in
}

@test "a writer whose reader has gone removes its store and ends with 141" {
  run -141 --separate-stderr reader_gone me2-test-args copy in -
  assert_equal "$stderr" "$(grep -v error <<< "$stderr")"
  assert_nothing_written_but in
}

@test "a store of the user's own on stdin is read and not removed" {
  printf in | me2-test-args copy - out
  assert_equal "$(cat in/text)" hello
}

@test "stdin with anything but one path is refused" {
  assert_refused 66 'which was empty' me2-test-args copy - out < /dev/null
  assert_refused 65 'one line' me2-test-args copy - out < <(printf 'in\nin\n')
  assert_refused 65 'one line' me2-test-args copy - out < <(printf 'in\0in')
  assert_refused 65 'one line' me2-test-args copy - out < <(head -c 1048576 /dev/zero | tr '\0' x)
  assert_refused 66 'No such file' me2-test-args copy - out <<< nowhere
  assert_refused 64 'only one input can be -' me2-test-args many - - out
}

@test "- as output goes with neither --shard nor --resume" {
  assert_refused 64 '--shard needs a named output' me2-test-args copy in - --shard 1/2
  assert_refused 64 '--resume needs a named output' me2-test-args copy in - --resume
}

@test "a signal ends the run with 75, and temporaries go" {
  for signal in TERM INT USR1 HUP; do
    stderr=$BATS_TEST_TMPDIR/stderr  # the temporary folder is made after the signals are watched
    interrupted $signal '[ -n "$(ls -A "$TMPDIR")" ]' me2-test-args copy in - --steps 600 2> "$stderr"
    assert_equal "$status" 75
    [[ $(cat "$stderr") == *"stopped by SIG$signal"* ]]
    assert_equal "$(ls -A "$TMPDIR")" ""
  done
}

@test "closed and full stdout are 74" {
  run -74 --separate-stderr bash -c 'me2-test-args all in --needed x >&-'
  assert_one_line_of_error
  run -74 --separate-stderr bash -c 'me2-test-args all in --needed x > /dev/full'
  assert_one_line_of_error
  run -74 --separate-stderr bash -c 'me2-test-args copy in - > /dev/full'
  assert_equal "$(ls -A "$TMPDIR")" ""
}

@test "closed stdin and stderr do no harm" {
  run -0 bash -c 'me2-test-args copy in out <&- 2>&-'
  run -0 cat out/text
  assert_output $'hello\ncopied'
}

@test "a fault of ours is one line too, with 70" {
  assert_refused 70 'internal error: a fault' me2-test-args copy in out --fail internal
  [[ $stderr != *"second line"* ]]
}

@test "a dry run prints the plan and writes nothing" {
  run -0 --separate-stderr me2-test-args copy in out --dry-run
  assert_output --partial "text u1 [2, 3]  6 B"
  run -0 --separate-stderr me2-test-args copy in out --dry-run --json
  assert_equal "$(jq -c '[.inputs.INPUT, .outputs.OUTPUT, .bytes, .memory_bytes]' <<< "$output")" '["in","out",6,4096]'
  run -0 --separate-stderr me2-test-args copy in - --dry-run
  assert_nothing_written_but in
}

@test "the provenance names the tool, commit, arguments, options, inputs and host" {
  echo model > m
  me2-test-args copy in out --model m --seed 7 --steps 1
  jq -e '.attributes.me2 | .tool == "me2-test-args" and .verb == "copy" and (.commit | length) >= 7 and .seed == 7 and .dtype == "f32"
    and .command == ["me2-test-args", "copy", "in", "out", "--model", "m", "--seed", "7", "--steps", "1"] and .options["--steps"] == "1"
    and .common_options["--seed"] == "7" and .host.name != "" and .seconds > 0 and (.started | endswith("Z"))' out/zarr.json
  assert_equal "$(jq -r '.attributes.me2.models[0].sha256' out/zarr.json)" "$(sha256sum < m | cut -d' ' -f1)"
  listing="$(sha256sum < in/text | cut -d' ' -f1)  text"
  assert_equal "$(jq -r '.attributes.me2.inputs[0].sha256' out/zarr.json)" "$(sha256sum <<< "$listing" | cut -d' ' -f1)"
}

@test "--log-format json makes every line an object, errors of the command line too" {
  run -0 --separate-stderr me2-test-args copy in out --log-format json --progress always --steps 1
  jq -es 'all(.tool == "me2-test-args" and .verb == "copy") and any(.event == "finished")' <<< "$stderr"
  run -64 --separate-stderr me2-test-args copy in out --log-format json --stps 1
  jq -e '.exit == 64 and .level == "error"' <<< "$stderr"
}

@test "--quiet leaves stderr empty and --progress never keeps the log" {
  run -0 --separate-stderr me2-test-args copy in out --steps 1 -q
  assert_equal "$stderr" ""
  run -0 --separate-stderr me2-test-args copy in out2 --steps 1 --progress never
  assert_equal "$stderr" ""
}

@test "without a terminal there is neither colour nor a bar" {
  unset NO_COLOR
  run -0 --separate-stderr me2-test-args copy in out --steps 3 --progress always
  [[ $stderr != *$'\e'* && $stderr != *$'\r'* && $stderr == *"steps: 3 in "* ]]
}

@test "on a terminal progress is a bar, and NO_COLOR is honoured" {
  command -v script > /dev/null || skip "no script(1) here"
  run script -qec 'me2-test-args copy in out --steps 4' /dev/null
  assert_output --partial '['
  assert_output --partial $'\r'
  run env NO_COLOR= TERM=xterm script -qec 'me2-test-args copy gone out' /dev/null
  assert_output --partial $'\e[31m'
  run env NO_COLOR=1 TERM=xterm script -qec 'me2-test-args copy gone out' /dev/null
  refute_output --partial $'\e[31m'
}

@test "- as input refuses a terminal" {
  command -v script > /dev/null || skip "no script(1) here"
  run script -qec 'me2-test-args copy - out < /dev/tty' /dev/null
  assert_output --partial 'stdin is a terminal'
}

@test "help shows choices and defaults, and the Markdown page escapes its tables" {
  run -0 me2-test-args all --help
  assert_output --partial '--colour {red,green,dark-blue}'
  assert_output --partial 'a whole number [3]'
  assert_output --partial 'usage: me2-test-args all --needed NEEDED [OPTIONS] INPUT [WORD]'
  assert_output --partial 'Common options:'
  run -0 me2-test-args --help-markdown
  assert_output --partial 'a text with a \| in its help'
}

complete_at() { COMP_CWORD=$1 COMP_WORDS=("${@:2}") COMPREPLY=(); _me2_test_args; }

@test "completion knows verbs, options and choices" {
  eval "$(me2-test-args --completion bash)"
  complete_at 1 me2-test-args al
  assert_equal "${COMPREPLY[*]}" all
  complete_at 2 me2-test-args all --col
  assert_equal "${COMPREPLY[*]}" "--colour --colours"
  complete_at 3 me2-test-args all --colour d
  assert_equal "${COMPREPLY[*]}" dark-blue
  for shell in zsh fish; do run -0 me2-test-args --completion $shell; assert_output --partial dark-blue; done
  assert_refused 64 'bash, zsh or fish expected' me2-test-args --completion tcsh
}
