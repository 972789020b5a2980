# The tools with --device cuda against the same commands on the CPU. Called by run.sh, which finds the GPU or puts the stand-in in its place.
setup() { load ../support/load; setup_case; }

stage() { me2-test-golden make "$@"; }
# both TOOL VERB ARGUMENTS... with OUT for the output: cpu.zarr and cuda.zarr
both() {
  local device
  for device in cpu cuda; do "${@//OUT/$device.zarr}" --device $device --threads 1 --quiet; done
}
assert_near() { me2-test-golden close cuda.zarr cpu.zarr --array "$1" --tolerance "$2"; }
unclip_case() {
  M=$(golden unclip_end2end)
  stage "$M/io.safetensors" tokens.zarr --arrays clip_tokens=in.tokens --times 3
}

@test "align apply and embed brain" {
  M=$DATA/backbone
  me2-test-store make -q test.zarr "betas=$M/io.safetensors:in.test_voxels@flat" --stimulus 0,0,0,1,1,1
  both me2-align apply test.zarr OUT --model "$M" --subject subj01
  assert_near latent 1e-3
  mv cpu.zarr latent.zarr; rm -r cuda.zarr
  both me2-embed brain latent.zarr OUT --model "$M"
  for array in tokens clip lowlevel; do assert_near $array 1e-3; done
}

@test "embed images" {
  M=$(golden openclip_visual)
  stage "$M/io.safetensors" images.zarr --arrays image=in.image_b_u8
  both me2-embed images images.zarr OUT --model "$M"
  assert_near clip_tokens 1e-3
  assert_near clip_pooled 1e-3
}

@test "prior sample: the draws are the CPU's, so the tokens are" {
  M=$DATA/prior_sample
  me2-test-store make -q tokens.zarr "tokens=$M/io.safetensors:in.text_embed" --stimulus 5,3
  both me2-prior sample tokens.zarr OUT --model "$M" --steps 20 --guidance 3
  assert_near clip_tokens 5e-3
  me2-prior sample tokens.zarr half.zarr --model "$M" --steps 20 --device cuda --dtype f16 --quiet
}

@test "decode unclip: the draws are the CPU's, so the pictures are" {
  unclip_case
  for sampler in euler euler_ancestral; do
    rm -rf cpu.zarr cuda.zarr
    both me2-decode unclip tokens.zarr OUT --model "$M" --size 64 --steps 5 --batch-size 2 --float --sampler $sampler --save-noise $sampler.OUT
    assert_near image_f4 5e-3
    for array in z noise offset uc_crossattn; do me2-test-golden close $sampler.cuda.zarr $sampler.cpu.zarr --array $array; done
  done
}

@test "decode unclip: the step is recorded, and in half types pictures stay near" {
  unclip_case
  me2-decode unclip tokens.zarr cpu.zarr --model "$M" --size 64 --steps 5 --float --quiet
  for dtype in bf16 f16; do
    rm -rf cuda.zarr
    run -0 --separate-stderr me2-decode unclip tokens.zarr cuda.zarr --model "$M" --size 64 --steps 5 --float --device cuda --dtype $dtype --vae-dtype bf16 --verbose
    [[ "$stderr" == *"is recorded and replayed"* || "$stderr" == *"no libme2_cuda.so"* ]]
    me2-test-golden close cuda.zarr cpu.zarr --array image_f4 --tolerance 0.1 --share 0.95
  done
}

@test "decode unclip: strips of the autoencoder change memory, not pictures" {
  unclip_case
  me2-decode unclip tokens.zarr cpu.zarr --model "$M" --size 64 --steps 2 --device cuda --quiet
  me2-decode unclip tokens.zarr cuda.zarr --model "$M" --size 64 --steps 2 --device cuda --vae-rows 10 --quiet
  assert_near image 1
}

@test "decode lowlevel" {
  M=$(golden sd_vae)
  stage "$M/io.safetensors" low.zarr --arrays lowlevel=in.z_scaled
  both me2-decode lowlevel low.zarr OUT --model "$M" --float
  assert_near image_f4 2e-3
}

@test "decode refine" {
  M=$(golden sdxl_img2img)
  V=$ROOT/pipelines/tiny/models/encoder/bpe_simple_vocab.txt
  stage "$M/io.safetensors" recon.zarr --arrays image=in.image
  stage "$M/io.safetensors" captions.zarr --arrays z=in.noise --caption "a red bus"
  both me2-decode refine recon.zarr captions.zarr OUT --model "$M" --vocabulary "$V" --float
  assert_near image_f4 5e-3
}

@test "caption generate: the same words" {
  M=$(golden git_caption)
  me2-test-captions tokens tokens.zarr "$M/io.safetensors:in.image_features"
  both me2-caption generate tokens.zarr OUT --model "$M"
  run -0 me2-test-captions read cuda.zarr
  words=$output
  run -0 me2-test-captions read cpu.zarr
  assert_equal "$words" "$output"
}
