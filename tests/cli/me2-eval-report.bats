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

@test "report: retrieval examples, the curve of ranks and the map, from embeddings" {
  me2-preprocess simulate scenes --scenes-only 12 --side 64 --quiet > /dev/null
  me2-embed images scenes/stimuli.zarr tokens.zarr --model "$ROOT/pipelines/tiny/models/encoder" --threads 1 -q
  me2-eval score scenes/stimuli.zarr --truth scenes/stimuli.zarr --metrics pixcorr --resamples 100 --out scores.json --threads 1 --quiet > /dev/null
  me2-eval retrieval tokens.zarr --brain-array clip_tokens --truth tokens.zarr --truth-array clip_tokens --out retrieval.json --threads 1 --quiet > /dev/null
  me2-eval report page.html --scores scores.json --scores retrieval.json --truth scenes/stimuli.zarr --brain tokens.zarr --brain-array clip_tokens --targets tokens.zarr --threads 1 --quiet
  run -0 grep -o 'a brain embedding finds its image among 12 ' page.html
  run -0 grep -c 'class="right"' page.html  # four stimuli, each its own best
  assert_output 4
  run -0 grep -o 'Share whose right one is among the best k of 12</text>' page.html
  # Embeddings that find themselves: both curves start at the top left corner of the frame, chance at its bottom.
  run -0 grep -c '<polyline .*points="56.0,30.0 ' page.html
  assert_output 2
  run -0 grep -c '<polyline .*points="56.0,290.0 ' page.html
  assert_output 1
  run -0 grep -c 'UMAP of brain and image embeddings' page.html
}

@test "report: a score that one file left out and another has is not told to be missing" {
  echo '{"scores": {"ssim": {"value": 0.5}}, "not_run": {"alexnet2": "needs --alexnet", "swav": "needs --swav"}}' > one.json
  echo '{"scores": {"alexnet2": {"value": 0.9}}, "not_run": {"swav": "needs --swav"}}' > other.json
  me2-preprocess simulate scenes --scenes-only 3 --side 32 --quiet > /dev/null
  me2-eval report page.html --scores one.json --scores other.json --truth scenes/stimuli.zarr --threads 1 --quiet
  run -0 grep -o 'not run: [a-z0-9]*' page.html
  assert_output "not run: swav"
}

@test "report: a scores file that is none is named" {
  echo '{"a": 1}' > no.json
  run -65 me2-eval report page.html --scores no.json --threads 1
  assert_output --partial "no.json: no scores"
  assert [ ! -e page.html ]
}
