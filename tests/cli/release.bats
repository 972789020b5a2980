# bats file_tags=tool:all
# The official layout: what docs/real-download.md tells a user to type, typed, on a made-up release (tests/support/me2-test-release.cpp;
# the data of tests/golden/medarc_layout). And the same chain against numbers of another implementation, tests/golden/chain.
# ME2_RELEASE=folder takes the model files from there: tests/interop/release.py writes the same ones with torch.save.
setup() { load ../support/load; load ../support/page; setup_case; release; }

release() {
  mkdir mindeyev2
  if [ -n "${ME2_RELEASE:-}" ]; then cp -r "$ME2_RELEASE"/. mindeyev2; else me2-test-release make mindeyev2; fi
  for file in "$(golden medarc_layout)"/{wds,*.hdf5,shared1000.npy}; do ln -s "$file" mindeyev2/; done
  M=mindeyev2/train_logs/final_subj01_pretrained_1sess_24bs/last.pth
}

@test "release: the commands of docs/real-download.md run from the download to the report" {
  run_page "$ROOT/docs/real-download.md"
  assert [ -s report.html ]
  for store in recon refined blurry piped; do
    run -0 me2-preprocess show $store.zarr --array image
    assert_output --partial "256"
  done
  run -0 me2-preprocess show captions.zarr --array caption
  # The pipe makes what the stores between make, and leaves nothing.
  assert_same_content piped.zarr recon.zarr
  assert_equal "$(ls -A "$TMPDIR")" ""
  run -0 me2-eval rerun latent.zarr  # from the release on, which is a folder and named by a relative path
  assert_output --partial "identical"
}

@test "release: the README's commands for the real download run as they stand" {
  ln -s mindeyev2 RELEASE_DIR
  ln -s "$M" last.pth
  ln -s mindeyev2/unclip6_epoch0_step110000.ckpt .
  mkdir NETS
  sed -n '/^## On the real download/,/^`-`/s/^    //p' "$ROOT/README.md" | sed 's/unclip - recon.zarr/& --size 64/' > readme.sh
  assert_equal "$(grep -c 'me2-' readme.sh)" 4
  run -0 bash -e -o pipefail readme.sh
  assert_line --regexp '^pixcorr +-?0\.[0-9]+'
  assert_equal "$(ls -A "$TMPDIR")" ""
}

@test "release: every stage agrees with the reference's maths on the same weights, betas and draws" {
  G=$(golden chain)
  me2-preprocess medarc mindeyev2 subj01.zarr --subject 1 --sessions 1 -q > /dev/null
  me2-align apply subj01.zarr latent.zarr --model $M --split test -q
  me2-embed brain latent.zarr tokens.zarr --model $M -q
  rows=$(me2-preprocess show tokens.zarr --array stimulus | grep -oE '\[[0-9]+\]' | head -1 | tr -d '[]')
  me2-test-release noise draws.safetensors --rows "$rows"
  me2-test-golden make draws.safetensors prior_noise.zarr --plain --arrays noise=prior
  me2-test-golden make draws.safetensors decode_noise.zarr --plain --arrays z=z,noise=noise,offset=offset,uc_crossattn=uc_crossattn
  me2-prior sample tokens.zarr prior.zarr --model $M --noise prior_noise.zarr -q
  me2-decode unclip prior.zarr recon.zarr --model mindeyev2/unclip6_epoch0_step110000.ckpt --noise decode_noise.zarr -q
  me2-decode lowlevel tokens.zarr blurry.zarr --model mindeyev2/sd_image_var_autoenc.pth --resize 64 --float -q
  # Measured: tokens 5e-7, low-level 2e-6, prior 3e-8 (values of .04 at most), low-level picture 2e-5, all bytes within 1 and 99.98 % equal.
  assert_golden tokens.zarr "$G/expected.safetensors" --array tokens --tensor tokens --tolerance 1e-5
  assert_golden tokens.zarr "$G/expected.safetensors" --array clip --tensor clip --tolerance 1e-5
  assert_golden tokens.zarr "$G/expected.safetensors" --array lowlevel --tensor lowlevel --tolerance 3e-5
  assert_golden prior.zarr "$G/expected.safetensors" --array clip_tokens --tensor clip_tokens --tolerance 1e-6
  assert_golden blurry.zarr "$G/expected.safetensors" --array image_f4 --tensor blurry --tolerance 2e-4
  assert_golden recon.zarr "$G/expected.safetensors" --array image --tensor image --tolerance 1 --share .999
}
