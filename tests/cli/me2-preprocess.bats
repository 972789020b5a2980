# bats file_tags=tool:preprocess
setup() { load ../support/load; setup_case; }

@test "medarc: the store of a subject has every trial, and show counts them" {
  run -0 --separate-stderr me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 --json
  [[ "$output" == *'"train_trials"'* ]]
  run -0 --separate-stderr me2-preprocess show s.zarr
  assert_output --partial "betas"
  assert_output --partial "train_trials"
}

@test "medarc: Zarr v2 and v3 hold the same content" {
  me2-preprocess medarc "$(golden medarc_layout)" a.zarr --subject 2 -q
  me2-preprocess medarc "$(golden medarc_layout)" b.zarr --subject 2 -q --zarr-format 2
  assert_equal "$(me2-preprocess show a.zarr --digest | tail -1)" "$(me2-preprocess show b.zarr --digest | tail -1)"
}

@test "medarc: the same command writes the same bytes" {
  for s in a b; do me2-preprocess medarc "$(golden medarc_layout)" $s.zarr --subject 1 -q; done
  assert_equal "$(cd a.zarr && find . -path '*/c/*' -type f | sort | xargs sha256sum)" "$(cd b.zarr && find . -path '*/c/*' -type f | sort | xargs sha256sum)"
}

@test "medarc: --stimuli writes the images beside the subject" {
  me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 --stimuli i.zarr -q
  run -0 --separate-stderr me2-preprocess show i.zarr
  assert_output --partial "image"
}

@test "show --array --npy writes one array" {
  me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 -q
  run -0 --separate-stderr me2-preprocess show s.zarr --array roi/V1 --npy v1.npy
  assert_equal "$(head -c 6 v1.npy | tail -c 5)" "NUMPY"
  run -73 --separate-stderr me2-preprocess show s.zarr --array split --npy v1.npy
  assert_one_line_of_error
}

@test "show: what is no store is said in one line" {
  mkdir empty; run -65 --separate-stderr me2-preprocess show empty; assert_one_line_of_error
  run -66 --separate-stderr me2-preprocess show nothing.zarr; assert_one_line_of_error
  me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 -q
  run -65 --separate-stderr me2-preprocess show s.zarr --array none; assert_one_line_of_error
}

@test "nsd: both variants from HDF5 and NIfTI; --compare prints the difference" {
  for source in hdf5 nifti; do me2-preprocess nsd "$(golden nsd_raw)" $source.zarr --subject 1 --source $source -q; done
  assert_equal "$(me2-preprocess show hdf5.zarr --digest | tail -1)" "$(me2-preprocess show nifti.zarr --digest | tail -1)"
  run -0 --separate-stderr me2-preprocess nsd "$(golden nsd_raw)" c.zarr --subject 1 --compare "$(golden medarc_layout)/betas_all_subj01_fp32_renorm.hdf5"
  assert_output --partial "largest_difference"
}

@test "stimuli: a folder of images of every kind, captions by name" {
  printf 'name\tcaption\nrgb.png\ta smooth gradient\n' > captions.tsv
  run -0 --separate-stderr me2-preprocess stimuli "$DATA/images" s.zarr --size 16 --captions captions.tsv
  assert_output --partial "height               16"
  run -0 --separate-stderr me2-preprocess show s.zarr --array caption
  assert_output --partial "elements"
}

@test "stimuli: a list naming a missing image, a broken image, a folder without images" {
  echo nowhere.png > list.txt
  run -66 --separate-stderr me2-preprocess stimuli list.txt s.zarr; assert_one_line_of_error
  [[ "$stderr" == *"line 1"*nowhere.png* ]]
  mkdir images; head -c 200 "$DATA/images/rgb.png" > images/cut.png
  run -65 --separate-stderr me2-preprocess stimuli images s.zarr; assert_one_line_of_error
  [[ "$stderr" == *cut.png* ]]
  mkdir none; run -65 --separate-stderr me2-preprocess stimuli none s.zarr; assert_one_line_of_error
  [ ! -e s.zarr ]
}

@test "custom: events naming a missing image end with its line, and nothing is written" {
  mkdir images; cp "$DATA/images/rgb.png" images/a.png
  printf 'onset\tduration\tstim_file\n0\t1\ta.png\n5\t1\tb.png\n' > events.tsv
  run -65 --separate-stderr me2-preprocess custom s.zarr --betas "$DATA/readers/big.npy" --events events.tsv --images images
  assert_one_line_of_error
  [[ "$stderr" == *"line 3"*b.png* ]]
  [ ! -e s.zarr ]
}

@test "an output that exists is not touched without --overwrite" {
  me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 -q
  before=$(me2-preprocess show s.zarr --digest | tail -1)
  run -73 --separate-stderr me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 2
  assert_one_line_of_error
  assert_equal "$(me2-preprocess show s.zarr --digest | tail -1)" "$before"
  me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 2 -q --overwrite
  [ "$(me2-preprocess show s.zarr --digest | tail -1)" != "$before" ]
}

@test "an output inside the input is refused" {
  cp -r "$(golden medarc_layout)" release; chmod -R u+w release
  run -73 --separate-stderr me2-preprocess medarc release release/s.zarr --subject 1
  assert_one_line_of_error
  cp -r "$(golden nsd_raw)" raw; chmod -R u+w raw
  run -73 --separate-stderr me2-preprocess nsd raw raw/nsd/s.zarr --subject 1
  assert_one_line_of_error
  cp -r "$DATA/images" images; chmod -R u+w images
  run -73 --separate-stderr me2-preprocess stimuli images images/s.zarr
  assert_one_line_of_error
  run -73 --separate-stderr me2-preprocess custom images/s.zarr --betas "$DATA/readers/big.npy" --events <(printf 'image\nrgb.png\n') --images images
  assert_one_line_of_error
  [ -z "$(find . -name '*s.zarr*')" ]
}

