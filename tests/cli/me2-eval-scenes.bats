# bats file_tags=tool:eval
# me2-eval score on rendered scenes: what captions name, what CLIP towers see.
setup() { load ../support/load; setup_case; me2-preprocess simulate scenes --scenes-only 30 --side 32 --quiet > /dev/null; }
towers() {  # hardly trained: the checks below hold for any weights
  echo '{"clip_squeeze": false, "open_clip": {"embed_dim": 16, "vision_cfg": {"image_size": 32, "patch_size": 16, "width": 32, "layers": 1, "head_width": 16, "mlp_ratio": 2}, "text_cfg": {"context_length": 24, "width": 16, "heads": 2, "layers": 1}}}' > tiny.json
  me2-embed encoder scenes/stimuli.zarr towers --config tiny.json --steps 5 --batch-size 8 --threads 1 --quiet
}
field() { python3 -c "import json,sys; s=json.load(sys.stdin)['scores']; print(eval(sys.argv[1], {'s': s}))" "$1"; }

@test "scenes: a scene's own captions name all of it, and another's by chance only" {
  me2-preprocess show scenes/stimuli.zarr --array category --npy category.npy > /dev/null
  run -0 --separate-stderr me2-eval score --captions scenes/stimuli.zarr --scene-labels scenes/stimuli.zarr --metrics caption_category,caption_colour,caption_background --json
  assert_equal "$(field "[s['caption_' + k]['value'] for k in ('category', 'colour', 'background')]" <<< "$output")" "[1.0, 1.0, 1.0]"
  assert_equal "$(field "s['caption_colour']['details']['chance']" <<< "$output")" 0.125
  python3 -c "import json; json.dump({str(i): 'a nothing' if i else 'a red cup on the sand' for i in range(30)}, open('c.json', 'w'))"
  run -0 --separate-stderr me2-eval score --captions c.json --scene-labels scenes/stimuli.zarr --metrics caption_category --json
  assert_equal "$(field "'29 name none' in s['caption_category']['note'] and s['caption_category']['value'] <= 1 / 30" <<< "$output")" True
}

@test "scenes: the images themselves find themselves, and score what the towers can reach" {
  towers
  run -0 --separate-stderr me2-eval score scenes/stimuli.zarr --scene-labels scenes/stimuli.zarr --scorer towers --metrics recon_category,tower_retrieval,tower_two_way --json --per-image t.csv
  assert_equal "$(field "s['tower_retrieval']['value'], s['tower_two_way']['value']" <<< "$output")" "(1.0, 1.0)"
  assert_equal "$(field "s['recon_category']['value'] == s['recon_category']['details']['true_images'] and s['recon_category']['details']['same_as_true_image'] == 1" <<< "$output")" True
  assert_equal "$(head -1 t.csv)" "id,recon_category,tower_retrieval,tower_two_way"
}

@test "scenes: pictures dealt out to other images find nothing" {
  towers
  me2-preprocess show scenes/stimuli.zarr --array image --npy image.npy > /dev/null
  python3 - << 'END'
head, size = open('image.npy', 'rb').read(), 3 * 32 * 32
body = head[-30 * size:]
open('other.npy', 'wb').write(head[:-30 * size] + body[-size:] + body[:-size])
END
  run -0 --separate-stderr me2-eval score other.npy --truth scenes/stimuli.zarr --scene-labels scenes/stimuli.zarr --scorer towers --metrics tower_retrieval,recon_category --json
  assert_equal "$(field "s['tower_retrieval']['value']" <<< "$output")" 0.0
}

@test "scenes: without towers the scores are listed with what they need; a store without labels is named" {
  run -0 me2-eval score scenes/stimuli.zarr --scene-labels scenes/stimuli.zarr --metrics recon_category,ssim
  assert_output --partial "recon_category           not run: needs --scorer MODEL"
  run -64 me2-eval score scenes/stimuli.zarr --truth scenes/stimuli.zarr --scorer "$(golden openclip_text)"
  assert_output --partial "--scorer needs --scene-labels"
  rm -r scenes/stimuli.zarr/category
  run -65 --separate-stderr me2-eval score scenes/stimuli.zarr --scene-labels scenes/stimuli.zarr --metrics ssim
  assert_one_line_of_error
  [[ "$stderr" == *"no array category"* ]]
}
