# bats file_tags=tool:embed
# What the brain half says to models and stores that are not what they should be, on the made-up world of support/made_stores.h (60 test
# trials of 20 images, 100 training trials in two sessions).
setup() {
  load ../support/load; setup_case
  me2-test-world make w a:30:1 --splits
  TINY=(--hidden 16 --blocks 1 --prior-depth 1 --batch-size 20 --threads 1 --evaluate-interval 0 --no-lowlevel)
}
train() { me2-embed train "$@" "${TINY[@]}"; }
# A copy with a changed header: NAME gets another SHAPE of as many numbers, or, SHAPE being a quoted word, that type; +NAME is a tensor more.
edited() {  # FROM TO [+]NAME SHAPE
  cp -r "$1" "$2"
  python3 - "$2/model.safetensors" "$3" "$4" << 'EOF'
import json, math, struct, sys
path, name, shape = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
data = open(path, "rb").read()
size = struct.unpack("<Q", data[:8])[0]
head, body = json.loads(data[8:8 + size]), data[8 + size:]
if name[0] == "+":
    head[name[1:]] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + 4 * math.prod(shape)]}
    body += bytes(4 * math.prod(shape))
elif isinstance(shape, str):
    head[name]["dtype"] = shape
else:
    assert math.prod(head[name]["shape"]) == math.prod(shape)
    head[name]["shape"] = shape
text = json.dumps(head).encode()
open(path, "wb").write(struct.pack("<Q", len(text)) + text + body)
EOF
}
assert_refused() {  # WORDS COMMAND...: exit 65, one line with those words
  run -65 --separate-stderr "${@:2}"
  assert_one_line_of_error
  assert_regex "$stderr" "$1"
}

