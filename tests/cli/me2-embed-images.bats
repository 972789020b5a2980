# bats file_tags=tool:embed
# Expected tokens: tests/golden/openclip_visual (open_clip 2.24 behind the reference's image embedder).
setup() { load ../support/load; setup_case; }

images() { me2-embed images "$@" --threads 1 --quiet; }
close() { me2-test-golden close "$1" "$2" --array "$3" --tensor "$4" --tolerance 1e-4; }

@test "images: tokens and pooled embeddings equal the reference, whatever the size of the picture" {
  case=$(golden openclip_visual)
  for image in a b c; do  # as wide as the network wants; larger; smaller
    me2-test-golden make "$case/io.safetensors" $image.zarr --arrays image=in.image_${image}_u8
    images $image.zarr $image-targets.zarr --model "$case"
    run -0 close $image-targets.zarr "$case/io.safetensors" clip_tokens out.tokens_$image
    run -0 close $image-targets.zarr "$case/io.safetensors" clip_pooled out.pooled_$image
  done
}

@test "images: half precision is stored on request and differs by rounding only" {
  case=$(golden openclip_visual)
  me2-preprocess simulate scenes --scenes-only 12 --side 32 --quiet > /dev/null
  images scenes/stimuli.zarr whole.zarr --model "$case"
  images scenes/stimuli.zarr half.zarr --model "$case" --stored f2
  run -0 me2-preprocess show half.zarr
  assert_line --regexp 'clip_tokens.*f2'
  run -0 me2-test-golden close half.zarr whole.zarr --array clip_tokens --tolerance 0.005
  run -65 me2-test-golden close half.zarr whole.zarr --array clip_tokens --tolerance 0
}

@test "images: --only embeds the stimuli of another store, each as it is among all" {
  case=$(golden openclip_visual)
  me2-preprocess simulate scenes --scenes-only 9 --side 32 --quiet > /dev/null
  images scenes/stimuli.zarr whole.zarr --model "$case"
  me2-test-golden make "$case/io.safetensors" some.zarr --arrays x=in.image_a_u8  # one stimulus: 0
  images scenes/stimuli.zarr some-targets.zarr --model "$case" --only some.zarr
  run -0 me2-preprocess show some-targets.zarr
  assert_line --regexp 'stimulus.*\[?1\]?'
  run -0 me2-test-golden close some-targets.zarr whole.zarr --array clip_tokens --row 0
}

@test "images: two shards equal the whole, bit for bit, and batches of any size to rounding" {
  case=$(golden openclip_visual)
  me2-preprocess simulate scenes --scenes-only 270 --side 32 --quiet > /dev/null  # units of 256 rows
  images scenes/stimuli.zarr whole.zarr --model "$case"
  for shard in 2/2 1/2; do images scenes/stimuli.zarr parts.zarr --model "$case" --shard $shard; done
  diff -r whole.zarr/clip_tokens parts.zarr/clip_tokens
  me2-test-golden make "$case/io.safetensors" some.zarr --arrays x=in.image_a_u8 --times 5  # stimuli 0 to 4
  images scenes/stimuli.zarr one.zarr --model "$case" --only some.zarr --batch-size 1
  images scenes/stimuli.zarr five.zarr --model "$case" --only some.zarr --batch-size 5
  run -0 me2-test-golden close five.zarr one.zarr --array clip_tokens --tolerance 1e-5
}

@test "images: stopped by SIGTERM and resumed, the bytes of an undisturbed run" {
  case=$(golden openclip_visual)
  me2-preprocess simulate scenes --scenes-only 400 --side 32 --quiet > /dev/null
  images scenes/stimuli.zarr whole.zarr --model "$case"
  me2-embed images scenes/stimuli.zarr parts.zarr --model "$case" --threads 1 --quiet & pid=$!
  until [ -n "$(find parts.zarr.partial/clip_tokens/c -type f 2> /dev/null)" ] || ! kill -0 $pid 2> /dev/null; do sleep .02; done
  kill -TERM $pid 2> /dev/null || true
  status=0; wait $pid || status=$?
  if [ $status != 0 ]; then  # 0: all of it was written before the signal came
    assert_equal $status 75
    assert [ ! -e parts.zarr ]
    images scenes/stimuli.zarr parts.zarr --model "$case" --resume
  fi
  diff -r whole.zarr/clip_tokens parts.zarr/clip_tokens
  diff -r whole.zarr/clip_pooled parts.zarr/clip_pooled
}

@test "images: an array that holds no pictures is refused" {
  case=$(golden openclip_visual)
  me2-test-golden make "$case/io.safetensors" odd.zarr --arrays image=out.tokens_a
  run -65 --separate-stderr me2-embed images odd.zarr out.zarr --model "$case"
  assert_one_line_of_error
  assert_regex "$stderr" "3, H, W"
  assert [ ! -e out.zarr ]
}

@test "images: without a network there is nothing to do" {
  me2-preprocess simulate scenes --scenes-only 2 --side 32 --quiet > /dev/null
  run -64 me2-embed images scenes/stimuli.zarr out.zarr
  assert_output --partial "at least one of --model, --vae and --convnext"
  assert [ ! -e out.zarr ]
}

@test "images: a checkpoint that is no image tower is named" {
  me2-preprocess simulate scenes --scenes-only 2 --side 32 --quiet > /dev/null
  run -65 me2-embed images scenes/stimuli.zarr out.zarr --model "$(golden openclip_text)"
  assert_output --partial "no OpenCLIP image tower"
}

