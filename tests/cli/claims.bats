# bats file_tags=tool:all
# The page of the paper's findings, from made values: means, intervals and verdicts by hand.
setup() { load ../support/load; setup_case; }

page() { printf '# Results\n\nbefore\n\n<!-- claims: made by pipelines/claims_page.sh -->\nold\n<!-- end of claims -->\n\nafter\n' > page.md; }
run_of() {  # SEED SUBJECT scratch_1 tuned_1
  mkdir -p "claims/seed$1/subj0$2"
  printf 'scratch_1,image_retrieval,%s\ntuned_1,image_retrieval,%s\nmap_tuned_1,image_retrieval,%s\n' "$3" "$4" "$5" > "claims/seed$1/subj0$2/values.csv"
}

@test "claims page: means and t intervals over runs, differences within runs, the section alone replaced" {
  page
  run_of 1 1 0.1 0.5 0.9
  run_of 1 2 0.2 0.7 0.9
  run_of 2 1 0.3 0.6 0.9
  "$ROOT/pipelines/claims_page.sh" claims page.md
  run -0 cat page.md
  assert_line before
  assert_line after
  refute_line old
  assert_line --partial "3 runs: 2 populations (seeds), 2 of their subjects held out."
  # Mean .2, deviation .1: 4.303 * .1 / sqrt(3) = .248. Differences .4, .5, .3: the same.
  assert_line "| 1 session, from scratch | 0.200 ± 0.248 |  |"
  assert_line "- 1 session: pretraining beats scratch (image_retrieval): +0.400 ± 0.248, 3 runs: the paper’s direction."
  # Differences -.4, -.2, -.3: mean -.3, against a mean of 0 by more than .248.
  assert_line --partial "the linear map beats the MLP map, 1 session after pretraining (image_retrieval): -0.300 ± 0.248, 3 runs: **against the paper.**"
  refute_output --partial "ridge to the tokens |"  # nothing was measured: no row
  assert [ -s claims-sessions.svg ]

  run_of 2 1 0.6 0.5 0.9  # differences .4, .5, -.1: mean .267, half 4.303 * .3215 / sqrt(3) = .799
  "$ROOT/pipelines/claims_page.sh" claims page.md
  run -0 grep -c 'end of claims' page.md
  assert_output 1
  run -0 grep "1 session: pretraining" page.md
  assert_output --partial "+0.267 ± 0.799, 3 runs: no difference shown."
}
@test "claims page: without a complete run or without the marks nothing is written" {
  page
  cp page.md was.md
  run -66 "$ROOT/pipelines/claims_page.sh" claims page.md
  cmp page.md was.md
  run_of 1 1 0.1 0.5 0.9
  echo nothing > bare.md
  run -65 "$ROOT/pipelines/claims_page.sh" claims bare.md
}
@test "bars: each figure against its bar, and the floors by intervals" {
  mkdir -p demo/refined demo/scratch demo/shuffled demo/mean
  csv() { echo 'score,value,low,high,n,split'; printf '%s\n' "$@"; }
  csv image_retrieval,0.6,0.55,0.65,300, > demo/retrieval.csv
  csv image_retrieval,0.41,0.38,0.45,300, > demo/scratch/retrieval.csv
  for floor in shuffled mean; do csv image_retrieval,0.003,0,0.01,300, > demo/$floor/retrieval.csv; done
  csv recon_category,0.3,0.25,0.35,300, > demo/refined/scores.csv
  csv recon_category,0.29,0.25,0.35,300, pixcorr,0.5,0.45,0.55,300, tower_two_way,0.9,0.85,0.95,300, > demo/scores.csv
  csv pixcorr,0.2,0.1,0.3,300, tower_two_way,0.5,0.4,0.6,300, > demo/shuffled/scores.csv
  csv pixcorr,0.4,0.34,0.46,300, tower_two_way,0.5,0.4,0.6,300, > demo/mean/scores.csv
  csv caption_category,0.39,0.3,0.5,300, caption_colour,0.7,0.6,0.8,300, > demo/captions.csv
  run -0 "$ROOT/pipelines/bars.sh" demo
  assert_line --regexp '^image_retrieval +0.600 \(0.55-0.65\) +at least .50 +met$'
  assert_line --regexp '1.5 times scratch \(0.410\) +not met$'
  assert_line --regexp '^caption_category .* not met$'
  assert_line --regexp '^caption_colour .* +met$'
  assert_line --regexp '^recon_category +0.300 .* refined +met$'
  assert_line --regexp '^recon_category +0.290 .* before it is refined .* not met$'
  assert_line --regexp '^image_retrieval .*above shuffled 0.003 and mean brain 0.003.* met$'
  assert_line --regexp '^pixcorr .* not met$'
  assert_line --regexp '^tower_two_way .* met$'
}
