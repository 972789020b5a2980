# The demo by Make at the smallest sizes that run: models trained for a few steps, two subjects with a handful of trials. In the current folder.
small_sizes=(TINY_SCENES=80 TINY_ENCODER_STEPS=2 TINY_SCORER_STEPS=2 TINY_VAE_STEPS=2 TINY_VAE_WHOLE_STEPS=2 TINY_VAE_FEATURES_STEPS=2 TINY_UNET_STEPS=2 TINY_UNET_SECOND_STEPS=2
  TINY_UNET_THIRD_STEPS=2 TINY_SUBJECT_IMAGES=20 TINY_SUBJECT_TRIALS=12 TINY_SUBJECT_EPOCHS=1
  TINY_REFINER_STEPS=2 TINY_REFINER_SECOND_STEPS=2 TINY_REFINER_THIRD_STEPS=2 TINY_GIT_EPOCHS=1 TINY_CONVERTER_EPOCHS=1 TINY_CAPTIONER_EPOCHS=1
  DEMO_SUBJECTS=2 DEMO_SESSIONS=1 DEMO_TRIALS=96 DEMO_TEST=10 DEMO_HIDDEN=32 DEMO_PRETRAIN_EPOCHS=1 DEMO_FINETUNE_EPOCHS=1)
# Its pretraining has two threads that spin: where the processors have other work (other tests), each waits long for the other.
export OMP_THREAD_LIMIT=1
small_make() { make -C "$ROOT" -f Makefile.pipeline "$@" -o build BUILD="$BUILD" TINY="$PWD/tiny" TINY_OUT="$PWD/tiny" DEMO="$PWD/demo" "${small_sizes[@]}" 2>&1; }
small_demo() { small_make demo; }

# What the stages made, by content: stores by their decoded arrays, models by their bytes.
demo_digests() {
  local s m
  for s in targets latent tokens prior recon caption refined; do echo "$s $(me2-preprocess show "$1/$s.zarr" --digest | grep '^ *sha256')"; done
  for m in pretrained finetuned; do echo "$m $(sha256sum < "$1/$m/model.safetensors")"; done
}
