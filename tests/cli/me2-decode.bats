# bats file_tags=tool:decode
# Expected pictures: tests/golden/unclip_end2end (utils.unclip_recon of the reference), sd_vae (diffusers 0.23); elsewhere identities.
setup() { load ../support/load; setup_case; }

decode() { me2-decode "$@" --threads 1; }                  # several cases run at once
stage() { me2-test-golden make "$@"; }                       # IO OUT --arrays ARRAY=TENSOR
assert_same() { me2-test-golden close "$1" "$2" --array "${3:-image}" --tolerance "${4:-0}"; }
unclip_case() {  # tokens.zarr, noise.zarr and $M of the end-to-end golden
  M=$(golden unclip_end2end)
  stage "$M/io.safetensors" tokens.zarr --arrays clip_tokens=in.tokens
  stage "$M/io.safetensors" noise.zarr --plain --arrays z=in.z,noise=in.noise,offset=in.offset,uc_crossattn=in.uc_crossattn
}

@test "unclip: tokens and stored draws give the reference's pictures" {
  unclip_case
  decode unclip tokens.zarr out.zarr --model "$M" --noise noise.zarr --draws 2 --float
  assert_golden out.zarr "$M/io.safetensors" --array image --tensor out.image_u8 --last-channel --tolerance 1
  assert_golden out.zarr "$M/io.safetensors" --array image_f4 --tensor out.samples --tolerance 0.002
}

@test "unclip: the number of draws follows from the noise store, and two token rows serve as well as one" {
  unclip_case
  decode unclip tokens.zarr one.zarr --model "$M" --noise noise.zarr --steps 3
  stage "$M/io.safetensors" twice.zarr --times 2 --arrays clip_tokens=in.tokens
  decode unclip twice.zarr two.zarr --model "$M" --noise noise.zarr --steps 3
  assert_same one.zarr two.zarr
}

@test "unclip: --resize is bilinear without antialias, as torchvision 0.16" {
  unclip_case
  decode unclip tokens.zarr out.zarr --model "$M" --noise noise.zarr --resize 32 --float
  assert_golden out.zarr "$M/io.safetensors" --array image_f4 --tensor out.resized_torchvision016 --tolerance 0.002
}

@test "unclip: saved draws give the same bytes again" {
  unclip_case
  decode unclip tokens.zarr a.zarr --model "$M" --size 64 --steps 3 --draws 2 --save-noise n.zarr
  decode unclip tokens.zarr b.zarr --model "$M" --steps 3 --draws 2 --noise n.zarr
  assert_same a.zarr b.zarr
}

@test "unclip: two shards equal the whole, bit for bit" {
  unclip_case
  stage "$M/io.safetensors" many.zarr --times 10 --arrays clip_tokens=in.tokens
  decode unclip many.zarr whole.zarr --model "$M" --size 32 --steps 2
  for shard in 1/2 2/2; do decode unclip many.zarr parts.zarr --model "$M" --size 32 --steps 2 --shard $shard; done
  assert_same whole.zarr parts.zarr
}

@test "unclip: a picture does not depend on the batch it is made in, nor on its row" {
  unclip_case
  stage "$M/io.safetensors" many.zarr --times 5 --arrays clip_tokens=in.tokens --stimulus 7,8,9,10,11
  stage "$M/io.safetensors" last.zarr --arrays clip_tokens=in.tokens --stimulus 11
  decode unclip many.zarr one.zarr --model "$M" --size 32 --steps 2 --batch-size 1
  decode unclip many.zarr all.zarr --model "$M" --size 32 --steps 2 --batch-size 5
  assert_same one.zarr all.zarr image 1
  decode unclip last.zarr alone.zarr --model "$M" --size 32 --steps 2 --batch-size 1
  assert_golden one.zarr alone.zarr --array image --row 4
}

@test "unclip: the other samplers run, and differ from Euler" {
  unclip_case
  decode unclip tokens.zarr euler.zarr --model "$M" --size 32 --steps 4
  for sampler in euler_ancestral dpmpp_2m heun; do
    decode unclip tokens.zarr $sampler.zarr --model "$M" --size 32 --steps 4 --sampler $sampler
    run ! assert_same euler.zarr $sampler.zarr
  done
}

