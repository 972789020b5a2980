# bats file_tags=tool:eval
setup() { load ../support/load; setup_case; }

npy() {  # FILE N H W SEED: u1 images of reproducible noise
  local header="{'descr': '|u1', 'fortran_order': False, 'shape': ($2, 3, $3, $4), }" size=$(($2 * 3 * $3 * $4))
  { printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "$header"
    head -c $size /dev/zero | openssl enc -aes-128-ctr -nosalt -K "$(printf %032x "$5")" -iv 00000000000000000000000000000000; } > "$1"
}
# answers RATER RUN OTHER CHECKS_RIGHT: answers to "random" trials that choose the run RUN times and the other OTHER times, and two checks
answers() {
  echo rater,survey,trial,kind,image,left,right,chosen,ms
  local i side
  for ((i = 0; i < $2 + $3; ++i)); do side=left; [ $i -lt $2 ] || side=right; echo "$1,abc,$i,random,$i,run,other,$side,900"; done
  for ((i = 0; i < 2; ++i)); do side=right; [ $i -lt $4 ] || side=left; echo "$1,abc,$((1000 + i)),check,$i,other,run,$side,900"; done
}
field() { sed -n "s/.*\"$1\": \([^,]*\),*$/\1/p" | head -1; }

@test "preference: a self-contained page with every trial and no address in it" {
  npy truth.npy 4 16 16 1; npy a.npy 4 16 16 2; npy b.npy 4 16 16 3
  run -0 me2-eval preference a.npy page.html --truth truth.npy --against b.npy --checks 2
  assert_equal "$(grep -o '"kind":"random"' page.html | wc -l)" 4
  assert_equal "$(grep -o '"kind":"against"' page.html | wc -l)" 4
  assert_equal "$(grep -o '"kind":"check"' page.html | wc -l)" 2
  run ! grep -E 'https?://' page.html
}

@test "preference: the seed decides sides and order" {
  npy truth.npy 9 16 16 1; npy a.npy 9 16 16 2
  for seed in 1 1 2; do me2-eval preference a.npy page$((++n)).html --truth truth.npy --seed $seed; done
  cmp page1.html page2.html
  run ! cmp page1.html page3.html
  grep -q '"run":"left"' page1.html; grep -q '"run":"right"' page1.html
}

@test "preference: one image has no other to show, and nothing to ask is a usage error" {
  npy truth.npy 1 16 16 1; npy a.npy 1 16 16 2
  run -65 --separate-stderr me2-eval preference a.npy page.html --truth truth.npy
  assert_one_line_of_error
  run -64 --separate-stderr me2-eval preference a.npy page.html --truth truth.npy --no-random
  assert_file_not_exist page.html
}

@test "preference-score: share, exact binomial p and the exact interval of one rater" {
  answers ann 9 1 2 > ann.csv
  run -0 --separate-stderr me2-eval preference-score ann.csv --json
  assert_equal "$(field value <<< "$output")" 0.9
  assert_regex "$(field p <<< "$output")" '^0.0214843(7|8)'      # 2 * 11 / 2^10
  assert_regex "$(field low <<< "$output")" '^0.55498'           # scipy.stats.binomtest(9, 10).proportion_ci()
  assert_regex "$(field high <<< "$output")" '^0.99747'
}

@test "preference-score: raters are resampled, and those who fail the checks are left out" {
  answers ann 9 1 2 > ann.csv; answers bob 6 4 2 > bob.csv; answers cat 8 2 2 > cat.csv; answers dan 0 10 0 > dan.csv
  run -0 --separate-stderr me2-eval preference-score ann.csv bob.csv cat.csv dan.csv
  assert_output --partial 'dan: 0 of 2 attention checks right, left out'
  assert_regex "$output" 'preference_random +0.7667 .*23 of 30 answers, 3 raters'
}

@test "preference-score: answers given twice, to another survey, or not answers at all name the line" {
  answers ann 2 1 2 > ann.csv
  run -65 --separate-stderr me2-eval preference-score ann.csv ann.csv
  [[ "$stderr" == *"line 2"*"already"* ]]
  sed 's/abc/xyz/; s/ann/bob/' ann.csv > other.csv
  run -65 --separate-stderr me2-eval preference-score ann.csv other.csv
  [[ "$stderr" == *"survey xyz"* ]]
  sed '3s/left,900/up,900/' ann.csv > up.csv
  run -65 --separate-stderr me2-eval preference-score up.csv
  [[ "$stderr" == *"up.csv: line 3"* ]]
}

@test "preference: a browser asks every trial, and its CSV can be scored" {
  command -v chromium-headless-shell > /dev/null || skip "chromium-headless-shell is not on this machine"
  npy truth.npy 4 16 16 1; npy a.npy 4 16 16 2
  me2-eval preference a.npy page.html --truth truth.npy --checks 2
  # The page itself, and a rater who always chooses the side of the run.
  sed 's#</body>#<script>document.getElementById("rater").value="ann";document.getElementById("form").requestSubmit();for(const t of s.trials)document.getElementById(t.run).click();document.title="answers:"+document.getElementById("text").value.replace(/\\n/g,"|")</script></body>#' page.html > drive.html
  chromium-headless-shell --no-sandbox --disable-gpu --dump-dom "file://$PWD/drive.html" 2> /dev/null > dom.html
  sed -n 's#.*<title>answers:\(.*\)</title>.*#\1#p' dom.html | tr '|' '\n' > ann.csv
  run -0 me2-eval preference-score ann.csv
  assert_regex "$output" 'preference_random +1.0000 .*4 of 4 answers'
}
