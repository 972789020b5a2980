# bats file_tags=tool:prior
# Expected numbers and draws: golden prior_sample, made by the reference implementation (config.json names its versions).
setup() {
  load ../support/load; setup_case
  MODEL=$DATA/prior_sample
  IO=$MODEL/io.safetensors
  me2-test-store make -q tokens.zarr "tokens=$IO:in.text_embed" --stimulus 5,3
}
assert_close() { me2-test-store equal -q "$1" clip_tokens "$2" --tolerance "$3"; }
assert_same() { me2-test-store same -q "$@"; }
sample() { me2-prior sample -q "$@" --model "$MODEL"; }

@test "sample: 20 DDIM steps from the reference's noise, with and without guidance" {
  me2-test-store make -q noise.zarr "noise=$IO:in.ddim_noise"
  sample tokens.zarr one.zarr --steps 20 --guidance 1 --noise noise.zarr
  sample tokens.zarr three.zarr --steps 20 --guidance 3 --noise noise.zarr
  assert_close one.zarr "$IO:out.ddim20_cond_scale_1" 1.4e-4
  assert_close three.zarr "$IO:out.ddim20_cond_scale_3" 1.1e-3
}
@test "sample: 100 DDPM steps from the reference's noise, with and without guidance" {
  me2-test-store make -q noise.zarr "noise=$IO:in.ddpm_noise"
  sample tokens.zarr one.zarr --steps 100 --noise noise.zarr
  sample tokens.zarr three.zarr --steps 100 --guidance 3 --noise noise.zarr
  assert_close one.zarr "$IO:out.ddpm100_cond_scale_1" 1.2e-4
  assert_close three.zarr "$IO:out.ddpm100_cond_scale_3" 2.3e-3
}
@test "sample: saved noise given back makes the same bytes" {
  sample tokens.zarr a.zarr --save-noise noise.zarr
  sample tokens.zarr b.zarr --noise noise.zarr
  assert_same a.zarr b.zarr
}
@test "sample: batch and threads do not change a byte" {
  sample tokens.zarr a.zarr --batch-size 1 --threads 1
  sample tokens.zarr b.zarr --batch-size 8 --threads 2
  assert_same a.zarr b.zarr
}
@test "sample: a sample's draws follow its stimulus, not its place" {
  me2-test-store make -q first.zarr "tokens=$IO:in.text_embed" --rows 1 --stimulus 5
  sample tokens.zarr both.zarr
  sample first.zarr one.zarr
  assert_same one.zarr both.zarr --array clip_tokens --array stimulus
}
@test "sample: the seed and the draw change the result; the first of several draws is the only one" {
  sample tokens.zarr a.zarr
  sample tokens.zarr b.zarr --seed 43
  run -65 me2-test-store same -q a.zarr b.zarr --array clip_tokens
  me2-test-store make -q first.zarr "tokens=$IO:in.text_embed" --rows 1 --stimulus 5
  sample first.zarr one.zarr
  sample first.zarr three.zarr --draws 3
  assert_same one.zarr three.zarr --array clip_tokens
  run -65 me2-test-store same -q one.zarr three.zarr --array clip_tokens --first 1
}
@test "sample: --mean is the mean of the draws, one row for each sample, whatever the batch" {
  sample tokens.zarr draws.zarr --draws 2 --steps 5 --save-noise noise.zarr
  sample tokens.zarr mean.zarr --draws 2 --steps 5 --mean
  sample tokens.zarr same.zarr --draws 2 --steps 5 --mean --batch-size 1 --noise noise.zarr
  assert_same mean.zarr same.zarr
  run -0 me2-preprocess show mean.zarr
  refute_output --partial draw
  run -0 me2-test-store mean draws.zarr mean.zarr --array clip_tokens --of 2
}
@test "sample: --recall writes the retrieval head's images as tokens beside the drawn ones, never those asked for" {
  me2-test-store make -q both.zarr "tokens=$IO:in.text_embed" "clip=$IO:in.text_embed" --stimulus 5,3
  me2-test-store make -q memory.zarr "clip_tokens=$IO:in.text_embed" --rows 3 --stimulus 9,3,8  # the first, what is asked for, the first
  sample both.zarr plain.zarr --steps 5
  sample both.zarr out.zarr --steps 5 --recall memory.zarr --draws 2 --mean
  sample both.zarr draws.zarr --steps 5 --recall memory.zarr --draws 2
  sample both.zarr nearest.zarr --steps 5 --recall memory.zarr --recall-temperature 1e-6
  assert_same plain.zarr nearest.zarr --array clip_tokens
  # The one image that is left is recalled as it is, for each sample and draw.
  me2-test-store make -q want.zarr "recalled=$IO:in.text_embed" --rows 1
  me2-test-store mean -q out.zarr want.zarr --array recalled --of 2
  me2-test-store mean -q draws.zarr want.zarr --array recalled --of 4
  me2-test-store make -q asked.zarr "clip_tokens=$IO:in.text_embed" --stimulus 3,5
  run -65 --separate-stderr sample both.zarr none.zarr --recall asked.zarr
  assert_one_line_of_error
  [[ "$stderr" == *"no image is left"* ]]
  run -65 --separate-stderr sample tokens.zarr none.zarr --recall memory.zarr
  assert_one_line_of_error
  [[ "$stderr" == *"clip"* ]]
  run -64 --separate-stderr sample both.zarr none.zarr --recall memory.zarr --recall-temperature 0
  assert_one_line_of_error
}
@test "sample: noise of another shape is refused, naming both shapes" {
  me2-test-store make -q noise.zarr "noise=$IO:in.ddim_noise"
  run -65 --separate-stderr me2-prior sample tokens.zarr out.zarr --model "$MODEL" --steps 10 --noise noise.zarr
  assert_one_line_of_error; assert_regex "$stderr" 'shape \[19, 2'; assert_regex "$stderr" '\[9, 2'; [ ! -e out.zarr ]
}
@test "sample: steps outside the schedule, a negative number of draws and f16 on the CPU are usage errors" {
  for bad in "--steps 101" "--steps 1" "--draws 0" "--draws 65537" "--dtype f16"; do
    run -64 --separate-stderr me2-prior sample tokens.zarr out.zarr --model "$MODEL" $bad
    assert_one_line_of_error
  done
}
@test "sample: tokens that do not fit the prior name both shapes" {
  me2-test-store make -q other.zarr "tokens=$DATA/backbone_seq/io.safetensors:out.backbone"
  run -65 --separate-stderr me2-prior sample other.zarr out.zarr --model "$MODEL"
  assert_one_line_of_error; assert_regex "$stderr" 'expects \[sample, '
}
@test "sample: a store of another stage and a model without a prior are refused" {
  me2-test-store make -q latent.zarr "latent=$IO:in.text_embed"
  run -65 --separate-stderr me2-prior sample latent.zarr out.zarr --model "$MODEL"
  assert_one_line_of_error; assert_regex "$stderr" 'no array "tokens"'
  run -65 --separate-stderr me2-prior sample tokens.zarr out.zarr --model "$DATA/backbone"
  assert_one_line_of_error; assert_regex "$stderr" 'learned_query'
}
@test "sample: shards equal the whole" {
  me2-test-store make -q many.zarr "tokens=$IO:in.text_embed" --rows 400
  sample many.zarr whole.zarr --steps 3
  for part in 2/2 1/2; do sample many.zarr parts.zarr --steps 3 --shard $part; done
  assert_same whole.zarr parts.zarr
}
