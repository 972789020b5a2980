# bats file_tags=tool:eval
setup() { load ../support/load; setup_case; }

# npy FILE N H W [SEED]: u1 images [N,3,H,W] of reproducible noise (an AES counter stream); SEED "flat": all 100.
npy() {
  local header="{'descr': '|u1', 'fortran_order': False, 'shape': ($2, 3, $3, $4), }" size=$(($2 * 3 * $3 * $4))
  printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header" > "$1"
  if [ "$5" = flat ]; then head -c $size /dev/zero | tr '\0' 'd'; else
    head -c $size /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "${5:-1}")" -iv 00000000000000000000000000000000; fi >> "$1"
}
value() { sed -n "/\"$1\": {/,/}/s/.*\"$2\": \(.*\),/\1/p" | head -1; }  # from JSON on stdin

@test "score: images against themselves are perfect" {
  npy a.npy 3 32 32
  run -0 --separate-stderr me2-eval score a.npy --truth a.npy --metrics pixcorr,ssim --json
  [[ $(value pixcorr value <<< "$output") =~ ^(1.0|0.99999) ]]
  [[ $(value ssim value <<< "$output") =~ ^(1.0|0.99999) ]]
}

@test "score: a network that was not given is listed with what it needs" {
  npy a.npy 2 32 32
  run -0 me2-eval score a.npy --truth a.npy
  assert_output --partial "alexnet2                 not run: needs --alexnet FILE"
  assert_output --partial "swav                     not run: needs --swav FILE"
}


@test "score: brain correlation says what it needs, and a wrong name is a usage error" {
  npy a.npy 2 32 32
  run -0 me2-eval score a.npy --truth a.npy --metrics brain_corr_V1
  assert_output --partial "brain_corr               not run: needs --gnet FILE (gnet_multisubject.pt) and --betas SUBJECT.zarr"
  run -64 --separate-stderr me2-eval score a.npy --truth a.npy --metrics brain_cor
  [[ "$stderr" == *"brain_corr"* ]]
}

@test "score: another number of images without names is an error that says both" {
  npy a.npy 3 32 32; npy b.npy 2 32 32
  run -65 --separate-stderr me2-eval score a.npy --truth b.npy
  assert_one_line_of_error
  [[ "$stderr" == *"3 images, 2 in b.npy"* ]]
}

@test "score: sizes that differ are resized, and the result says so" {
  npy a.npy 2 32 32; npy b.npy 2 48 40 3
  run -0 me2-eval score a.npy --truth b.npy --metrics ssim
  assert_output --partial "note: b.npy: 48x40 resized to 256x256, bilinear"
}

@test "score: one image alone has pixel scores without intervals" {
  npy a.npy 1 32 32; npy b.npy 1 32 32 5
  run -0 --separate-stderr me2-eval score b.npy --truth a.npy --metrics ssim
  assert_output --regexp 'ssim +-?[0-9.]+ +- +- +1 '
  run -65 --separate-stderr me2-eval retrieval a.npy --truth b.npy
  assert_one_line_of_error
  [[ "$stderr" == *"2 images or more, 1 found"* ]]
}

@test "score: images that one side lacks are listed, and left out when asked" {
  local set
  for set in seen made; do
    mkdir $set
    python3 - $set <<'PY'
import struct, sys, zlib
chunk = lambda kind, body: struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
for i in (0, 1, 2, 3) if sys.argv[1] == 'seen' else (1, 2, 7):
    rows = b''.join(b'\0' + bytes((i * 31 + r * 7 + c * 13) % 256 for c in range(24)) for r in range(8))
    open('%s/image_%02d.png' % (sys.argv[1], i), 'wb').write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
PY
  done
  run -65 --separate-stderr me2-eval score made --truth seen --metrics ssim
  assert_one_line_of_error
  [[ "$stderr" == *"3 images are missing on one side: image_07 (not in seen), image_00 (not in made), image_03 (not in made)"* ]]
  run -0 --separate-stderr me2-eval score made --truth seen --metrics ssim --allow-missing
  assert_regex "$output" 'ssim +1.0000 .* 2 '
  assert_output --partial "3 images missing on one side, left out: image_07 (not in seen)"
}