@test "unclip: strips of the autoencoder change memory, not pictures" {
  unclip_case
  decode unclip tokens.zarr a.zarr --model "$M" --size 64 --steps 2
  decode unclip tokens.zarr b.zarr --model "$M" --size 64 --steps 2 --vae-rows 10
  assert_same a.zarr b.zarr image 1
}

@test "unclip: bfloat16 stays near float32" {
  unclip_case
  decode unclip tokens.zarr a.zarr --model "$M" --noise noise.zarr --steps 4 --float
  decode unclip tokens.zarr b.zarr --model "$M" --noise noise.zarr --steps 4 --float --dtype bf16
  assert_same a.zarr b.zarr image_f4 0.25
}

@test "unclip: a checkpoint of another model is named for what it looks like" {
  unclip_case
  run -65 --separate-stderr decode unclip tokens.zarr out.zarr --model "$(golden sd_vae)"
  assert_one_line_of_error
  [[ "$stderr" == *"looks like"*VAE* ]]
  [ ! -e out.zarr ]
}

@test "unclip: tokens of another width are refused with both widths" {
  unclip_case
  stage "$M/io.safetensors" narrow.zarr --arrays clip_tokens=in.vector_suffix
  run -65 --separate-stderr decode unclip narrow.zarr out.zarr --model "$M"
  assert_one_line_of_error
  [[ "$stderr" == *1024*48* ]]
}

@test "unclip: NaN in the tokens names the sample" {
  unclip_case
  stage "$M/io.safetensors" bad.zarr --times 3 --nan --stimulus 5,6,7 --arrays clip_tokens=in.tokens
  run -65 --separate-stderr decode unclip bad.zarr out.zarr --model "$M" --size 32 --steps 2
  assert_one_line_of_error
  [[ "$stderr" == *"sample 2 (stimulus 7)"* ]]
  [ ! -e out.zarr ]
}

@test "unclip: impossible numbers are usage errors and write nothing" {
  unclip_case
  for bad in "--steps 0" "--steps 2000" "--size 33" "--size 0" "--draws 0" "--select"; do
    run -64 --separate-stderr decode unclip tokens.zarr out.zarr --model "$M" $bad
    assert_one_line_of_error
    [ ! -e out.zarr ]
  done
}

@test "unclip: a noise store of the wrong shape is refused" {
  unclip_case
  stage "$M/io.safetensors" three.zarr --times 3 --arrays clip_tokens=in.tokens
  run -65 --separate-stderr decode unclip three.zarr out.zarr --model "$M" --noise noise.zarr
  assert_one_line_of_error
  [[ "$stderr" == *"3 samples"* ]]
}

@test "unclip: --select keeps, of every sample's draws, the one whose own tokens come closest to the sample's" {
  M=$(golden unclip_end2end)
  echo '{"clip_squeeze": false, "open_clip": {"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 48, "layers": 1, "head_width": 16, "mlp_ratio": 2}, "text_cfg": {"context_length": 24, "width": 16, "heads": 2, "layers": 1}}}' > tower.json
  me2-preprocess simulate scenes --scenes-only 8 --side 32 -q
  me2-embed encoder scenes/stimuli.zarr tower --config tower.json --steps 2 --batch-size 4 --threads 1 -q
  me2-embed images scenes/stimuli.zarr tokens.zarr --model tower -q
  options=(--model "$M" --size 32 --steps 2 --draws 4 --float)
  decode unclip tokens.zarr all.zarr "${options[@]}"
  decode unclip tokens.zarr kept.zarr "${options[@]}" --select --encoder tower
  # The second way: every picture through me2-embed images, and the cosines written out here.
  me2-embed images all.zarr seen.zarr --model tower -q
  run -0 me2-test-golden draws seen.zarr tokens.zarr kept.zarr all.zarr
  assert_equal "${#lines[@]}" 8
}

@test "unclip: draws that are not finite name the sample" {
  unclip_case
  stage "$M/io.safetensors" bad.zarr --plain --nan --arrays z=in.z,noise=in.noise,offset=in.offset,uc_crossattn=in.uc_crossattn
  run -65 --separate-stderr decode unclip tokens.zarr out.zarr --model "$M" --noise bad.zarr --steps 2
  assert_one_line_of_error
  [[ "$stderr" == *"sample 0 (stimulus 0)"* ]]
  [ ! -e out.zarr ]
}