@test "a misshapen tensor is named with both shapes, by every tool that reads it" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  me2-align apply w/a.zarr latent.zarr --model m --split test -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  edited m ridge ridge.linears.0.bias '[4,4]'
  assert_refused 'linears.0.bias has shape \[4, 4\], \[16\] expected' me2-align apply w/a.zarr out.zarr --model ridge
  edited m backbone backbone.clip_proj.2.bias '[3,4]'
  assert_refused 'clip_proj.2.bias has shape \[3, 4\], \[12\] expected' me2-embed brain latent.zarr out.zarr --model backbone
  assert_refused 'clip_proj.2.bias has shape \[3, 4\], \[12\] expected' train w/targets.zarr n --subjects w/a.zarr --pretrained backbone
  edited m prior diffusion_prior.net.null_brain_embeds '[1,4,12]'
  assert_refused 'null_brain_embeds has shape \[1, 4, 12\], \[4, 12\] expected' me2-prior sample tokens.zarr out.zarr --model prior
  [ ! -e out.zarr ] && [ ! -e n ] && [ ! -e n.partial ]
}
@test "brain: --only clip reads neither the prior's nor the low-level head's weights" {
  me2-test-world make low a:30:1 --lowlevel
  me2-embed train low/targets.zarr m --subjects low/a.zarr --epochs 1 --hidden 16 --blocks 1 --prior-depth 1 --batch-size 20 --threads 1 --evaluate-interval 0 -q
  me2-align apply low/a.zarr latent.zarr --model m --split test -q
  me2-embed brain latent.zarr whole.zarr --model m -q
  edited m prior diffusion_prior.net.null_brain_embeds '[1,4,12]'
  edited prior both backbone.blin1.bias '[16,16]'
  assert_refused 'blin1.bias has shape' me2-embed brain latent.zarr out.zarr --model both
  me2-embed brain latent.zarr clip.zarr --model both --only clip -q
  me2-test-store same -q clip.zarr whole.zarr --array clip
}
@test "weights that are integers, and fields of config.json that are something else, are named" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  me2-align apply w/a.zarr latent.zarr --model m --split test -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  edited m int backbone.clip_proj.2.bias '"I32"'
  assert_refused 'clip_proj.2.bias holds Int, floating-point numbers expected' me2-embed brain latent.zarr out.zarr --model int
  cp -r m odd
  jq '.subjects = 5 | .out_norm_eps = "small"' m/config.json > odd/config.json
  assert_refused 'odd: config.json: subjects is 5, a list of names expected' me2-align apply w/a.zarr out.zarr --model odd
  assert_refused "a field of a model's config.json .*must be number, but is string" me2-prior sample tokens.zarr out.zarr --model odd
  [ ! -e out.zarr ]
}
@test "a row that is not finite is named, and nothing comes of it" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  python3 - << 'EOF'
import json, math, struct
head, body = {}, b""
for name, shape in (("betas", [3, 30]), ("latent", [3, 16]), ("tokens", [3, 4, 12])):
    values = [0.5] * math.prod(shape)
    values[len(values) // 2] = math.nan  # in row 1
    data = struct.pack(f"<{len(values)}f", *values)
    head[name] = {"dtype": "F32", "shape": shape, "data_offsets": [len(body), len(body) + len(data)]}
    body += data
text = json.dumps(head).encode()
open("nan.safetensors", "wb").write(struct.pack("<Q", len(text)) + text + body)
EOF
  for array in betas latent tokens; do me2-test-store make -q $array.zarr $array=nan.safetensors:$array --stimulus 7,8,9; done
  assert_refused 'betas.zarr/betas: row 1 has values that are not finite' me2-align apply betas.zarr out.zarr --model m --subject a
  assert_refused 'latent.zarr/latent: row 1 has values that are not finite' me2-embed brain latent.zarr brain.zarr --model m --average none
  assert_refused 'tokens.zarr/tokens: row 1 has values that are not finite' me2-prior sample tokens.zarr prior.zarr --model m --steps 3
  [ ! -e out.zarr ] && [ ! -e brain.zarr ] && [ ! -e prior.zarr ]
}
@test "a tensor too many is named, by every tool that reads that part" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  me2-align apply w/a.zarr latent.zarr --model m --split test -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  edited m backbone +backbone.surprise '[2,3]'
  assert_refused 'surprise \(shape \[2, 3\]\) is not part of this network' me2-embed brain latent.zarr out.zarr --model backbone
  assert_refused 'backbone.surprise \(shape \[2, 3\]\) is not part of this network' train w/targets.zarr n --subjects w/a.zarr --pretrained backbone
  edited m prior +diffusion_prior.net.surprise '[5]'
  assert_refused 'surprise \(shape \[5\]\) is not part of this network' me2-prior sample tokens.zarr out.zarr --model prior
  edited m other +surprise.weight '[5]'
  assert_refused 'surprise.weight \(shape \[5\]\) is not part of MindEye2' me2-embed brain latent.zarr out.zarr --model other
  [ ! -e out.zarr ] && [ ! -e n ] && [ ! -e n.partial ]
}
@test "a tensor that is missing is named, also from a model that a training starts from" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  me2-align apply w/a.zarr latent.zarr --model m --split test -q
  cp -r m less
  sed -i 's/backbone\.clip_proj\.5\.bias/backbone.clip_proj.X.bias/' less/model.safetensors  # as long: the header stays whole
  assert_refused 'clip_proj.5.bias is missing' me2-embed brain latent.zarr out.zarr --model less
  assert_refused 'backbone.clip_proj.5.bias is missing' train w/targets.zarr n --subjects w/a.zarr --pretrained less
  train w/targets.zarr n --subjects w/a.zarr --pretrained less --no-clip --epochs 1 -q  # a part that is not used is not looked at
}
@test "train: a loss that is not finite stops with step and batch, and the model before it is there" {
  assert_refused 'the loss is (nan|inf) at step [0-9]+ \(epoch [0-9]+, batch [0-9]+' train w/targets.zarr m --subjects w/a.zarr --epochs 9 --max-lr 1e30 -q
  [ ! -e m ]
  me2-align apply w/a.zarr latent.zarr --model m.partial/last -q
}
@test "train: a subject whose trials are all test trials has nothing to train on" {
  me2-test-store make -q only.zarr "betas=$DATA/backbone/io.safetensors:in.test_voxels@flat" --stimulus 0,0,0,1,1,1 --split 1,1,1,1,1,1
  cp -r only.zarr/split only.zarr/session
  assert_refused 'no training trial' train w/targets.zarr m --subjects only.zarr
}
@test "train: --split takes the official split that is asked for, and other trials with it" {
  for split in stored new_test test; do
    train w/targets.zarr $split --subjects w/a.zarr --split $split --dry-run > $split.plan
    train w/targets.zarr $split --subjects w/a.zarr --split $split --epochs 1 -q
    me2-align fit w/a.zarr fit-$split --to tokens --from-tokens w/targets.zarr --each-trial --split $split -q --json > $split.json
  done
  assert_regex "$(cat new_test.plan)" 'train_trials": 100,.*test_trials": 60'
  assert_regex "$(cat test.plan)" 'train_trials": 130,.*test_trials": 30'
  assert_equal "$(jq -c '[.trials, .rows]' new_test.json test.json | tr '\n' ' ')" "[100,100] [130,130] "
  cmp new_test/model.safetensors stored/model.safetensors  # w/a.zarr was stored with that split
  ! cmp -s new_test/model.safetensors test/model.safetensors
  ! cmp -s fit-new_test/model.safetensors fit-test/model.safetensors
}
@test "prior train: a model to start from is taken whole or refused, and another size than it has is refused" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  me2-align apply w/a.zarr latent.zarr --model m --split train -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  edited m more +diffusion_prior.net.surprise '[5]'
  assert_refused 'net.surprise \(shape \[5\]\) is not part of this network' me2-prior train tokens.zarr w/targets.zarr p --pretrained more
  cp -r m less
  sed -i 's/net\.null_brain_embeds/net.null_braim_embeds/' less/model.safetensors  # as long: the header stays whole
  assert_refused 'null_brain_embeds is missing' me2-prior train tokens.zarr w/targets.zarr p --pretrained less
  assert_refused '--depth 3: the pretrained model m has 1' me2-prior train tokens.zarr w/targets.zarr p --pretrained m --depth 3
  [ ! -e p ] && [ ! -e p.partial ]
  me2-prior train tokens.zarr w/targets.zarr p --pretrained m --epochs 1 -q
}
@test "train, prior train and fit: a value that makes no sense is a usage error that names its option, before any work" {
  assert_usage() {  # OPTION COMMAND...
    run -64 --separate-stderr "${@:2}"
    assert_one_line_of_error
    assert_regex "$stderr" "$1"
    [ ! -e n ] && [ ! -e n.partial ]
  }
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 -q
  me2-align apply w/a.zarr latent.zarr --model m -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  for option in "--epochs 0" "--accumulate 0" "--sessions -1" "--samples-per-epoch -4" "--prior-heads 0" "--prior-dim-head 0" "--dropout 1" "--lowlevel-dropout -1" "--condition-drop 1.5" \
                "--mixup-pct 2" "--max-lr 0" "--weight-decay -1" "--clip-gradient -1" "--ema 1" "--lora -1" "--early-stop -1" "--holdout 2" "--checkpoint-interval 0" "--checkpoint-steps -1" \
                "--test-images 0" "--prior-scale -3" "--ridge keep"; do
    assert_usage "${option% *}" train w/targets.zarr n --subjects w/a.zarr $option
  done
  for option in "--epochs 0" "--depth 0" "--heads 0" "--condition-drop 2" "--ema 1" "--max-lr -1" "--checkpoint-interval 0"; do
    assert_usage "${option% *}" me2-prior train tokens.zarr w/targets.zarr n $option
  done
  for option in "--sessions -2" "--folds 1" "--map-images 1" "--alphas 0"; do
    assert_usage "${option% *}|alpha must be above 0" me2-align fit w/a.zarr n --targets latent.zarr $option
  done
  assert_usage --pretrained me2-align fit w/a.zarr n --to tokens --from-tokens w/targets.zarr --pretrained m
  run -73 --separate-stderr train w/targets.zarr n --subjects w/a.zarr --export-official nowhere/last.pth  # known before the training
  assert_one_line_of_error
  echo mine > there.pth
  run -73 --separate-stderr train w/targets.zarr n --subjects w/a.zarr --epochs 1 --export-official there.pth
  assert_one_line_of_error
  assert_regex "$stderr" '--export-official: there.pth: exists'
  assert_equal "$(cat there.pth)" mine
  [ ! -e n ] && [ ! -e n.partial ]
}