@test "score: a constant image is counted and left out of PixCorr" {
  npy a.npy 2 32 32; npy flat.npy 2 32 32 flat
  run -0 me2-eval score flat.npy --truth a.npy --metrics pixcorr
  assert_output --partial "undefined for 2 constant images, left out: 0, 1"
}

@test "score: pixels that are not finite name the set and the image" {
  printf "\x93NUMPY\x01\x00\x76\x00%-117s\n" "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 3, 1, 1), }" > nan.npy
  printf '\x00\x00\xc0\x7f\x00\x00\x00\x00\x00\x00\x00\x00' >> nan.npy
  npy a.npy 1 32 32
  run -65 --separate-stderr me2-eval score nan.npy --truth a.npy
  assert_one_line_of_error
  [[ "$stderr" == *"nan.npy: image 0 has pixels that are not finite"* ]]
}

@test "score: a broken picture in a folder is named" {
  mkdir f; printf 'not a picture' > f/a_0001.png
  npy a.npy 1 32 32
  run -65 --separate-stderr me2-eval score f --truth a.npy
  [[ "$stderr" == *"a_0001.png"* ]]
}

@test "score: a metric that does not exist is a usage error with the list" {
  npy a.npy 1 32 32
  run -64 --separate-stderr me2-eval score a.npy --truth a.npy --metrics pixcor
  [[ "$stderr" == *"pixcorr, ssim"* ]]
}

@test "score: the wrong network's file is refused by the tensor it lacks" {
  npy a.npy 2 32 32
  run -65 --separate-stderr me2-eval score a.npy --truth a.npy --metrics inception --inception "$DATA/backbone"
  [[ "$stderr" == *Conv2d_1a_3x3*"(--inception: Inception v3 weights expected)"* ]]
}

@test "score: per-image CSV and a scores file" {
  npy a.npy 3 32 32; npy b.npy 3 32 32 5
  me2-eval score a.npy --truth b.npy --metrics pixcorr,ssim --per-image t.csv --out s.json
  assert_equal "$(head -1 t.csv)" "id,pixcorr,ssim"
  assert_equal "$(wc -l < t.csv)" 4
  grep -q '"provenance"' s.json
}

@test "score: the ids of a split file are scored beside the whole" {
  npy a.npy 4 32 32; npy b.npy 4 32 32 5
  echo '{"variants": [{"variant_id": 0, "train_ids": ["0"], "test_ids": ["1", "3", "9"]}]}' > near.json
  run -0 me2-eval score a.npy --truth b.npy --metrics ssim --split-file near.json
  assert_output --partial "split near"
  assert_output --partial "2 of its 3 test ids scored"
}

@test "score: other pictures for the same images are scored beside, and must have them all" {
  npy a.npy 4 32 32; npy b.npy 4 32 32 5; npy c.npy 3 32 32 6
  run -0 me2-eval score b.npy --truth a.npy --metrics ssim --baseline truth=a.npy --out s.json
  assert_output --regexp 'baseline truth.ssim +1.0000' 
  python3 -c "import json; j = json.load(open('s.json')); assert abs(j['baselines']['truth']['ssim']['value'] - 1) < 1e-6 and j['scores']['ssim']['value'] < .5"
  run -64 --separate-stderr me2-eval score b.npy --truth a.npy --metrics ssim --baseline a.npy
  assert_one_line_of_error
  run -65 --separate-stderr me2-eval score b.npy --truth a.npy --metrics ssim --baseline few=c.npy
  assert_one_line_of_error
  [[ "$stderr" == *c.npy* ]]
}

@test "score: baselines it makes itself: the mean, another image's, the nearest training image" {
  npy a.npy 4 32 32; npy b.npy 4 32 32 5
  npy p.npy 4 8 8 7; npy t.npy 6 8 8 7; npy train.npy 6 32 32  # as streams, p starts t and a starts train: the nearest images are a
  run -0 --separate-stderr me2-eval score b.npy --truth a.npy --metrics ssim,pixcorr --baseline mean --baseline other --baseline nearest \
    --predicted p.npy --train-tokens t.npy --train-images train.npy --resamples 200 --out s.json
  python3 - <<'PY'
import json
j = json.load(open('s.json'))['baselines']
assert sorted(j) == ['mean', 'nearest', 'other'], sorted(j)
assert abs(j['nearest']['ssim']['value'] - 1) < 1e-6
for name in 'mean', 'other':  # noise images: nothing in common
    assert abs(j[name]['pixcorr']['value']) < .1 and j[name]['pixcorr']['low'] <= j[name]['pixcorr']['value'] <= j[name]['pixcorr']['high']
PY
  run -64 --separate-stderr me2-eval score b.npy --truth a.npy --baseline nearest --predicted p.npy
  assert_one_line_of_error
  [[ "$stderr" == *"--train-tokens"* ]]
  run -65 --separate-stderr me2-eval score b.npy --truth a.npy --metrics ssim --baseline nearest --predicted t.npy --train-tokens t.npy --train-images train.npy
  assert_one_line_of_error
  [[ "$stderr" == *"6 rows without names, 4 images scored"* ]]
}