@test "lowlevel: latents give the reference's blurry pictures" {
  M=$(golden sd_vae)
  stage "$M/io.safetensors" low.zarr --arrays lowlevel=in.z_scaled
  decode lowlevel low.zarr out.zarr --model "$M" --float
  assert_golden out.zarr "$M/io.safetensors" --array image_f4 --tensor out.blurry_image --tolerance 2e-5
}

@test "lowlevel: NaN in a latent names the sample, and latents of another width both widths" {
  M=$(golden sd_vae)
  stage "$M/io.safetensors" bad.zarr --times 2 --nan --stimulus 8,9,10,11 --arrays lowlevel=in.z_scaled
  run -65 --separate-stderr decode lowlevel bad.zarr out.zarr --model "$M"
  assert_one_line_of_error
  [[ "$stderr" == *"(stimulus "*"not finite"* ]]
  stage "$M/io.safetensors" wide.zarr --arrays lowlevel=in.image
  run -65 --separate-stderr decode lowlevel wide.zarr out.zarr --model "$M"
  assert_one_line_of_error
  [[ "$stderr" == *"4, height, width"* ]]
  [ ! -e out.zarr ]
}

@test "blend: three quarters and one quarter, joined by stimulus" {
  M=$(golden unclip_end2end)
  stage "$M/io.safetensors" recon.zarr --arrays image_f4=out.samples,image=out.samples --stimulus 4,9
  stage "$M/io.safetensors" low.zarr --arrays image_f4=out.samples,image=out.samples --stimulus 9,4
  decode blend recon.zarr low.zarr out.zarr --float
  decode blend recon.zarr recon.zarr self.zarr --float
  assert_same self.zarr recon.zarr image_f4 1e-6          # a picture blended with itself
  run ! assert_same out.zarr self.zarr image_f4 1e-6      # rows of `low` are the other way round
  decode blend recon.zarr low.zarr all.zarr --float --weight 1
  assert_same all.zarr recon.zarr image_f4 1e-6
}

@test "blend: a stimulus without its low-level picture is named" {
  M=$(golden unclip_end2end)
  stage "$M/io.safetensors" recon.zarr --arrays image=out.samples --bytes --stimulus 4,9
  stage "$M/io.safetensors" low.zarr --arrays image=out.samples --bytes --stimulus 4,5
  run -65 --separate-stderr decode blend recon.zarr low.zarr out.zarr
  assert_one_line_of_error
  [[ "$stderr" == *"stimulus 9"* ]]
}

refine_case() {  # tests/golden/sdxl_img2img, with a vocabulary of our own: the reference's is not ours to keep
  M=$(golden sdxl_img2img)
  V=$ROOT/pipelines/tiny/models/encoder/bpe_simple_vocab.txt
  PROMPT=$(sed -n 's/^ *"prompt": "\(.*\)",$/\1/p' "$M/config.json")
  stage "$M/io.safetensors" recon.zarr --arrays image=in.image
  stage "$M/io.safetensors" noise.zarr --plain --arrays posterior_noise=in.posterior_noise,noise=in.noise
}

@test "refine: a picture and a caption give the reference's refinement" {
  refine_case
  V=$(golden clip_tokenizer)/bpe_simple_vocab_16e6.txt.gz
  [ -e "$V" ] || skip "golden case clip_tokenizer is not on this machine"
  stage "$M/io.safetensors" captions.zarr --arrays z=in.noise --caption "$PROMPT"
  decode refine recon.zarr captions.zarr out.zarr --model "$M" --vocabulary "$V" --noise noise.zarr --float
  assert_golden out.zarr "$M/io.safetensors" --array image_f4 --tensor out.samples --tolerance 0.002
}

@test "refine: the other samplers run, and differ from Euler; strips of the autoencoder change memory, not pictures" {
  refine_case
  stage "$M/io.safetensors" captions.zarr --arrays z=in.noise --caption "$PROMPT"
  refined() { decode refine recon.zarr captions.zarr "$1" --model "$M" --vocabulary "$V" --size 32 --steps 6 --timepoint 4 "${@:2}"; }
  refined euler.zarr
  refined strips.zarr --vae-rows 5
  assert_same euler.zarr strips.zarr image 1
  for sampler in euler_ancestral dpmpp_2m heun; do
    refined $sampler.zarr --sampler $sampler
    run ! assert_same euler.zarr $sampler.zarr
  done
}