@test "no permission to write, and a folder that is not there" {
  run -73 --separate-stderr me2-preprocess medarc "$(golden medarc_layout)" nowhere/s.zarr --subject 1
  assert_one_line_of_error
  as=()  # root may write everywhere, unless it gives that up
  if [ "$(id -u)" = 0 ]; then
    as=(setpriv --bounding-set=-dac_override --)
    "${as[@]}" true || skip "root may write everywhere"
  fi
  mkdir closed; chmod 555 closed
  run -73 --separate-stderr "${as[@]}" me2-preprocess medarc "$(golden medarc_layout)" closed/s.zarr --subject 1
  assert_one_line_of_error
  run -73 --separate-stderr "${as[@]}" me2-preprocess custom closed/s.zarr --betas "$DATA/readers/big.npy" --events <(printf 'image\na\nb\n')
  assert_one_line_of_error
  [ -z "$(ls closed)" ]
}

@test "Zarr stores that lie name the store and, where it is a chunk, the chunk; nothing is written" {
  printf 'image\tsession\n' > events.tsv
  for i in {1..1000}; do printf 'a%d\t1\n' "$i"; done >> events.tsv  # more lines than any of these has rows: reading comes first
  while read -r store word; do
    run -65 --separate-stderr me2-preprocess custom s.zarr --betas "$(golden zarr_interop)/corrupt/$store:x" --events events.tsv
    assert_one_line_of_error
    [[ "$stderr" == *"$store"*"$word"* ]] || { echo "$store, $word: $stderr"; false; }
    [ ! -e s.zarr ] && [ ! -e s.zarr.partial ]
  done <<'END'
v2_truncated_raw chunk
v2_truncated_zstd chunk
v2_truncated_blosc chunk
v2_long_raw chunk
v2_wrong_decoded_size chunk
v2_unknown_codec codec
v3_unknown_codec codec
v2_overflow_shape shape
v2_separator_traversal separator
v2_zlib_bomb chunk
v2_bitflip_blosc_nbytes chunk
v3_crc_mismatch chunk
v3_shard_index_out_of_range shard
END
}

@test "a full disk ends with 74 and no store" {
  mkdir small; mount -t tmpfs -o size=64k tmpfs small 2> /dev/null || skip "a small tmpfs cannot be mounted here"
  run -74 --separate-stderr me2-preprocess stimuli "$DATA/images" small/s.zarr --size 224
  assert_one_line_of_error
  [ -z "$(ls small)" ] || [ ! -e small/s.zarr ]
  rm -rf small/*
  printf 'image\n' > events.tsv; for i in {1..40}; do echo "a$i"; done >> events.tsv
  cat > many.npy < <(printf '\x93NUMPY\x01\x00\x76\x00%-117s\n' "{'descr': '<f4', 'fortran_order': False, 'shape': (40, 1000)}"; head -c 160000 /dev/zero)
  run -74 --separate-stderr me2-preprocess custom small/s.zarr --betas many.npy --events events.tsv
  left=$(ls small); umount small
  assert_one_line_of_error
  [ -z "$left" ]
}

@test "a closed or full stdout is noticed" {
  me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 -q
  run -74 --separate-stderr bash -c 'me2-preprocess show s.zarr > /dev/full'
  run -74 --separate-stderr bash -c 'me2-preprocess show s.zarr >&-'
}

@test "truncated inputs of each kind name the file" {
  cp -r "$(golden medarc_layout)" m; cp -r "$(golden nsd_raw)" n; chmod -R u+w m n
  truncate -s 3000 m/wds/subj01/train/0.tar
  run -65 --separate-stderr me2-preprocess medarc m s.zarr --subject 1; assert_one_line_of_error
  [[ "$stderr" == *train/0.tar* ]]
  truncate -s 3000 m/betas_all_subj02_fp32_renorm.hdf5
  run -65 --separate-stderr me2-preprocess medarc m s.zarr --subject 2; assert_one_line_of_error
  [[ "$stderr" == *betas_all_subj02* ]]
  truncate -s 1000 n/nsd/nsddata_betas/ppdata/subj01/func1pt8mm/betas_fithrf/betas_session03.nii.gz
  run -65 --separate-stderr me2-preprocess nsd n s.zarr --subject 1 --source nifti; assert_one_line_of_error
  [[ "$stderr" == *betas_session03.nii.gz* ]]
  [ ! -e s.zarr ]
}

@test "it starts without LibTorch" {
  run -0 ldd "$BUILD/bin/me2-preprocess"
  refute_output --partial torch
}

@test "medarc: as the first of a pipe it prints the store's path and nothing else" {
  path=$(me2-preprocess medarc "$(golden medarc_layout)" - --subject 1 -q)
  [ -d "$path" ]; assert_equal "$(printf '%s\n' "$path" | wc -l)" 1
  rm -rf "$(dirname "$path")"
}

@test "medarc: --dry-run tells the size and writes nothing" {
  run -0 --separate-stderr me2-preprocess medarc "$(golden medarc_layout)" s.zarr --subject 1 --dry-run --json
  printf '%s' "$output" | python3 -m json.tool > /dev/null
  [ ! -e s.zarr ] && [ ! -e s.zarr.partial ]
}
