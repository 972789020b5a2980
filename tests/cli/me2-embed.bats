# bats file_tags=tool:embed
# Expected numbers: golden backbone, made by the reference implementation (config.json names its versions).
setup() {
  load ../support/load; setup_case
  MODEL=$DATA/backbone
  IO=$MODEL/io.safetensors
  me2-test-store make -q latent.zarr "latent=$IO:out.latent@0" --stimulus 4,2,9,2,4
}
assert_close() { me2-test-store equal -q "$1" "$2" "$3" --tolerance 3e-5; }
assert_same() { me2-test-store same -q "$@"; }

@test "brain: one row for each trial with the reference's tokens, retrieval and low-level outputs" {
  me2-embed brain -q latent.zarr out.zarr --model "$MODEL" --average none
  assert_close out.zarr tokens "$IO:out.backbone"
  assert_close out.zarr clip "$IO:out.clip_voxels"
  assert_close out.zarr lowlevel "$IO:out.blurry"
}
@test "brain: three repeats are averaged as the reference does, through a pipe from the voxels" {
  me2-test-store make -q test.zarr "betas=$IO:in.test_voxels@flat" --stimulus 0,0,0,1,1,1
  me2-align apply -q test.zarr - --model "$MODEL" --subject subj01 | me2-embed brain -q - out.zarr --model "$MODEL"
  assert_close out.zarr tokens "$IO:out.avg_backbone"
  assert_close out.zarr clip "$IO:out.avg_clip_voxels"
  assert_close out.zarr lowlevel "$IO:out.avg_blurry"
  assert_equal "$(ls -A "$TMPDIR")" ""
}
@test "brain: a pipe equals files" {
  me2-test-store make -q test.zarr "betas=$IO:in.test_voxels@flat" --stimulus 5,1,5,1,5,1
  me2-align apply -q test.zarr - --model "$MODEL" --subject subj01 | me2-embed brain -q - piped.zarr --model "$MODEL"
  me2-align apply -q test.zarr kept.zarr --model "$MODEL" --subject subj01
  me2-embed brain -q kept.zarr files.zarr --model "$MODEL"
  assert_same piped.zarr files.zarr
}
@test "brain: batches of one and of eight give the same bytes" {
  for n in 1 8; do me2-embed brain -q latent.zarr $n.zarr --model "$MODEL" --batch-size $n; done
  assert_same 1.zarr 8.zarr
}
@test "brain: --only clip gives the same bytes and needs no low-level weights" {
  me2-embed brain -q latent.zarr all.zarr --model "$MODEL"
  me2-embed brain -q latent.zarr clip.zarr --model "$MODEL" --only clip
  assert_same clip.zarr all.zarr --array clip --array stimulus --array trials
  run -65 me2-test-store same -q clip.zarr all.zarr --array tokens
}
@test "brain: bfloat16 weights stay close" {
  me2-embed brain -q latent.zarr out.zarr --model "$MODEL" --average none --dtype bf16
  run -0 me2-test-store equal -q out.zarr tokens "$IO:out.backbone" --tolerance 3e-2
  run -65 me2-test-store equal -q out.zarr tokens "$IO:out.backbone" --tolerance 1e-6
}
@test "brain: a store of another stage is refused" {
  me2-test-store make -q tokens.zarr "tokens=$IO:out.backbone"
  run -65 --separate-stderr me2-embed brain tokens.zarr out.zarr --model "$MODEL"
  assert_one_line_of_error; assert_regex "$stderr" 'no array "latent"'
}
@test "brain: a latent width that does not fit the checkpoint names both" {
  me2-test-store make -q wide.zarr "latent=$IO:in.test_voxels@0"
  run -65 --separate-stderr me2-embed brain wide.zarr out.zarr --model "$MODEL"
  assert_one_line_of_error; assert_regex "$stderr" 'rows of \[37\]'; assert_regex "$stderr" 'expects \[64\]'; [ ! -e out.zarr ]
}
@test "brain: a model without a backbone names the tensor that is missing" {
  run -65 --separate-stderr me2-embed brain latent.zarr out.zarr --model "$DATA/prior_sample"
  assert_one_line_of_error; assert_regex "$stderr" 'mixer_blocks1.0.0.weight'
}
