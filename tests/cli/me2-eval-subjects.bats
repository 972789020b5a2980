# bats file_tags=tool:eval
# Several subjects in one run of me2-eval score and retrieval.
setup() { load ../support/load; setup_case; }

npy() {  # FILE N H W SEED: u1 images of reproducible noise
  local header="{'descr': '|u1', 'fortran_order': False, 'shape': ($2, 3, $3, $4), }" size=$(($2 * 3 * $3 * $4))
  { printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header"
    head -c $size /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "$5")" -iv 00000000000000000000000000000000; } > "$1"
}
check() { python3 -c "import json; j = json.load(open('$1')); $2"; }

@test "subjects: each alone, their mean, and an interval that draws subjects and images" {
  npy t.npy 4 32 32 1; npy a.npy 4 32 32 2
  me2-eval score a.npy --truth t.npy --metrics ssim --out a.json --resamples 500 > /dev/null
  run -0 --separate-stderr me2-eval score a.npy t.npy --truth t.npy --subject one,two --metrics ssim --resamples 500 --out s.json --per-image t.csv
  assert_output --regexp 'ssim .*mean of 2 subjects'
  assert_output --regexp 'subject two.ssim +1.0000'
  python3 - <<'PY'
import json
j, one = json.load(open('s.json')), json.load(open('a.json'))['scores']['ssim']
s = j['scores']['ssim']
assert j['subjects']['one']['scores']['ssim'] == one  # as if it were alone
assert abs(s['value'] - (one['value'] + 1) / 2) < 1e-6 and s['n'] == 8 and s['details']['subjects'] == 2
assert s['low'] < one['high'] and s['high'] > .9999 and 'over subjects' in s['interval']  # both draws may be the same subject
assert abs(s['details']['subjects_sd'] - (1 - one['value']) / 2 ** .5) < 1e-6
PY
  assert_equal "$(head -1 t.csv)" "id,subject,ssim"
  assert_equal "$(cut -d, -f1,2 t.csv | sed -n '2p;9p' | tr '\n' ' ')" "0,one 3,two "
  run -0 --separate-stderr me2-eval score a.npy t.npy --truth t.npy --subject one,two --metrics ssim --resamples 500 --csv
  assert_line --regexp '^ssim,1(\.0)?,.*,4,subject two$|^ssim,0.99999.*subject two$'
}

@test "subjects: one alone with a label keeps its own interval" {
  npy t.npy 5 32 32 1; npy a.npy 5 32 32 2
  me2-eval score a.npy --truth t.npy --metrics ssim --json > plain.json
  me2-eval score a.npy --truth t.npy --metrics ssim --subject s1 --json > one.json
  python3 -c "import json; a, b = (json.load(open(f + '.json'))['scores'] for f in ('plain', 'one')); assert a == b, (a, b)"
}

@test "subjects: truths, baselines and low-level images one for all or one each, and nothing between" {
  npy t.npy 3 32 32 1; npy u.npy 3 32 32 7; npy a.npy 3 32 32 2; npy b.npy 3 32 32 3
  run -0 --separate-stderr me2-eval score a.npy u.npy --truth t.npy --truth u.npy --baseline true=t.npy --baseline true=u.npy --baseline mean --metrics ssim --resamples 100 --out s.json
  check s.json "assert j['subjects']['u']['scores']['ssim']['value'] > .9999 and j['subjects']['a']['scores']['ssim']['value'] < .5"
  check s.json "assert j['baselines']['true']['ssim']['value'] > .9999 and sorted(j['subjects']['a']['baselines']) == ['mean', 'true']"
  run -64 --separate-stderr me2-eval score a.npy b.npy u.npy --truth t.npy --truth u.npy --metrics ssim
  assert_one_line_of_error
  [[ "$stderr" == *"--truth: one for all or one for each of the 3 subjects expected, 2 given"* ]]
  run -64 --separate-stderr me2-eval score a.npy b.npy --truth t.npy --subject x --metrics ssim
  [[ "$stderr" == *"1 labels for 2 subjects"* ]]
  run -64 --separate-stderr me2-eval score a.npy a.npy --truth t.npy --metrics ssim
  [[ "$stderr" == *'a second subject "a"'* ]]
}

@test "subjects: captions of several, corpus scores within each" {
  echo '{"1": "a red dog", "2": "a cat on a mat"}' > a.json; echo '{"1": "the sky", "2": "a mat"}' > b.json; echo '{"1": ["a red dog"], "2": ["a cat on a mat"]}' > r.json
  me2-eval score --captions b.json --references r.json --metrics bleu1,rouge1 --out alone.json > /dev/null
  run -0 --separate-stderr me2-eval score --captions a.json --captions b.json --references r.json --metrics bleu1,rouge1 --out s.json
  python3 - <<'PY'
import json
j, b = json.load(open('s.json')), json.load(open('alone.json'))['scores']
for name in 'bleu1', 'rouge1':
    assert abs(j['scores'][name]['value'] - (1 + b[name]['value']) / 2) < 1e-6, name
    assert j['scores'][name]['low'] <= b[name]['value'] + 1e-9 and j['scores'][name]['high'] > .9999, name
PY
}

