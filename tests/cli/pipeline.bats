# bats file_tags=tool:all
# The whole chain through all seven tools by the front door's own rules, at the smallest sizes that run: models trained for a few
# steps, two subjects with a handful of trials. What is tested is the plumbing, not the quality.
setup() { load ../support/load; setup_case; }

demo() {
  make -C "$ROOT" -f Makefile.pipeline demo -o build BUILD="$BUILD" TINY="$PWD/tiny" TINY_OUT="$PWD/tiny" DEMO="$PWD/demo" TINY_SCENES=80 TINY_ENCODER_STEPS=2 \
    TINY_VAE_STEPS=2 TINY_VAE_WHOLE_STEPS=2 TINY_VAE_FEATURES_STEPS=2 TINY_CONVERTER_EPOCHS=1 TINY_CAPTIONER_EPOCHS=1 TINY_SCORER_STEPS=2 TINY_REFINER_STEPS=2 TINY_UNET_STEPS=2 TINY_GIT_EPOCHS=1 DEMO_SUBJECTS=2 DEMO_SESSIONS=1 DEMO_TRIALS=96 DEMO_TEST=10 DEMO_HIDDEN=32 DEMO_PRETRAIN_EPOCHS=1 \
    DEMO_FINETUNE_EPOCHS=1 2>&1
}

digests() { for s in latent tokens prior recon caption; do me2-preprocess show demo/$s.zarr --digest | grep '^sha256'; done; sha256sum demo/finetuned/model.safetensors; }

@test "demo: betas to report through all seven tools, and a second call does nothing" {
  run -0 demo
  assert_output --partial "demo 9/9"
  assert_line --regexp '^score +one_session +refined +scratch +sessions +ridge +true'
  assert_line --regexp '^image_retrieval +[01]\.[0-9]{3} \(.*\) +- +[01]\.[0-9]{3} '  # none for refined pictures, one for scratch
  assert_line --regexp '^pixcorr( +-?[01]\.[0-9]{3} \([^)]*\)){6}'
  assert [ -s demo/report.html ]
  for store in latent tokens prior recon caption; do run -0 me2-preprocess show demo/$store.zarr; done
  run -0 demo
  refute_output --partial "demo 1/9"
  refute_output --partial "demo 9/9"

  # What is lost is made again, with what hangs on it and nothing else, to the same content.
  first=$(digests)
  rm -rf demo/finetuned demo/prior.zarr
  run -0 demo
  refute_output --partial "demo 3/9"
  assert_output --partial "demo 4/9"
  assert_output --partial "demo 9/9"
  assert_equal "$(digests)" "$first"
}

@test "demo: weights that are missing are named, all of them, before any work" {
  mkdir -p few/encoder few/git; touch few/encoder/model.safetensors few/git/model.safetensors
  run -2 make -C "$ROOT" -f Makefile.pipeline demo BUILD="$BUILD" TINY="$PWD/few" DEMO="$PWD/demo"
  for part in unet vae scorer refiner; do assert_output --partial "$PWD/few/$part/model.safetensors"; done
  refute_output --partial "few/encoder"
  assert [ ! -e demo ]
}
