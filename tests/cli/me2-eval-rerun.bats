# bats file_tags=tool:eval
setup() { load ../support/load; setup_case; MODEL=$DATA/backbone; }

npy() {  # FILE N H W SEED: u1 images of reproducible noise
  local header="{'descr': '|u1', 'fortran_order': False, 'shape': ($2, 3, $3, $4), }" size=$(($2 * 3 * $3 * $4))
  { printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header"
    head -c $size /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "$5")" -iv 00000000000000000000000000000000; } > "$1"
}
chain() {  # subject store -> latents -> brain embeddings -> retrieval scores
  me2-test-store make -q one.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,5 --split 0,1,1 --repeat 1,1,1
  me2-align apply -q one.zarr latent.zarr --model "$MODEL" --subject subj01
  me2-embed brain -q latent.zarr tokens.zarr --model "$MODEL"
  me2-eval retrieval -q tokens.zarr --truth tokens.zarr --truth-array tokens --brain-array tokens --out s.json > /dev/null
}

@test "rerun: a chain of three tools is reproduced to the bit" {
  chain
  run -0 --separate-stderr me2-eval rerun s.json
  assert_regex "$output" 'latent.zarr/latent +identical'
  assert_regex "$output" 'tokens.zarr/tokens +identical'
  assert_regex "$output" 's.json: image_retrieval +identical'
  refute_output --partial different
  assert_equal "$(ls -A "$TMPDIR")" ""
}

@test "rerun: a model that came with a release is read where it lies" {
  me2-preprocess simulate scenes --scenes-only 4 --side 64 --quiet > /dev/null
  me2-embed images -q scenes/stimuli.zarr tokens.zarr --model "$ROOT/pipelines/tiny/models/encoder"
  run -0 --separate-stderr me2-eval rerun tokens.zarr
  assert_regex "$output" 'as they lie, .*: .*/pipelines/tiny/models/encoder'
  assert_regex "$output" 'stimuli.zarr/image/c/0/0/0/0 +identical'
  assert_regex "$output" 'tokens.zarr/clip_tokens +identical'
  refute_output --partial "me2-embed encoder"
}

@test "rerun: a store is replayed from its own record, also after it was moved" {
  chain; mv latent.zarr elsewhere.zarr
  run -0 --separate-stderr me2-eval rerun elsewhere.zarr --json
  assert_output --partial '"reproduced": true'
  assert_output --partial '"what": "elsewhere.zarr/latent"'
}

@test "rerun: an array that was changed is named with the place" {
  chain
  me2-test-store make -q other.zarr "latent=$MODEL/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,5
  cp latent.zarr/zarr.json other.zarr/zarr.json; rm -r latent.zarr; mv other.zarr latent.zarr
  run -65 --separate-stderr me2-eval rerun s.json
  assert_regex "$output" 'latent.zarr/latent +different: f4'
  assert_regex "$stderr" 'differ from what they were'
}

@test "rerun: scores are within tolerance or different" {
  npy a.npy 3 32 32 1; npy b.npy 3 32 32 2
  me2-eval score a.npy --truth b.npy --metrics pixcorr,ssim --out s.json --per-image t.csv > /dev/null
  sed -i '/"ssim": {/,/}/s/"value": \(.*\),/"value": 0.5,/' s.json
  run -65 --separate-stderr me2-eval rerun s.json
  assert_regex "$output" 's.json: pixcorr +identical'
  assert_regex "$output" 's.json: ssim +different: first at /value'
  assert_regex "$output" 't.csv +identical'
  run -0 --separate-stderr me2-eval rerun s.json --tolerance 1
  assert_regex "$output" 's.json: ssim +within tolerance'
}

@test "rerun: scores that were printed and not written" {
  npy a.npy 3 32 32 1; npy b.npy 3 32 32 2
  me2-eval score a.npy --truth b.npy --metrics pixcorr --json > printed.json
  run -0 --separate-stderr me2-eval rerun printed.json --keep kept
  assert_regex "$output" 'printed.json: pixcorr +identical'
  assert_file_exist kept/01-eval-score/stdout.txt
}

@test "rerun: a report replays what its score files came from" {
  chain
  me2-eval report -q --scores s.json page.html
  run -0 --separate-stderr me2-eval rerun page.html
  assert_regex "$output" 's.json: image_retrieval +identical'
}

@test "rerun: only the last step, on the stores there are" {
  chain; rm -r one.zarr
  run -66 --separate-stderr me2-eval rerun s.json
  assert_one_line_of_error
  [[ "$stderr" == *"one.zarr (SUBJECT)"* ]]
  run -0 --separate-stderr me2-eval rerun s.json --last 1
  refute_output --partial latent.zarr/
}

@test "rerun: an input that has changed since is told" {
  npy a.npy 3 32 32 1; npy b.npy 3 32 32 2
  me2-eval score a.npy --truth b.npy --metrics pixcorr --out s.json > /dev/null
  npy a.npy 3 32 32 9
  run -65 --separate-stderr me2-eval rerun s.json
  assert_output --partial "a.npy"
  assert_output --partial "its SHA-256 has changed"
}

@test "rerun: a file without provenance is an error, a record that writes elsewhere is not replayed" {
  echo '{"scores": {}}' > none.json
  run -65 --separate-stderr me2-eval rerun none.json
  assert_one_line_of_error
  npy a.npy 3 32 32 1
  me2-eval score a.npy --truth a.npy --metrics pixcorr --out "$PWD/s.json" > /dev/null
  sed 's|"option": "--out"|"option": "--other"|' s.json > hostile.json; rm s.json
  run -65 --separate-stderr me2-eval rerun hostile.json
  [[ "$stderr" == *"outside the scratch folder"* ]]
  assert_file_not_exist s.json
}

@test "rerun: stores that went through a pipe are made again, and said not to be kept" {
  me2-test-store make -q one.zarr "betas=$MODEL/io.safetensors:in.voxels_subj0@0" --stimulus 7,3,5
  me2-align apply -q one.zarr - --model "$MODEL" --subject subj01 | me2-embed brain -q - tokens.zarr --model "$MODEL"
  run -0 --separate-stderr me2-eval rerun tokens.zarr
  assert_regex "$output" 'out.zarr +not kept'
  assert_regex "$output" 'tokens.zarr/tokens +identical'
}