@test "score: the same caption as its reference has BLEU and ROUGE of one" {
  echo '{"1": "a red circle on a white table", "2": "two blue squares near a wall"}' > c.json
  run -0 --separate-stderr me2-eval score --captions c.json --references c.json --metrics bleu,rouge1,rouge_l --json
  [[ $(value bleu4 value <<< "$output") =~ ^(1.0|0.9999999) ]]
  assert_equal "$(value rouge_l value <<< "$output")" 1.0
}

@test "score: captions three ways, equal to the reference's libraries" {
  skip_without_shared goldens/caption_metrics
  [ -e "${ME2_WORDNET:-/usr/share/wordnet}/data.noun" ] || skip "no WordNet"
  python3 - "$SHARED/goldens/caption_metrics/expected.json" <<'PY'
import json, sys
t = json.load(open(sys.argv[1]))['triples']
for name, key in ('brain', 'predicted_from_brain'), ('image', 'git_from_image'), ('ref', 'reference'):
    json.dump({str(i): x[key] for i, x in enumerate(t)}, open(name + '.json', 'w'))
PY
  run -0 --separate-stderr me2-eval score --captions brain.json --image-captions image.json --references ref.json --metrics meteor,rouge1,rouge_l,bleu1 --resamples 500 --out s.json
  python3 - "$SHARED/goldens/caption_metrics/expected.json" <<'PY'
import json, sys
want, got = json.load(open(sys.argv[1])), json.load(open('s.json'))['scores']
for name, key in ('meteor', 'meteor_mean'), ('rouge1', 'rouge1_plain_mean'), ('rouge_l', 'rougeL_plain_mean'):
    for suffix, set_ in ('', 'brain_ref'), ('_img_ref', 'img_ref'), ('_brain_img', 'brain_img'):
        assert abs(got[name + suffix]['value'] - want['sets'][set_][key]) < 1e-9, (name, suffix)
    r = got[name + '_relative']
    assert abs(r['value'] - want['relative'][key]) < 1e-9 and r['low'] < r['value'] < r['high'], name
for name, key in ('rouge1', 'rouge1_official_bootstrap'), ('rouge_l', 'rougeL_official_bootstrap'):  # of other draws: near, not equal
    assert abs(got[name]['details']['bootstrap_median'] - want['sets']['brain_ref'][key]) < .01, name
assert got['bleu1_relative']['interval'] == 'none' and got['bleu1_relative']['low'] is None
PY
  echo '{"0": "a dog"}' > few.json
  run -65 --separate-stderr me2-eval score --captions brain.json --image-captions few.json --references ref.json --metrics rouge1
  assert_one_line_of_error
  run -0 --separate-stderr me2-eval score --captions brain.json --image-captions few.json --references ref.json --metrics rouge1 --allow-missing
  assert_output --regexp 'rouge1_relative +[0-9.]+ +- +- +1 '
}

@test "score: captions without references are listed, and left out when asked" {
  echo '{"1": "a", "2": "b"}' > c.json; echo '{"1": ["a b"]}' > r.json
  run -65 --separate-stderr me2-eval score --captions c.json --references r.json --metrics bleu
  [[ "$stderr" == *"2 (has no reference)"* ]]
  run -0 me2-eval score --captions c.json --references r.json --metrics rouge1 --allow-missing
}

@test "score: an empty caption is counted" {
  echo '{"1": "", "2": "a dog"}' > c.json; echo '{"1": ["a cat"], "2": ["a dog"]}' > r.json
  run -0 me2-eval score --captions c.json --references r.json --metrics rouge1
  assert_output --partial "1 empty caption, scored as they are"
}