@test "refine: a caption longer than 77 tokens is cut, and that is said once" {
  refine_case
  stage "$M/io.safetensors" two.zarr --times 2 --arrays image=in.image
  stage "$M/io.safetensors" captions.zarr --times 2 --arrays z=in.noise --caption "$(printf 'word %.0s' {1..100})"
  run --separate-stderr decode refine two.zarr captions.zarr out.zarr --model "$M" --vocabulary "$V" --size 32 --timepoint 3
  assert_equal "$status" 0
  assert_equal "$(grep -c 'longer than 77' <<< "$stderr")" 1
}

@test "refine: a checkpoint without text encoders is named for what it looks like" {
  refine_case
  stage "$M/io.safetensors" captions.zarr --arrays z=in.noise --caption x
  run -65 --separate-stderr decode refine recon.zarr captions.zarr out.zarr --model "$(golden unclip_end2end)" --vocabulary "$V"
  assert_one_line_of_error
  [[ "$stderr" == *"looks like"* ]]
}

train_case() {
  M=$(golden unclip_end2end)
  stage "$M/io.safetensors" stimuli.zarr --arrays image=out.samples --bytes
  stage "$M/io.safetensors" tokens.zarr --times 2 --arrays clip_tokens=in.tokens
}

@test "train: a fine-tuned U-Net is a model that decodes, and its training gives the same weights again" {
  train_case
  decode train stimuli.zarr whole --model "$M" --tokens tokens.zarr --size 32 --steps 6 --batch-size 2 --save-every 3 --normalise-tokens coded
  decode unclip tokens.zarr out.zarr --model whole --steps 2
  decode train stimuli.zarr again --model "$M" --tokens tokens.zarr --size 32 --steps 6 --batch-size 2 --save-every 3 --normalise-tokens coded
  cmp whole/model.safetensors again/model.safetensors
  [ ! -e whole.partial ]
}

@test "train: several stores of tokens are trained on as one" {
  train_case
  stage "$M/io.safetensors" first.zarr --arrays clip_tokens=in.tokens
  stage "$M/io.safetensors" second.zarr --arrays clip_tokens=in.tokens --stimulus 1
  stage "$M/io.safetensors" predicted.zarr --arrays clip_tokens=in.uc_crossattn --stimulus 1
  fit() { decode train stimuli.zarr "$@" --model "$M" --size 32 --steps 4 --batch-size 2; }
  fit whole --tokens tokens.zarr
  fit joined --tokens first.zarr --tokens second.zarr
  cmp whole/model.safetensors joined/model.safetensors
  fit other --tokens first.zarr --tokens predicted.zarr
  run ! cmp -s whole/model.safetensors other/model.safetensors
  stage "$M/io.safetensors" flat.zarr --arrays clip_tokens=in.vector_suffix
  run -65 --separate-stderr fit none --tokens first.zarr --tokens flat.zarr
  assert_one_line_of_error
  [[ "$stderr" == *"flat.zarr"* ]]
}

@test "train: a U-Net and an autoencoder from scratch, with velocity scaling" {
  train_case
  echo '{"ddconfig": {"ch": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "norm_groups": 8}, "embed_dim": 4}' > vae.json
  decode train stimuli.zarr vae --part vae --config vae.json --steps 4 --batch-size 2 --crop 16 --lr 1e-3
  cat > unet.json <<'J'
{"unet": {"model_channels": 16, "num_res_blocks": 1, "channel_mult": [1, 2], "transformer_depth": [1, 1], "attention_resolutions": [1, 2],
 "num_head_channels": 8, "adm_in_channels": 16, "norm_groups": 8}, "denoiser": {"scaling_config": {"target": "VScaling"}},
 "image_scale": 0.5, "image_shift": 0.5, "zero_condition": true}
J
  decode train stimuli.zarr unet --config unet.json --vae vae --tokens tokens.zarr --steps 4 --batch-size 2 --noise-levels lognormal --offset-noise 0 --lr 1e-3 --cosine
  decode unclip tokens.zarr out.zarr --model unet --vae vae --steps 3 --guidance 2
  run -0 me2-preprocess show out.zarr
  assert_line --regexp 'image.*u1'
  # --freeze-encoder: other decoder, same latents.
  decode train stimuli.zarr later --part vae --model vae --freeze-encoder --steps 3 --batch-size 2 --crop 16 --lr 1e-2
  for m in vae later; do me2-embed images stimuli.zarr $m.targets --vae $m --lowlevel-size 32 -q; decode lowlevel $m.targets $m.zarr --model $m --array vae_latent; done
  assert_same vae.targets later.targets vae_latent
  run ! assert_same vae.zarr later.zarr
}

