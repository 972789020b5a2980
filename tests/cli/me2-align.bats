# bats file_tags=tool:align
# Expected numbers: golden backbone, made by the reference implementation (config.json names its versions).
setup() {
  load ../support/load; setup_case
  MODEL=$DATA/backbone
  me2-test-store make -q one.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,3 --split 0,1,-1 --repeat 1,1,2
}
assert_same() { me2-test-store same -q "$@"; }
assert_close() { me2-test-store equal -q "$@" --tolerance 3e-5; }

@test "apply: the first subject's latents are the reference's" {
  me2-test-store make -q all.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,3
  me2-align apply -q all.zarr out.zarr --model "$MODEL" --subject subj01
  assert_close out.zarr latent "$MODEL/io.safetensors:out.latent@0"
}
@test "apply: the second subject goes through the second ridge" {
  me2-test-store make -q two.zarr "betas=$MODEL/io.safetensors:in.voxels_subj1@0" --stimulus 0,1
  me2-align apply -q two.zarr out.zarr --model "$MODEL" --subject subj02
  assert_close out.zarr latent "$MODEL/io.safetensors:out.latent@0" --first 3
}
@test "apply: --split keeps those trials and all leaves unused ones out" {
  for split in train test all; do me2-align apply -q one.zarr $split.zarr --model "$MODEL" --subject subj01 --split $split; done
  assert_close train.zarr latent "$MODEL/io.safetensors:out.latent@0"
  assert_close test.zarr latent "$MODEL/io.safetensors:out.latent@0" --first 1
  me2-test-store make -q want.zarr "latent=$MODEL/io.safetensors:out.latent@0" --rows 2 --stimulus 7,3 --split 0,1 --repeat 1,1
  assert_same want.zarr all.zarr --array stimulus --array split --array repeat
}
@test "apply: --brain mean puts the training trials' mean, and shuffled another image's trials, in the place of a trial's own" {
  me2-align apply -q one.zarr train.zarr --model "$MODEL" --subject subj01 --split train  # one trial: the mean of the training trials
  me2-align apply -q one.zarr own.zarr --model "$MODEL" --subject subj01 --split test
  me2-align apply -q one.zarr mean.zarr --model "$MODEL" --subject subj01 --split test --brain mean
  assert_same mean.zarr train.zarr --array latent
  run ! assert_same mean.zarr own.zarr --array latent
  # Of images 1, 2, 3 each gets the next one's.
  me2-test-store make -q three.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --rows 3 --stimulus 1,2,3
  me2-test-store make -q four.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --rows 4 --stimulus 1,2,3,4  # the first again
  me2-align apply -q three.zarr shuffled.zarr --model "$MODEL" --subject subj01 --brain shuffled
  me2-align apply -q four.zarr in_order.zarr --model "$MODEL" --subject subj01
  assert_same shuffled.zarr in_order.zarr --array latent --first 1
  me2-test-store make -q single.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --rows 2 --stimulus 1,1
  run -65 --separate-stderr me2-align apply single.zarr none.zarr --model "$MODEL" --subject subj01 --brain shuffled
  assert_one_line_of_error
}
@test "apply: batches of one and of eight give the same bytes" {
  me2-align apply -q one.zarr a.zarr --model "$MODEL" --subject subj01 --batch-size 1
  me2-align apply -q one.zarr b.zarr --model "$MODEL" --subject subj01 --batch-size 8
  assert_same a.zarr b.zarr
}
@test "apply: a store without stimulus is numbered, with a note" {
  me2-test-store make -q bare.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0"
  run -0 --separate-stderr me2-align apply bare.zarr out.zarr --model "$MODEL" --subject subj01
  assert_regex "$stderr" 'no array "stimulus"'
}
@test "apply: a wrong voxel count names both numbers" {
  run -65 --separate-stderr me2-align apply one.zarr out.zarr --model "$MODEL" --subject subj02
  assert_one_line_of_error; assert_regex "$stderr" '37 voxels'; assert_regex "$stderr" 'expects 29'; [ ! -e out.zarr ]
}
@test "apply: an unknown subject is told which there are" {
  run -64 --separate-stderr me2-align apply one.zarr out.zarr --model "$MODEL" --subject subj09
  assert_one_line_of_error; assert_regex "$stderr" 'subj01 to subj02'
}
@test "apply: without --subject the store must say whose betas it holds" {
  run -64 --separate-stderr me2-align apply one.zarr out.zarr --model "$MODEL"
  assert_one_line_of_error; assert_regex "$stderr" '--subject'
}
@test "apply: a store of another stage and a model without ridges are refused" {
  me2-align apply -q one.zarr latent.zarr --model "$MODEL" --subject subj01
  run -65 --separate-stderr me2-align apply latent.zarr out.zarr --model "$MODEL" --subject subj01
  assert_one_line_of_error; assert_regex "$stderr" 'betas'
  run -65 --separate-stderr me2-align apply one.zarr out.zarr --model "$DATA/prior_sample" --subject subj01
  assert_one_line_of_error; assert_regex "$stderr" 'no ridge'
}
@test "apply: no trial left is an error" {
  me2-test-store make -q none.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --split 0,0,0
  run -65 --separate-stderr me2-align apply none.zarr out.zarr --model "$MODEL" --subject subj01 --split test
  assert_one_line_of_error; assert_regex "$stderr" 'no trial is left'
}
@test "apply: --dry-run plans and writes nothing" {
  run -0 me2-align apply one.zarr out.zarr --model "$MODEL" --subject subj01 --dry-run
  assert_output --partial latent; [ ! -e out.zarr ]
}
@test "apply: three shards equal the whole, and nothing is there before the last" {
  me2-test-store make -q many.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --rows 700
  me2-align apply -q many.zarr whole.zarr --model "$MODEL" --subject subj01
  for part in 2/3 1/3; do me2-align apply -q many.zarr parts.zarr --model "$MODEL" --subject subj01 --shard $part; done
  [ ! -e parts.zarr ];
  me2-align apply -q many.zarr parts.zarr --model "$MODEL" --subject subj01 --shard 3/3
  assert_same whole.zarr parts.zarr
}
@test "apply: a run that stopped is resumed to the same bytes" {
  me2-test-store make -q many.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --rows 700
  me2-align apply -q many.zarr whole.zarr --model "$MODEL" --subject subj01
  me2-align apply -q many.zarr rest.zarr --model "$MODEL" --subject subj01 --shard 1/3
  me2-align apply -q many.zarr rest.zarr --model "$MODEL" --subject subj01 --resume
  assert_same whole.zarr rest.zarr
}