@test "score: captions by CLIP's text tower, and a vocabulary that does not fit it" {
  { echo '#version: 0.2'; for a in a b c d e f; do for b in {g..z}; do echo "$a $b"; done; done | head -86; } > merges.txt  # 512 + 86 + 2 words
  echo '{"1": "a red circle", "2": "a dog"}' > c.json; echo '{"1": "a red circle", "2": ["two cats", "a bird"]}' > r.json
  local model; model=$(golden openclip_text)
  run -0 --separate-stderr me2-eval score --captions c.json --references r.json --metrics clip_b,clip_l --clip-b "$model" --clip-vocab merges.txt --per-image t.csv
  assert_output --partial "clip_l                   not run: needs --clip-l FILE"
  assert_regex "$(sed -n 2p t.csv)" '^1,(1|1.0000|0.99999)'
  awk -F, 'NR == 3 { exit !($2 < .9999 && $2 >= -1) }' t.csv
  head -20 merges.txt > short.txt
  run -65 --separate-stderr me2-eval score --captions c.json --references r.json --metrics clip_b --clip-b "$model" --clip-vocab short.txt
  [[ "$stderr" == *"600 words, the vocabulary has 533"* ]]
}

@test "score: the same pictures as npy, .pt, folder and store are joined and score the same" {
  npy a.npy 4 32 32; npy b.npy 4 32 32 5
  mkdir folder
  python3 - <<'PY'
import json, os, pickle, struct, zipfile, zlib
data = open('b.npy', 'rb').read()[128:]
plane = 32 * 32
def png(rgb):
    chunk = lambda kind, body: struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    return b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 32, 32, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rgb)) + chunk(b'IEND', b'')
for i in range(4):
    x = data[i * 3 * plane:(i + 1) * 3 * plane]
    rows = b''.join(b'\0' + bytes(x[c * plane + r * 32 + k] for k in range(32) for c in range(3)) for r in range(32))
    open('folder/recon_%04d.png' % i, 'wb').write(png(rows))
os.mkdir('store.zarr')
meta = lambda shape, dtype: {'zarr_format': 2, 'shape': shape, 'chunks': shape, 'dtype': dtype, 'compressor': None, 'filters': None, 'order': 'C', 'fill_value': 0}
json.dump({'zarr_format': 2}, open('store.zarr/.zgroup', 'w'))
order = [2, 0, 3, 1]  # rows in another order, named by stimulus
for name, shape, dtype, body in ('image', [4, 3, 32, 32], '|u1', b''.join(data[i * 3 * plane:(i + 1) * 3 * plane] for i in order)), ('stimulus', [4], '<i4', struct.pack('<4i', *order)):
    os.mkdir('store.zarr/' + name)
    json.dump(meta(shape, dtype), open('store.zarr/%s/.zarray' % name, 'w'))
    open('store.zarr/%s/%s' % (name, '.'.join('0' * len(shape))), 'wb').write(body)
