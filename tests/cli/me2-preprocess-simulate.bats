# bats file_tags=tool:preprocess
setup() { load ../support/load; setup_case; }

digest() { me2-preprocess show "$1" --digest | grep -oE "[0-9a-f]{64}"; }
small_simulation() { me2-preprocess simulate "$@" --subjects 2 --sessions 1 --trials-per-session 20 --test-images 4 --validation-images 2 --voxel-scale .05 --side 32 --quiet > /dev/null; }

@test "simulate: the same seed gives the same content, another seed another" {
  small_simulation a
  small_simulation b
  small_simulation c --seed 43
  for store in stimuli subj01 subj02; do
    run -0 digest a/$store.zarr; first=$output
    run -0 digest b/$store.zarr; assert_output "$first"
    run -0 digest c/$store.zarr; refute_output "$first"
  done
}

@test "simulate: scenes to train image models on are none that a subject sees" {
  small_simulation a
  me2-preprocess simulate s --scenes-only 20 --side 32 --quiet > /dev/null
  run -0 me2-preprocess show a/stimuli.zarr --array image --npy a.npy
  run -0 me2-preprocess show s/stimuli.zarr --array image --npy s.npy
  run -0 ls s; assert_output "stimuli.zarr"
  run -1 cmp <(head -c 3200 a.npy | tail -c 3072) <(head -c 3200 s.npy | tail -c 3072)
}

@test "simulate: impossible sizes are usage errors and leave nothing" {
  run -64 me2-preprocess simulate a --side 50
  assert_output --partial "--side 50: a multiple of 16"
  run -64 me2-preprocess simulate a --subjects 0
  assert [ ! -e a ]
  assert [ ! -e a.partial ]
}