@test "subjects: retrieval of several, each with its own brain" {
  npy e.npy 6 4 4 1; npy f.npy 6 4 4 9
  run -0 --separate-stderr me2-eval retrieval e.npy f.npy --truth e.npy --subject s1,s2 --ways 3 --out s.json
  check s.json "assert j['subjects']['s1']['scores']['image_retrieval']['value'] == 1 and j['scores']['image_retrieval']['value'] == (1 + j['subjects']['s2']['scores']['image_retrieval']['value']) / 2"
  check s.json "assert 'shuffled' in j['baselines'] and j['scores']['image_retrieval']['details']['subjects'] == 2"
}

@test "subjects: compare and report read the rows of each" {
  npy t.npy 6 32 32 1; npy a.npy 6 32 32 2; npy b.npy 6 32 32 3; npy c.npy 6 32 32 4
  me2-eval score a.npy b.npy --truth t.npy --subject s1,s2 --metrics ssim,pixcorr --resamples 100 --per-image old.csv --out old.json > /dev/null
  me2-eval score t.npy c.npy --truth t.npy --subject s1,s2 --metrics ssim,pixcorr --resamples 100 --per-image new.csv > /dev/null
  run -0 --separate-stderr me2-eval compare new.csv old.csv --metrics ssim --resamples 500 --json
  assert_output --partial '"subjects": 2'
  run -64 --separate-stderr me2-eval report page.html --scores old.json --per-image old.csv --truth t.npy --recon b.npy --quiet
  [[ "$stderr" == *"subjects s1, s2: --subject says"* ]]
  me2-eval report page.html --scores old.json --per-image old.csv --truth t.npy --recon b.npy --subject s2 --quiet
  grep -q 'Each subject' page.html
  python3 - <<'PY'
import csv, re
want = ['%.6g' % float(r['ssim']) for r in csv.DictReader(open('old.csv')) if r['subject'] == 's2']
got = re.findall(r'data-row="(\d+)" [^>]*data-ssim="([^"]*)"', open('page.html').read()[open('page.html').read().index('Every stimulus'):])
assert [v for _, v in got] == want, (got, want)
PY
}

@test "rerun: pictures given as a baseline are made again with what they come from" {
  me2-preprocess simulate seen --scenes-only 6 --side 32 --quiet > /dev/null
  me2-preprocess simulate drawn --scenes-only 6 --side 32 --seed 7 --quiet > /dev/null
  npy a.npy 6 32 32 1
  me2-eval score a.npy --truth seen/stimuli.zarr --baseline mean,true=drawn/stimuli.zarr --metrics ssim --resamples 100 --out s.json > /dev/null
  rm -r drawn
  run -0 --separate-stderr me2-eval rerun s.json --keep again
  assert_output --regexp 's.json: true/ssim +identical'
  assert_output --regexp 'drawn +not kept'
  python3 -c "
import glob, json
j = json.load(open(glob.glob('again/*score/out/s.json')[0]))['provenance']
assert any(i['option'] == '--baseline' and '/again/' in i['path'] and i['path'].endswith('drawn/stimuli.zarr') for i in j['inputs']), j['inputs']"
}

@test "score: a baseline that is not there is missing, like any input" {
  npy a.npy 2 32 32 1
  run -66 --separate-stderr me2-eval score a.npy --truth a.npy --metrics ssim --baseline true=none.npy
  assert_one_line_of_error
  [[ "$stderr" == *"--baseline: none.npy"* ]]
}

@test "score: one corrupt picture among many is named" {
  mkdir f
  python3 - <<'PY'
import struct, zlib
chunk = lambda kind, body: struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))
png = b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 8, 8, 8, 2, 0, 0, 0)) + chunk(b'IDAT', zlib.compress((b'\0' + bytes(range(24))) * 8)) + chunk(b'IEND', b'')
for i in range(40): open('f/p_%03d.png' % i, 'wb').write(png if i != 23 else png[:-40] + b'\0' * 28 + png[-12:])
PY
  run -65 --separate-stderr me2-eval score f --truth f --metrics ssim
  assert_one_line_of_error
  [[ "$stderr" == *"p_023.png"* ]]
  run ! grep -q p_022.png <<< "$stderr"
}