# torch.save of one tensor: protocol 2, as torch writes it
t = b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(('
s = lambda text: b'X' + struct.pack('<I', len(text)) + text.encode()
i4 = lambda n: b'J' + struct.pack('<i', n)
t += s('storage') + b'ctorch\nByteStorage\n' + s('0') + s('cpu') + i4(len(data)) + b'tQ' + i4(0)
t += b'(' + b''.join(map(i4, (4, 3, 32, 32))) + b't(' + b''.join(map(i4, (3072, 1024, 32, 1))) + b't\x89ccollections\nOrderedDict\n)RtR.'
with zipfile.ZipFile('b.pt', 'w') as z:
    z.writestr('b/data.pkl', t), z.writestr('b/data/0', data), z.writestr('b/version', '3\n')
PY
  local form
  me2-eval score b.npy --truth a.npy --metrics pixcorr,ssim --resamples 50 --csv > npy.csv
  for form in b.pt folder store.zarr; do
    run -0 --separate-stderr me2-eval score $form --truth a.npy --metrics pixcorr,ssim --resamples 50 --csv
    [ $form = store.zarr ] || assert_equal "$output" "$(cat npy.csv)"  # a tensor without names goes by position: the rows of the store are in another order
  done
  run -0 --separate-stderr me2-eval score folder --truth store.zarr --metrics ssim --resamples 50 --csv  # joined by the number in the name
  assert_regex "$output" 'ssim,(1|1\.0|0\.99999)'
  rm folder/recon_0002.png
  run -65 --separate-stderr me2-eval score folder --truth store.zarr --metrics ssim
  assert_one_line_of_error
  [[ "$stderr" == *"2 (not in folder)"* ]]
}

# sentence_encoder FOLDER: a BERT of width 32 with weights of reproducible noise and a vocabulary of its own.
sentence_encoder() {
  mkdir "$1"
  printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' a red blue circle dog on the table > "$1/vocab.txt"
  echo '{"num_attention_heads": 2}' > "$1/config.json"
  python3 - "$1/model.safetensors" <<'PY'
import json, random, struct, sys
w, m = 32, 64
shapes = {'embeddings.word_embeddings.weight': [13, w], 'embeddings.position_embeddings.weight': [16, w], 'embeddings.token_type_embeddings.weight': [2, w]}
norms = ['embeddings.LayerNorm', 'encoder.layer.0.attention.output.LayerNorm', 'encoder.layer.0.output.LayerNorm']
for n in norms: shapes[n + '.weight'] = shapes[n + '.bias'] = [w]
for n, o, i in ('attention.self.query', w, w), ('attention.self.key', w, w), ('attention.self.value', w, w), ('attention.output.dense', w, w), ('intermediate.dense', m, w), ('output.dense', w, m):
    shapes['encoder.layer.0.%s.weight' % n], shapes['encoder.layer.0.%s.bias' % n] = [o, i], [o]
rng, header, body = random.Random(1), {}, b''
for name, shape in sorted(shapes.items()):
    n = shape[0] * (shape[1] if len(shape) > 1 else 1)
    part = struct.pack('<%df' % n, *(1 + .1 * rng.gauss(0, 1) if name.endswith('LayerNorm.weight') else .3 * rng.gauss(0, 1) for _ in range(n)))
    header[name] = {'dtype': 'F32', 'shape': shape, 'data_offsets': [len(body), len(body) + len(part)]}
    body += part
text = json.dumps(header).encode()
open(sys.argv[1], 'wb').write(struct.pack('<Q', len(text)) + text + body)
PY
}

@test "score: captions by a sentence encoder: one for the same words, the nearest reference counts" {
  sentence_encoder encoder
  echo '{"1": "a red circle", "2": "a dog on the table"}' > c.json; echo '{"1": ["A red circle!?", "the dog"], "2": ["a blue circle"]}' > r.json
  echo '{"1": ["a red circle", "the dog"], "2": ["a blue circle"]}' > same.json
  run -0 --separate-stderr me2-eval score --captions c.json --references same.json --metrics sentence --sentence encoder --per-image t.csv
  assert_regex "$(sed -n 2p t.csv)" '^1,(1|1.0000|0.99999)'
  awk -F, 'NR == 3 { exit !($2 < .9999 && $2 >= -1) }' t.csv
  run -0 --separate-stderr me2-eval score --captions c.json --references r.json --metrics sentence --sentence encoder --per-image u.csv
  awk -F, 'NR == 2 { exit !($2 < .99999) }' u.csv  # unknown signs are words too
  assert_equal "$(sed -n 3p u.csv)" "$(sed -n 3p t.csv)"
  run -0 --separate-stderr me2-eval score --captions c.json --references r.json --metrics sentence
  assert_output --partial "sentence                 not run: needs --sentence FOLDER"
  rm encoder/vocab.txt
  run -66 --separate-stderr me2-eval score --captions c.json --references r.json --metrics sentence --sentence encoder
  [[ "$stderr" == *"no vocab.txt or tokenizer.json"* ]]
}

@test "score: Cap-Sim, from pictures to captions to their similarity" {
  sentence_encoder encoder
  local tiny=$ROOT/pipelines/tiny/models
  for set in seen made; do  # as reconstructions: other scenes under the same ids
    me2-preprocess simulate $set --scenes-only 4 --side 64 --seed $([ $set = seen ] && echo 1 || echo 2) --quiet > /dev/null
    me2-embed images $set/stimuli.zarr $set-tokens.zarr --model $tiny/encoder -q
    me2-caption generate $set-tokens.zarr $set-captions.zarr --model $tiny/git -q
  done
  run -0 --separate-stderr me2-eval score --captions seen-captions.zarr --references seen-captions.zarr --metrics cap_sim --sentence encoder
  assert_regex "$output" 'cap_sim +1.0000'
  run -0 --separate-stderr me2-eval score --captions made-captions.zarr --references seen-captions.zarr --metrics cap_sim,sentence --sentence encoder --out s.json
  assert_regex "$output" 'cap_sim +0?\.[0-9]+'
  assert_equal "$(value cap_sim value < s.json)" "$(value sentence value < s.json)"
  me2-eval report page.html --scores s.json -q
  run -0 grep -o 'Cap-Sim.*(people .666)' page.html
  run -0 --separate-stderr me2-eval score --captions made-captions.zarr --references seen-captions.zarr  # not unless asked for
  refute_output --partial cap_sim
}

@test "score: the published leaderboard from the published captions" {
  skip_without_shared real/brainhub_captions
  local dir=$SHARED/real/brainhub_captions/caption
  run -0 --separate-stderr me2-eval score --captions $dir/comparison/braincap/sub01_decoded_caption.json --references $dir/fmri_cococap.json \
    --metrics bleu,rouge_l,cider --json --resamples 100
  # SOURCE.md: BLEU1 55.96, BLEU4 14.51, ROUGE 40.69, CIDEr 41.30
  awk -v b1="$(value bleu1 value <<< "$output")" -v b4="$(value bleu4 value <<< "$output")" -v r="$(value rouge_l value <<< "$output")" -v c="$(value cider value <<< "$output")" \
    'function near(x, y, d) { if (x * 100 < y - d || x * 100 > y + d) { print x, y; bad = 1 } }
     BEGIN { near(b1, 55.96, .3); near(b4, 14.51, .3); near(r, 40.69, .3); near(c, 41.30, 2); exit bad }'
}

@test "retrieval: embeddings find themselves, and a small pool is said" {
  npy e.npy 5 4 4
  run -0 me2-eval retrieval e.npy --truth e.npy
  assert_output --partial "5 images: 5-way instead of 300-way retrieval"
  assert_output --regexp "image_retrieval +1.0000"
}

@test "retrieval: one pair, other widths, and values that are not finite are named" {
  npy one.npy 1 4 4; npy e.npy 5 4 4; npy wide.npy 5 4 5
  run -65 --separate-stderr me2-eval retrieval one.npy --truth one.npy
  [[ "$stderr" == *"2 images or more, 1 found"* ]]
  run -65 --separate-stderr me2-eval retrieval wide.npy --truth e.npy
  [[ "$stderr" == *"wide.npy: embeddings of 60 values, 48 in e.npy"* ]]
  python3 - <<'PY'
import struct
head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (5, 2), }"
body = struct.pack('<10f', 1, 2, 3, 4, 5, 6, float('inf'), 8, 9, 10)
open('inf.npy', 'wb').write(b'\x93NUMPY\x01\x00' + struct.pack('<H', 118) + head.ljust(117) + b'\n' + body)
PY
  run -65 --separate-stderr me2-eval retrieval inf.npy --truth inf.npy
  [[ "$stderr" == *"inf.npy: row 3 holds values that are not finite"* ]]
}

@test "retrieval: shuffled, mean and nearest training predictions beside" {
  npy e.npy 8 4 4; npy t.npy 10 4 4
  run -0 --separate-stderr me2-eval retrieval e.npy --truth e.npy --train-tokens t.npy --out s.json
  python3 - <<'PY'
import json
j = json.load(open('s.json'))['baselines']
assert j['nearest_train']['image_retrieval']['value'] == 1  # t starts with e
assert j['shuffled']['image_retrieval']['value'] == 0       # each prediction is another image's own
assert j['mean_brain']['image_retrieval']['value'] == .125  # one query for all finds one of eight
assert 'brain_retrieval' not in j['mean_brain']
PY
}

@test "rsa: human IT and its noise ceiling" {
  skip_without_shared real/kriegeskorte92
  local dir=$SHARED/real/kriegeskorte92
  run -0 --separate-stderr me2-eval rsa $dir/model_rdm_8_f64.npy --rdms $dir/human_IT_rdm_subj4_sess2_f64.npy --json
  [[ $(value rsa_0 value <<< "$output") == 0.386* ]]   # animacy
  [[ "$output" == *'"ceiling_low": 0.378'* ]]
}
