# What holds for every verb of every tool, in a loop: a new tool is tested here without a line of its own.
# bats file_tags=tool:common
setup() {
  load ../support/load
  setup_case
}

# refused CODE TOOL ARGUMENTS...
refused() {
  local code=$1
  shift
  run "-$code" --separate-stderr "$@"
  assert_one_line_of_error
}

# The usage line of a verb, as words: required options with a value each, then one word for each argument.
arguments_of() {  # TOOL VERB -> fills `required` and `positionals` (name each)
  local usage words i
  usage=$("$1" "$2" --help | sed -n 's/^usage: //p')
  read -ra words <<< "${usage#"$1 $2"}"
  required=() positionals=()
  for ((i = 0; i < ${#words[@]}; i++)); do
    case ${words[i]} in
      --*) required+=("${words[i]}" "${words[i + 1]}"); i=$((i + 1)) ;;
      \[*) ;;
      *) positionals+=("${words[i]%...}") ;;
    esac
  done
}

@test "every tool: --help and --version of tool and verbs, on stdout, with exit 0" {
  for tool in $(tools); do
    run -0 --separate-stderr "$tool" --version
    [[ $output =~ ^$tool\ [0-9]+\.[0-9]+\.[0-9]+\ \(commit\ .+\)$ ]]
    run -0 --separate-stderr "$tool" --help
    assert_equal "$stderr" ""
    assert_output --partial "usage: $tool VERB"
  done
  while read -r tool verb; do
    run -0 --separate-stderr "$tool" "$verb" --help
    assert_equal "$stderr" ""
    assert_output --partial "usage: $tool $verb"
    assert_output --partial "Common options:"
  done < <(verbs)
}

@test "every tool: no verb, an unknown verb and an unknown option are usage errors" {
  for tool in $(tools); do
    refused 64 "$tool"
    refused 64 "$tool" frobnicate
    refused 64 "$tool" --frobnicate
  done
  while read -r tool verb; do refused 64 "$tool" "$verb" --frobnicate; done < <(verbs)
  assert_nothing_written
}

@test "every verb: no arguments at all, and common options without meaning, are usage errors" {
  local next=0 others=("--shard 0/1" "--shard x" "--device tpu" "--dtype f8" "--zarr-format 4" "--threads -1" "--seed x" "--progress often"
    "--resume --overwrite")
  while read -r tool verb; do
    arguments_of "$tool" "$verb"
    ((${#positionals[@]} + ${#required[@]})) && refused 64 "$tool" "$verb"
    # Each tool start costs 0.2 s: every verb gets --shard, and the others go round.
    for bad in "--shard 3/2" "${others[next++ % ${#others[@]}]}"; do
      # shellcheck disable=SC2086
      refused 64 "$tool" "$verb" "${required[@]}" "${positionals[@]}" $bad
    done
  done < <(verbs)
  assert_nothing_written
}

@test "every verb: missing inputs are 66 and name the first one" {
  local checked=0
  while read -r tool verb; do
    arguments_of "$tool" "$verb"
    ((${#positionals[@]})) || continue
    [[ " OUTPUT OUT MODEL_DIR " == *" ${positionals[0]} "* ]] && continue  # begins with an output
    "$tool" "$verb" --help | grep -qE "^  ${positionals[0]}" || continue
    run --separate-stderr "$tool" "$verb" "${required[@]}" "${positionals[@]/#/missing_}"
    if [ "$status" = 64 ]; then continue; fi  # a required option of a type that its name does not fit
    assert_equal "$tool $verb $status" "$tool $verb 66"
    assert_one_line_of_error
    checked=$((checked + 1))
  done < <(verbs)
  ((checked > 0))
  assert_nothing_written
}

@test "every tool: closed and full stdout are 74, a reader that left is quiet" {
  for tool in $(tools); do
    run -74 --separate-stderr bash -c "$tool --help >&-"
    run -74 --separate-stderr bash -c "$tool --help > /dev/full"
    run -141 --separate-stderr reader_gone $tool --help
    assert_equal "$stderr" ""
  done
}

@test "every tool: completion for the three shells" {
  for tool in $(tools); do
    for shell in bash zsh fish; do
      run -0 "$tool" --completion $shell
      assert_output --partial "$tool"
    done
    bash -n <("$tool" --completion bash)
  done
}

# Best of several, in processor time where the machine is too busy to give the run a core.
best_milliseconds() {
  local best=100000 i wall user system used
  local TIMEFORMAT='%R %U %S'
  for i in 1 2 3 4 5; do
    read -r wall user system <<< "$({ time "$@" > /dev/null 2>&1; } 2>&1)"
    used=$((10#${user/./} + 10#${system/./}))
    if ((10#${wall/./} < used)); then used=$((10#${wall/./})); fi
    if ((used < best)); then best=$used; fi
  done
  echo "$best"
}

@test "help and version: me2-preprocess within 50 ms, the others within 0.4 s" {
  for tool in $(tools); do
    limit=400
    if [ "$tool" = me2-preprocess ]; then limit=50; fi
    for option in --help --version; do
      took=$(best_milliseconds "$tool" $option)
      echo "$tool $option: $took ms"
      ((took <= limit))
    done
  done
}

@test "--device cuda without a GPU ends with 69, one line and no output" {
  if [ -e /dev/nvidia0 ]; then skip "this machine has a GPU"; fi
  me2-test-store make -q tokens.zarr "tokens=$DATA/prior_sample/io.safetensors:in.text_embed" --stimulus 5,3
  me2-test-store make -q betas.zarr "betas=$DATA/backbone/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,3
  refused 69 me2-prior sample tokens.zarr out.zarr --model "$DATA/prior_sample" --device cuda
  [[ "$stderr" == *"--device cuda: "*"use --device cpu"* ]]
  refused 69 me2-align apply betas.zarr out.zarr --model "$DATA/backbone" --subject subj01 --device cuda:1
  [[ "$stderr" == *"--device cuda:1: "* ]]
  [ ! -e out.zarr ]
}
