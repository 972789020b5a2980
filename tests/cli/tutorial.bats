# bats file_tags=tool:all
# docs/tutorial.md, typed: the sizes are small (the comments before its blocks say how), the commands are the page's.
setup() { load ../support/load; load ../support/page; setup_case; }

@test "tutorial: its commands run, and the pipe gives what the stores between give" {
  export ME2=$ROOT
  run_page "$ROOT/docs/tutorial.md"
  assert [ -s report.html ]
  assert_same_content piped.zarr prior.zarr
  assert_equal "$(ls -A "$TMPDIR")" ""
}
