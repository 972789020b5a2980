#!/usr/bin/env bash
# The pages in docs/tools are what the tools print; the table in docs/common-options.md is what --help-common prints.
#     docs_current.sh BIN [--fix]
bin=$(realpath "$1")
cd "$(dirname "$0")/../.." || exit 1
status=0
for source in tools/me2-*.cpp; do
  tool=$(basename "$source" .cpp)
  if ! diff -u "docs/tools/$tool.md" <("$bin/$tool" --help-markdown); then
    echo "docs/tools/$tool.md is not what the tool says: make -f Makefile.pipeline docs"
    status=1
  fi
done

page=docs/common-options.md
begin='<!-- made by me2-preprocess --help-common -->' end='<!-- end -->'
now=$(sed -n "/^$begin\$/,/^$end\$/p" "$page" | sed '1d;$d')
wanted=$("$bin/me2-preprocess" --help-common)
if [ "$now" != "$wanted" ]; then
  if [ "$2" = --fix ]; then
    awk -v begin="$begin" -v end="$end" -v table="$wanted" '
      $0 == begin { print; print table; skip = 1; next } $0 == end { skip = 0 } !skip' "$page" > "$page.new" && mv "$page.new" "$page"
  else
    echo "$page: its table is not what the tools say: make -f Makefile.pipeline docs"
    status=1
  fi
fi
exit $status
