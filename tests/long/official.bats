# The configurations for the official download, run by Snakemake on a made-up release of its layout, names and formats (as
# tests/cli/release.bats) and on a made-up subject. Nothing but sizes is said besides what the configurations say.
setup() {
  load ../support/load
  load ../support/snakemake
  setup_case
  unset SNAKEMAKE
  snakemake7
}

download() {
  me2-test-release make release
  me2-test-release further .
  for file in "$(golden medarc_layout)"/{wds,*.hdf5}; do ln -s "$file" release/; done
  mv release/git-large-coco release/zavychromaxl_v30.safetensors models/
  mv release/merges.txt models/bpe_simple_vocab_16e6.txt; gzip models/bpe_simple_vocab_16e6.txt
  mkdir models/eval_nets; touch models/eval_nets/LICENSE  # no networks: --allow-missing
  python3 - << 'P'
import json
words = ['a dog on the beach', 'a red car in the street', 'the cat sitting with food', 'a man standing in a field']
json.dump({'annotations': [{'image_id': 1000 + i, 'caption': words[(i + k) % 4]} for i in range(36) for k in range(2)]}, open('release/captions.json', 'w'))
with open('release/nsd_stim_info_merged.csv', 'w') as f:
    f.write(',cocoId,cocoSplit,nsdId\n')
    for i in range(36):
        f.write(f'{i},{1000 + i},train2017,{i}\n')
P
}
sizes() {  # FILE LINES: what differs from the real thing
  cat > sizes.yaml << Y
shards: {decode: 1, caption: 1}
resources: {targets: {threads: 1}, finetune: {threads: 1}, decode: {threads: 1}, caption: {threads: 1}, refine: {threads: 1}, score: {threads: 1}}
options:
  finetune: --hidden 32 --epochs 2 --batch-size 4
  decode: --steps 3 --size 64 --resize 256
  refine: --size 64 --steps 4 --timepoint 3 --resize 256
  score: --nets models/eval_nets --allow-missing --resamples 100
$1
Y
}
run_config() {  # NAME PRODUCT...: from nothing to the products, with every file there
  local name=$1 product
  shift
  run -0 snake --configfile "$ROOT/pipelines/configs/$name.yaml" sizes.yaml -j 1 -f check_inputs
  assert_output --regexp "all [0-9]+ files are there"
  run snake --configfile "$ROOT/pipelines/configs/$name.yaml" sizes.yaml -j 2 --show-failed-logs
  assert_success
  for product in "$@"; do assert [ -s "out/$name/$product" ]; done
}

@test "subj01_1sess: from the download to the report, fine-tuned from the released model of the other subjects" {
  download
  sizes
  run_config subj01_1sess report.html scores.json retrieval.json captions.json
  for store in latent tokens prior recon lowlevel caption refined blended; do run -0 me2-preprocess show out/subj01_1sess/$store.zarr; done
  # Typed one by one, the same commands make the same: what the configuration adds is nothing.
  me2-align apply out/subj01_1sess/subj01.zarr latent.zarr --model out/subj01_1sess/finetuned --subject subj01 --split test -q
  me2-embed brain latent.zarr tokens.zarr --model out/subj01_1sess/finetuned -q
  me2-prior sample tokens.zarr prior.zarr --model out/subj01_1sess/finetuned --steps 20 --guidance 1 -q
  me2-decode unclip prior.zarr recon.zarr --model release/unclip6_epoch0_step110000.ckpt --steps 3 --size 64 --resize 256 -q
  me2-caption generate prior.zarr caption.zarr --converter release/bigG_to_L_epoch8.pth --git models/git-large-coco -q
  me2-decode refine recon.zarr caption.zarr refined.zarr --model models/zavychromaxl_v30.safetensors --size 64 --steps 4 --timepoint 3 --resize 256 -q
  for store in tokens prior recon caption refined; do
    assert_same_content $store.zarr out/subj01_1sess/$store.zarr
  done
}

@test "subj01_40sess: the released model of the subject as it is" {
  download
  mkdir release/train_logs/final_subj01_pretrained_40sess_24bs
  ln -s ../final_subj01_pretrained_1sess_24bs/last.pth release/train_logs/final_subj01_pretrained_40sess_24bs/last.pth
  sizes
  run_config subj01_40sess report.html scores.json retrieval.json captions.json
  assert [ ! -e out/subj01_40sess/finetuned ]
}