@test "encoder: an interrupted training gives the bytes of an uninterrupted one" {
  me2-preprocess simulate scenes --scenes-only 40 --side 32 --quiet > /dev/null
  echo '{"clip_squeeze": false, "open_clip": {"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16, "mlp_ratio": 2}, "text_cfg": {"context_length": 24, "width": 16, "heads": 2, "layers": 1}}}' > tiny.json
  options=(--config tiny.json --steps 60 --checkpoint-steps 20 --batch-size 8 --threads 1 --quiet)
  me2-embed encoder scenes/stimuli.zarr whole "${options[@]}"
  forget() { rm -r parts; }
  interrupted TERM '[ -e parts.partial/state.safetensors ]' me2-embed encoder scenes/stimuli.zarr parts "${options[@]}"
  assert_equal "$status" 75
  me2-embed encoder scenes/stimuli.zarr parts "${options[@]}" --resume
  cmp whole/model.safetensors parts/model.safetensors
  me2-embed images scenes/stimuli.zarr targets.zarr --model whole --threads 1 --quiet
  run -0 me2-preprocess show targets.zarr --array clip_tokens
}

assert_variants() {  # STORE ARRAY: each of its two variants is of another picture than the clean one and each other, but of the same scene
  me2-preprocess show "$1" --array "$2_augmented" --npy variants.npy --overwrite > /dev/null
  me2-preprocess show "$1" --array "$2" --npy clean.npy --overwrite > /dev/null
  python3 - << 'EOF'
import ast, struct
def load(path):
    data = open(path, "rb").read()
    size = struct.unpack("<H", data[8:10])[0]
    shape = ast.literal_eval(data[10:10 + size].decode())["shape"]
    body = data[10 + size:]
    return shape, struct.unpack(f"<{len(body) // 4}f", body)
(rows, variants, *_), values = load("variants.npy")
_, clean = load("clean.npy")
n = len(clean) // rows
distance = lambda a, b: sum((x - y) ** 2 for x, y in zip(a, b)) / n
pairs = [(i, j) for i in range(rows) for j in range(i)]
spread = sum(distance(clean[i * n:(i + 1) * n], clean[j * n:(j + 1) * n]) for i, j in pairs) / len(pairs)
for i in range(rows):
    of = clean[i * n:(i + 1) * n]
    first, second = (values[(i * variants + k) * n:(i * variants + k + 1) * n] for k in range(2))
    assert distance(of, first) > 0 and distance(of, second) > 0 and distance(first, second) > 0, i  # another picture each time
mean = sum(distance(clean[i * n:(i + 1) * n], values[i * variants * n:(i * variants + 1) * n]) for i in range(rows)) / rows
assert mean < spread, (mean, spread)  # but of the same scene
EOF
}

@test "images: --augmented writes jittered variants, each of its own, the clean arrays as they were" {
  case=$(golden openclip_visual)
  me2-preprocess simulate scenes --scenes-only 12 --side 32 --quiet > /dev/null
  images scenes/stimuli.zarr plain.zarr --model "$case"
  images scenes/stimuli.zarr more.zarr --model "$case" --augmented 2 --batch-size 5
  me2-test-store same -q plain.zarr more.zarr --array clip_tokens --array clip_pooled
  run -0 me2-preprocess show more.zarr
  assert_output --regexp 'clip_tokens_augmented +f4 +\[12, 2, '
  images scenes/stimuli.zarr ones.zarr --model "$case" --augmented 2 --batch-size 1
  me2-test-golden close more.zarr ones.zarr --array clip_tokens_augmented --tolerance 1e-4
  assert_variants more.zarr clip_tokens
  run -64 --separate-stderr images scenes/stimuli.zarr none.zarr --model "$case" --augmented -1
  assert_one_line_of_error
}

@test "images: the low-level networks' targets, of each jittered variant too" {
  vae=$(golden sd_vae) convnext=$(golden convnext_xl)
  me2-preprocess simulate scenes --scenes-only 6 --side 64 --quiet > /dev/null
  low() { images scenes/stimuli.zarr "$1" --vae "$vae" --convnext "$convnext" --lowlevel-size 64 "${@:2}"; }
  low plain.zarr
  low more.zarr --augmented 2 --batch-size 4
  low ones.zarr --augmented 2 --batch-size 1
  for array in vae_latent cnx_feature cnx_feature_aug; do
    me2-test-golden close more.zarr plain.zarr --array $array --tolerance 1e-4
    me2-test-golden close more.zarr ones.zarr --array ${array}_augmented --tolerance 1e-4
    assert_variants more.zarr $array
  done
  run -0 me2-preprocess show more.zarr
  assert_output --regexp 'vae_latent_augmented +f4 +\[6, 2, 4, '
  assert_output --regexp 'cnx_feature_aug_augmented +f4 +\[6, 2, 4, '  # 64 / 32 squared patches
  # The ConvNeXt term's own augmentation is another picture again, of the variants as of the clean one.
  for of in "" _augmented; do
    for array in cnx_feature cnx_feature_aug; do me2-preprocess show more.zarr --array $array$of --npy $array.npy --overwrite > /dev/null; done
    run -1 cmp -s cnx_feature.npy cnx_feature_aug.npy
  done
}
