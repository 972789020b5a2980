# bats file_tags=tool:embed
# me2-embed train, me2-prior train and me2-align fit on the made-up world of support/made_stores.h: 120 images, 20 of them test images.
setup() {
  load ../support/load; setup_case
  me2-test-world make w a:30:1 b:25:2 --lowlevel
  TINY=(--hidden 16 --blocks 1 --prior-depth 1 --max-lr 3e-3 --batch-size 20 --threads 1 --evaluate-interval 0)
}
train() { me2-embed train "$@" "${TINY[@]}"; }
assert_same() { cmp "$1/model.safetensors" "$2/model.safetensors"; }

@test "train: a model that the inference tools take, with curves and a record" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 3 -q
  assert_equal "$(ls m | sort | tr '\n' ' ')" "config.json curves.csv curves.svg model.safetensors "
  assert_equal "$(wc -l < m/curves.csv)" 4
  me2-align apply w/a.zarr latent.zarr --model m --split test -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  me2-prior sample tokens.zarr prior.zarr --model m --steps 20 -q
  run -0 me2-preprocess show prior.zarr; assert_output --regexp 'clip_tokens.*20'
}
@test "train: --json prints the last row, and the loss has gone down" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 20 --no-lowlevel -q --json > last.json
  first=$(awk -F, 'NR==1{for(i=1;i<=NF;i++)if($i=="loss_clip")c=i} NR==2{print $c}' m/curves.csv)
  run -0 python3 -c "import json,sys; r=json.load(open('last.json')); sys.exit(not (r['loss_clip'] < $first and r['test_image_retrieval'] > .3))"
}
@test "train: every epoch is told as it ends, on the terminal and in JSON lines, as the curves have it" {
  TINY=(--hidden 16 --blocks 1 --prior-depth 1 --batch-size 20 --threads 1 --evaluate-interval 1)
  train w/targets.zarr m --subjects w/a.zarr --epochs 3 --log-format json 2> lines
  jq -c 'select(.event == "epoch")' lines > epochs
  assert_equal "$(wc -l < epochs)" 3
  keys=(epoch lr loss loss_prior loss_clip loss_blurry loss_cont image_retrieval brain_retrieval test_image_retrieval test_brain_retrieval)
  for key in "${keys[@]}"; do
    column=$(head -1 m/curves.csv | tr , '\n' | grep -nx "$key" | cut -d: -f1)
    paste <(jq ".$key" epochs) <(tail -n +2 m/curves.csv | cut -d, -f"$column") > both
    awk '{ d = $1 - $2; if (NF != 2 || d * d > 1e-10 * (1 + $1 * $1)) exit 1 }' both || fail "$key: $(cat both)"
  done
  run -0 jq -e '.samples_per_second > 0' epochs
  train w/targets.zarr n --subjects w/a.zarr --epochs 3 2> words
  for key in "${keys[@]}"; do assert_equal "$(grep -c "epoch 2.*\b${key/epoch/step} [0-9.e-]*[0-9],.* samples/s" words)" 1; done
  for key in loss_clip lr test_image_retrieval; do assert_regex "$(cat m/curves.svg)" "<polyline[^>]*>.<text [^>]*>$key<"; done
}
@test "train: stopped by SIGTERM and resumed, the bytes of an undisturbed run" {
  args=(w/targets.zarr --subjects w/a.zarr --subjects w/b.zarr --epochs 60 --samples-per-epoch 200 --no-lowlevel -q)
  train w/targets.zarr whole "${args[@]:1}"
  forget() { rm -r parts; }
  interrupted TERM '[ -e parts.partial/resume.safetensors ]' me2-embed train w/targets.zarr parts "${args[@]:1}" "${TINY[@]}"
  assert_equal "$status" 75
  [ ! -e parts ]; [ -e parts.partial/last/model.safetensors ]
  train w/targets.zarr parts "${args[@]:1}" --resume
  assert_same whole parts; [ ! -e parts.partial ]
}
@test "train: killed with -9 and resumed, the bytes of an undisturbed run" {
  forget() { rm -r parts; touch stamp; }
  for every in "--checkpoint-steps 3" "--checkpoint-interval 2"; do
    args=(--subjects w/a.zarr --epochs 60 $every --no-lowlevel --ema 0.9 -q)
    rm -rf whole parts
    train w/targets.zarr whole "${args[@]}"
    for n in 1 2; do
      touch stamp
      interrupted KILL '[ parts.partial/resume.safetensors -nt stamp ]' me2-embed train w/targets.zarr parts "${args[@]}" "${TINY[@]}" --resume
      assert_equal "$status" 137
    done
    train w/targets.zarr parts "${args[@]}" --resume
    assert_same whole parts
  done
}
@test "train: pretraining on two subjects, then one with a fresh ridge, low-rank updates and an official export" {
  train w/targets.zarr pre --subjects w/a.zarr --subjects w/b.zarr --epochs 2 --no-lowlevel -q
  me2-embed train w/targets.zarr fine --subjects w/b.zarr --pretrained pre --lora 2 --epochs 2 --no-lowlevel --batch-size 20 -q --export-official last.pth
  me2-align apply w/b.zarr x.zarr --model fine -q
  me2-align apply w/b.zarr y.zarr --model last.pth --ridge 0 -q
  assert_equal "$(me2-preprocess show --digest x.zarr | tail -1)" "$(me2-preprocess show --digest y.zarr | tail -1)"
}
@test "train: a finished training resumed does nothing; --dry-run writes nothing and says what would be" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 --no-lowlevel -q
  before=$(stat -c %y m/model.safetensors); train w/targets.zarr m --subjects w/a.zarr --epochs 1 --no-lowlevel -q --resume
  assert_equal "$before" "$(stat -c %y m/model.safetensors)"
  run -0 train w/targets.zarr n --subjects w/a.zarr --dry-run; assert_output --partial steps_per_epoch; [ ! -e n ] && [ ! -e n.partial ]
}
@test "train: more sessions than exist, another hidden size, an unknown subject's ridge: one line each, nothing written" {
  train w/targets.zarr pre --subjects w/a.zarr --epochs 1 --no-lowlevel -q
  run -65 --separate-stderr train w/targets.zarr m --subjects w/a.zarr --sessions 9; assert_one_line_of_error; assert_regex "$stderr" 'the store has 2 sessions'
  run -65 --separate-stderr me2-embed train w/targets.zarr m --subjects w/a.zarr --pretrained pre --hidden 32 --no-lowlevel
  assert_one_line_of_error; assert_regex "$stderr" 'hidden 32.*has 16'
  run -64 --separate-stderr me2-embed train w/targets.zarr m --subjects w/b.zarr --pretrained pre --ridge keep --no-lowlevel; assert_one_line_of_error
  [ ! -e m ] && [ ! -e m.partial ]
}
@test "prior train: alone on stored tokens" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 2 --no-lowlevel --no-prior -q
  me2-align apply w/a.zarr latent.zarr --model m --split train -q; me2-embed brain latent.zarr tokens.zarr --model m --average none -q
  me2-prior train tokens.zarr w/targets.zarr p --depth 1 --epochs 2 -q
  me2-prior sample tokens.zarr out.zarr --model p --steps 20 -q
  run -65 --separate-stderr me2-prior train latent.zarr w/targets.zarr q; assert_one_line_of_error
}
@test "fit: a new subject on the shared latents of another, then through the whole pretrained model" {
  train w/targets.zarr pre --subjects w/a.zarr --epochs 20 --no-lowlevel -q
  me2-align apply w/a.zarr latents.zarr --model pre --split train -q
  me2-align fit w/b.zarr m --pretrained pre --targets latents.zarr --from-tokens w/targets.zarr -q --json > report.json
  me2-align apply w/b.zarr b.zarr --model m --split test -q; me2-embed brain b.zarr tokens.zarr --model m -q
  run -0 python3 -c "import json,sys; r=json.load(open('report.json')); sys.exit(not (r['images_shared'] == 100 and r['form'] == 'primal' and r['leave_one_out_r2'] > .5))"
}
@test "train: an MLP subject map in the place of the ridge, through the inference tools" {
  train w/targets.zarr m --subjects w/a.zarr --subjects w/b.zarr --mlp-map --epochs 3 --no-lowlevel -q
  for n in 1 8; do me2-align apply w/b.zarr latent$n.zarr --model m --split test --batch-size $n -q; done
  me2-test-store same -q latent1.zarr latent8.zarr
  me2-embed brain latent1.zarr tokens.zarr --model m -q
  run -64 --separate-stderr train w/targets.zarr n --subjects w/a.zarr --mlp-map --export-official n.pth --no-lowlevel; assert_one_line_of_error
}
@test "fit --to tokens: apply gives image tokens, repeats averaged, that find their images without any network" {
  me2-align fit w/a.zarr m --to tokens --from-tokens w/targets.zarr -q
  me2-align apply w/a.zarr tokens.zarr --model m --split test -q
  run -0 me2-preprocess show tokens.zarr; assert_output --regexp 'clip_tokens.*20.*4.*12'; assert_output --partial trials
  me2-align apply w/a.zarr each.zarr --model m --split test --average none -q
  run -0 me2-preprocess show each.zarr; assert_output --regexp 'clip_tokens.*60.*4.*12'
  me2-align apply w/a.zarr small.zarr --model m --split test --batch-size 1 -q
  me2-test-store same -q tokens.zarr small.zarr
  run -0 me2-eval retrieval tokens.zarr --truth w/targets.zarr --allow-missing --ways 20 --draws 1 -q
  assert_output --regexp 'image_retrieval +(0\.[6-9]|1)'  # chance is 0.05
}
@test "train: a model without the retrieval head still gives tokens, and says what it cannot" {
  train w/targets.zarr m --subjects w/a.zarr --epochs 1 --no-clip --no-lowlevel -q
  me2-align apply w/a.zarr latent.zarr --model m --split test -q
  me2-embed brain latent.zarr tokens.zarr --model m -q
  run -0 me2-preprocess show tokens.zarr
  assert_output --partial " tokens "
  refute_output --partial " clip "
  run -65 me2-embed brain latent.zarr clip.zarr --model m --only clip
  assert_output --partial "has no retrieval head"
}
@test "train: each official option leaves its mark on the weights; stated defaults and the checkpoint interval leave none" {
  few=(--subjects w/a.zarr --epochs 4 --samples-per-epoch 60 -q)
  train w/targets.zarr plain "${few[@]}"
  train w/targets.zarr again "${few[@]}" --checkpoint-interval 1 --mixup-pct 0.33 --prior-scale 30 --clip-scale 1 --blur-scale 0.5 --cont-scale 0.1 --schedule cycle --weight-decay 0.01 --sessions 0
  assert_same plain again
  n=0
  for option in "--mixup-pct 1" "--prior-scale 3" "--clip-scale 3" "--blur-scale 3" "--cont-scale 3" "--schedule linear" "--weight-decay 0.5" \
                "--sessions 1" "--seed 5" "--condition-drop 0" "--dropout 0" "--lowlevel-dropout 0" "--no-lowlevel" "--no-prior" "--no-clip" "--clip-gradient 0.01" "--corrected-mixco"; do
    n=$((n + 1))
    me2-embed train w/targets.zarr m$n "${TINY[@]}" "${few[@]}" $option || fail "$option"
    ! cmp -s plain/model.safetensors m$n/model.safetensors || fail "$option changes nothing"
  done
}
@test "train and fit: a wrong voxel count, stores of other stages, a split that the store lacks, nothing to train: one line each" {
  train w/targets.zarr pre --subjects w/a.zarr --epochs 1 --no-lowlevel -q
  run -65 --separate-stderr me2-align apply w/b.zarr x.zarr --model pre --subject a
  assert_one_line_of_error; assert_regex "$stderr" 25; assert_regex "$stderr" 30; [ ! -e x.zarr ]
  run -65 --separate-stderr train w/targets.zarr m --subjects w/targets.zarr --no-lowlevel; assert_one_line_of_error; assert_regex "$stderr" 'a subject store expected'
  run -65 --separate-stderr train w/a.zarr m --subjects w/a.zarr --no-lowlevel; assert_one_line_of_error; assert_regex "$stderr" 'a target store expected'
  run -65 --separate-stderr train w/targets.zarr m --subjects w/a.zarr --split new_test --no-lowlevel; assert_one_line_of_error; assert_regex "$stderr" 'split_new_test'
  run -64 --separate-stderr train w/targets.zarr m --subjects w/a.zarr --no-clip --no-prior --no-lowlevel; assert_one_line_of_error
  run -64 --separate-stderr me2-align fit w/a.zarr m --to tokens --from-tokens w/targets.zarr --block 0; assert_one_line_of_error; assert_regex "$stderr" block
  [ ! -e m ] && [ ! -e m.partial ]
}
