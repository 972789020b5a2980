# bats file_tags=tool:eval
setup() { load ../support/load; setup_case; }
table() { printf 'id,pixcorr,effnet\n'; local i; for i in $(seq 1 20); do echo "$i,$(awk -v i=$i -v d=$1 'BEGIN { printf "%.4f,%.4f", .3 + d + (i % 7) / 50, .8 - d + (i % 5) / 50 }')"; done; }
field() { sed -n "s/.*\"$1\": \([^,]*\),*/\1/p" | sed -n "${2:-1}p"; }

@test "compare: a run that is better on every image" {
  table 0.05 > new.csv; table 0 > old.csv
  run -0 --separate-stderr me2-eval compare new.csv old.csv
  assert_regex "$output" 'pixcorr +new - old .* \+0.0500 .*new better'
  assert_regex "$output" 'effnet +new - old .* -0.0500 .*new better'
  run -0 --separate-stderr me2-eval compare new.csv old.csv --json
  # 20 differences of one sign: of 10,000 random sign patterns about none is as extreme: p = 1/10001; Holm doubles the smaller of two
  assert_regex "$(field p_permutation <<< "$output")" '^(9.999|0.0001|0.0002)'
}

@test "compare: five images give the exact permutation p" {
  table 0.05 | head -6 > a.csv; table 0 | head -6 > b.csv
  run -0 --separate-stderr me2-eval compare a.csv b.csv --metrics pixcorr --json
  assert_equal "$(field p_permutation <<< "$output")" 0.0625  # 2 of 2^5 sign patterns
  assert_output --partial '"verdict": "no difference shown"'
}

@test "compare: a run with itself is equivalent, and no difference is shown" {
  table 0 > a.csv; cp a.csv b.csv
  run -0 --separate-stderr me2-eval compare a.csv b.csv --margin 0.01
  assert_regex "$output" 'pixcorr .* 0 .*equivalent within 0.01'
}

@test "compare: three runs are all pairs, or against a baseline" {
  table 0 > a.csv; table 0.01 > b.csv; table 0.02 > c.csv
  run -0 --separate-stderr me2-eval compare a.csv b.csv c.csv --csv
  assert_equal "${#lines[@]}" 7
  run -0 --separate-stderr me2-eval compare a.csv b.csv c.csv --csv --baseline a
  assert_equal "${#lines[@]}" 5
  assert_regex "$output" 'pixcorr,c,a,'
}

@test "compare: runs of two subjects" {
  for s in 1 2; do table 0.0$s > new$s.csv; table 0 > old$s.csv; done
  run -0 --separate-stderr me2-eval compare new1.csv new2.csv old1.csv old2.csv --run new,new,old,old --subject s1,s2,s1,s2 --metrics pixcorr --json
  assert_equal "$(field subjects <<< "$output")" 2
  assert_regex "$(field difference <<< "$output")" '^0.01(4999|5)'
  assert_regex "$(field low <<< "$output")" '^0.0(0999|1)'  # both draws may be the first subject
  assert_output --partial 'subjects and images within'
}

@test "compare: other images on one side are an error unless allowed" {
  table 0 > a.csv; table 0 | head -20 > b.csv
  run -65 --separate-stderr me2-eval compare a.csv b.csv
  assert_one_line_of_error
  [[ "$stderr" == *"20 (not in b.csv)"* ]]
  run -0 me2-eval compare a.csv b.csv --allow-missing
  assert_output --partial 'note: a and b: 1 images on one side only'
}

@test "compare: scores files give differences and say that nothing is tested" {
  echo '{"scores": {"bleu4": {"value": 0.3, "n": 5}}}' > a.json; echo '{"scores": {"bleu4": {"value": 0.25, "n": 5}}}' > b.json
  run -0 me2-eval compare a.json b.json --out c.json
  assert_output --partial 'not tested'
  assert_output --partial '+0.0500'
  grep -q '"comparisons"' c.json
}

@test "compare: one run, labels that do not fit, and nothing in common are errors" {
  table 0 > a.csv; printf 'id,other\n1,2\n' > b.csv
  run -64 --separate-stderr me2-eval compare a.csv
  run -64 --separate-stderr me2-eval compare a.csv b.csv --run x
  run -65 --separate-stderr me2-eval compare a.csv b.csv
  [[ "$stderr" == *"no score in common"* ]]
}
