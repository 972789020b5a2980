setup() { load ../support/load; setup_case; }

# The score is at least that much.
assert_reached() {  # CSV SCORE AT_LEAST
  awk -F, -v score="$2" -v least="$3" '$1 == score { found = 1; if ($2 < least) { print score ": " $2 ", at least " least " expected"; exit 1 } } END { if (!found) exit 1 }' "$1"
}

# Thresholds lie between what the shipped models reach on these scenes and what a U-Net does that was trained on true tokens alone (colour .31,
# two-way .91 in the demo's ridge) or not at all.
@test "the shipped tiny models: pictures of true tokens show the scene, those of tokens predicted by a ridge its colour" {
  tiny=$ROOT/pipelines/tiny/models
  me2-preprocess simulate s --subjects 1 --sessions 1 --test-images 60 --validation-images 10 --seed 5 -q > simulated.txt
  me2-embed images s/stimuli.zarr targets.zarr --model "$tiny/encoder" -q
  me2-align fit s/subj01.zarr ridge --to tokens --from-tokens targets.zarr -q
  me2-align apply s/subj01.zarr predicted.zarr --model ridge --subject subj01 --split test --average repeats -q
  me2-embed images s/stimuli.zarr true.zarr --model "$tiny/encoder" --only predicted.zarr -q
  for tokens in true predicted; do
    me2-decode unclip $tokens.zarr $tokens.recon.zarr --model "$tiny/unet" --vae "$tiny/vae" -q
    me2-eval score $tokens.recon.zarr --truth s/stimuli.zarr --scene-labels s/stimuli.zarr --scorer "$tiny/scorer" --metrics pixcorr,recon_category,recon_colour,tower_two_way \
      --resamples 100 --allow-missing --csv -q > $tokens.csv
  done
  assert_reached true.csv pixcorr 0.9
  assert_reached true.csv recon_category 0.6
  assert_reached predicted.csv recon_colour 0.5
  assert_reached predicted.csv tower_two_way 0.94
}
