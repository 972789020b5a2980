# bats file_tags=tool:eval
setup() { load ../support/load; setup_case; }


@test "report: a page without network, with every picture, caption and score asked for" {
  me2-preprocess simulate scenes --scenes-only 12 --side 32 --quiet > /dev/null
  me2-eval score scenes/stimuli.zarr --truth scenes/stimuli.zarr --metrics pixcorr,ssim --resamples 100 --out scores.json --per-image each.csv --threads 1 --quiet > /dev/null
  me2-eval report page.html --scores scores.json --per-image each.csv --truth scenes/stimuli.zarr --recon scenes/stimuli.zarr --captions scenes/stimuli.zarr --paper 40 --threads 1 --quiet
  run -0 grep -c '<article class="card"' page.html
  run -0 grep -o 'data:image/png;base64' page.html
  assert_equal "$(printf '%s\n' "${lines[@]}" | wc -l)" "$((2 * 12 + 2 * 9))"  # two pictures a card; 12 cards, and 9 more among the extremes
  run -1 grep -E '(src|href)="(https?:)?//' page.html
  run -0 grep -c 'PixCorr' page.html
  run -0 grep 'me2-eval score' page.html  # the command that gives the numbers again
}

@test "report: a scores file that is none is named" {
  echo '{"a": 1}' > no.json
  run -65 me2-eval report page.html --scores no.json --threads 1
  assert_output --partial "no.json: no scores"
  assert [ ! -e page.html ]
}