@test "train: a refiner on captions, with the text tower of a small CLIP, refines pictures; in 16 bits it takes half the space" {
  me2-preprocess simulate scenes --scenes-only 12 -q
  echo '{"clip_squeeze": false, "open_clip": {"embed_dim": 16, "vision_cfg": {"image_size": 64, "patch_size": 32, "width": 16, "layers": 1, "head_width": 8},
   "text_cfg": {"context_length": 16, "width": 16, "heads": 2, "layers": 2}}}' > clip.json
  me2-embed encoder scenes/stimuli.zarr clip --config clip.json --steps 1 --batch-size 4 --stored f2 -q
  echo '{"ddconfig": {"ch": 16, "ch_mult": [1, 2], "num_res_blocks": 1, "norm_groups": 8}, "embed_dim": 4}' > vae.json
  decode train scenes/stimuli.zarr vae --part vae --config vae.json --steps 1 --batch-size 2 --crop 16
  echo '{"unet": {"model_channels": 16, "num_res_blocks": 1, "channel_mult": [1, 1], "transformer_depth": [1, 1], "attention_resolutions": [1, 2],
   "num_head_channels": 8, "adm_in_channels": 64, "norm_groups": 8}, "denoiser": {"scaling_config": {"target": "VScaling"}}, "size_condition": 64, "target_condition": 64}' > refiner.json
  refiner() { decode train scenes/stimuli.zarr "$@" --part refiner --vae vae --config refiner.json --steps 3 --batch-size 2 --lr 1e-2 --warmup 1 --noise-levels lognormal; }
  refiner whole --text clip
  refiner half --text clip --stored f2
  (($(stat -c %s half/model.safetensors) < $(stat -c %s whole/model.safetensors) * 6 / 10))
  [ -s half/bpe_simple_vocab.txt ]
  refine() { decode refine scenes/stimuli.zarr scenes/stimuli.zarr "$1.zarr" --model "$1" --vae vae --size 64 --negative "" --steps 4 --timepoint 3 --guidance 2; }
  refine whole
  refine half
  me2-preprocess show half.zarr
  # The caption is a condition: other words, another picture.
  decode refine scenes/stimuli.zarr scenes/stimuli.zarr other.zarr --model half --vae vae --size 64 --negative "red" --steps 4 --timepoint 3 --guidance 2
  [ "$(me2-preprocess show half.zarr --digest | grep image)" != "$(me2-preprocess show other.zarr --digest | grep image)" ]

  run -64 --separate-stderr refiner none
  assert_one_line_of_error
  run -65 --separate-stderr refiner none --text vae
  assert_one_line_of_error
  [[ "$stderr" == *"no text tower"* ]]
}

@test "train: without a model or sizes there is nothing to train" {
  train_case
  run -64 --separate-stderr decode train stimuli.zarr out --tokens tokens.zarr
  assert_one_line_of_error
  [ ! -e out ] && [ ! -e out.partial ]
}

@test "train: stopped by SIGTERM and resumed, the bytes of an undisturbed run" {
  train_case
  args=(--model "$M" --tokens tokens.zarr --size 32 --steps 40 --batch-size 2 --save-every 1 -q)
  decode train stimuli.zarr whole "${args[@]}"
  forget() { rm -r parts; }
  interrupted TERM '[ -e parts.partial/state.json ]' me2-decode train stimuli.zarr parts "${args[@]}" --threads 1
  assert_equal "$status" 75
  [ ! -e parts ]; [ -e parts.partial/state.json ]
  run -65 --separate-stderr decode train stimuli.zarr parts "${args[@]}" --lr 1e-3 --resume; assert_one_line_of_error
  decode train stimuli.zarr parts "${args[@]}" --resume
  cmp whole/model.safetensors parts/model.safetensors
  [ ! -e parts.partial ]
}