@test "pretrain_7: from the download of seven subjects to the model that subj01_1sess starts from" {
  download
  # The made-up release has subjects 1 and 2, three and two tars of training trials. The design file knows no others, and is not needed.
  rm release/COCO_73k_subj_indices.hdf5
  for n in 3 4 5 6 7 8; do
    ln -s betas_all_subj02_fp32_renorm.hdf5 release/betas_all_subj0${n}_fp32_renorm.hdf5
  done
  rm release/wds
  mkdir release/wds
  for n in 1 2; do ln -s "$(golden medarc_layout)/wds/subj0$n" release/wds/; done
  for n in 3 4 5 6 7 8; do ln -s subj02 release/wds/subj0$n; done
  sizes '  pretrain: --hidden 32 --epochs 1 --batch-size 14'
  sed -E 's,train/[0-9]+\.tar,train/1.tar,' "$ROOT/pipelines/configs/pretrain_7.yaml" | sed -n '/^files:/,/^resources:/{/^resources:/!p}' >> sizes.yaml
  run_config pretrain_7 pretrained/model.safetensors
  # One map for each subject, and a model that another subject is fine-tuned from in place of the released one.
  assert_equal "$(jq -c .subjects out/pretrain_7/pretrained/config.json)" '["subj02","subj03","subj04","subj05","subj06","subj07","subj08"]'
  me2-preprocess medarc release subj01.zarr --subject 1 --split new_test --sessions 1 -q
  run -0 me2-embed train out/pretrain_7/targets.zarr tuned --subjects subj01.zarr --pretrained out/pretrain_7/pretrained --hidden 32 --epochs 1 --batch-size 4 -q
}

@test "new_subject: betas, events and images of one's own, fine-tuned from the released model" {
  download
  mkdir -p mine/images
  python3 - << 'P'
import math, random, struct, zlib
random.seed(1)
def png(path, rgb):
    rows = b''.join(b'\0' + bytes(rgb) * 64 for _ in range(64))
    chunk = lambda kind, body: struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
    open(path, 'wb').write(b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 64, 64, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))
trials, voxels, images = 40, 26, 20
betas = [random.gauss(0, 1) for _ in range(trials * voxels)]
header = ("{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d), }" % (trials, voxels)).ljust(117) + '\n'
open('mine/betas.npy', 'wb').write(b'\x93NUMPY\x01\x00' + struct.pack('<H', len(header)) + header.encode() + struct.pack('<%df' % len(betas), *betas))
with open('mine/events.tsv', 'w') as events, open('mine/captions.tsv', 'w') as captions:
    events.write('onset\tduration\tstim_file\n')
    captions.write('name\tcaption\n')
    for i in range(images):
        png('mine/images/%02d.png' % i, [random.randrange(256) for _ in range(3)])
        captions.write('%02d.png\ta dog on the beach\n' % i)
    for t in range(trials):
        events.write('%d\t3\t%02d.png\n' % (4 * t, t % images))
P
  sizes
  run_config new_subject report.html scores.json retrieval.json captions.json
}

@test "evaluate_only: someone else's reconstructions to scores and a report" {
  mkdir -p theirs release/evals models/eval_nets; touch models/eval_nets/LICENSE
  python3 - << 'P'
# torch.save of one tensor, float [6, 3, 48, 48]: protocol 2, as torch writes it
import random, struct, zipfile
random.seed(2)
s = lambda text: b'X' + struct.pack('<I', len(text)) + text.encode()
i4 = lambda n: b'J' + struct.pack('<i', n)
def save(path, values, shape):
    strides = [shape[1] * shape[2] * shape[3], shape[2] * shape[3], shape[3], 1]
    t = b'\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((' + s('storage') + b'ctorch\nFloatStorage\n' + s('0') + s('cpu') + i4(len(values)) + b'tQ' + i4(0)
    t += b'(' + b''.join(map(i4, shape)) + b't(' + b''.join(map(i4, strides)) + b't\x89ccollections\nOrderedDict\n)RtR.'
    with zipfile.ZipFile(path, 'w') as z:
        z.writestr('a/data.pkl', t), z.writestr('a/data/0', struct.pack('<%df' % len(values), *values)), z.writestr('a/version', '3\n')
shape = (6, 3, 48, 48)
truth = [random.random() for _ in range(6 * 3 * 48 * 48)]
save('release/evals/all_images.pt', truth, shape)
save('theirs/all_recons.pt', [.6 * v + .4 * random.random() for v in truth], shape)
P
  sizes
  run_config evaluate_only report.html scores.json
  assert_regex "$(cat out/evaluate_only/scores.txt)" 'pixcorr +0\.[6-9]'
}
