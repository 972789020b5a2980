# The commands of a page of docs/: its ```sh blocks, in order. A comment <!-- test: SED --> before a block makes sizes small in that block.
page_commands() {
  awk '/^<!-- test: / { sub(/^<!-- test: /, ""); sub(/ -->$/, ""); edit = $0; next }
       /^```sh$/ { inside = 1; next }
       /^```$/ { if (inside) edit = ""; inside = 0; next }
       inside { print edit "\t" $0 }' "$1" | while IFS= read -r line; do
    edit=${line%%$'\t'*}; command=${line#*$'\t'}
    if [ -n "$edit" ]; then sed "$edit" <<< "$command"; else printf '%s\n' "$command"; fi
  done
}
# Runs them in the current folder, stopping at the first that fails and naming it.
run_page() {
  page_commands "$1" > page.sh
  [ -s page.sh ] || { echo "$1 has no commands"; return 1; }
  bash -e -o pipefail -x page.sh
}
