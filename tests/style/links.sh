#!/usr/bin/env bash
# Links between pages lead somewhere, and the files of libcommon that docs/method.md names are there.
cd "$(dirname "$0")/../.." || exit 1
status=0
for page in README.md CONTRIBUTING.md $(find docs -name '*.md'); do
  while IFS= read -r target; do
    [ -e "$(dirname "$page")/$target" ] || { echo "$page: $target is not there"; status=1; }
  done < <(grep -oE '\]\([^)#: ]+[)#]' "$page" | sed 's/^](//; s/[)#]$//')
done
while IFS= read -r file; do
  [ -e "libcommon/$file" ] || [ -e "$file" ] || { echo "docs/method.md: $file is not there"; status=1; }
done < <(grep -oE '`[a-z]+/[a-z_0-9]+\.(h|cpp)`' docs/method.md | tr -d '`')
exit $status
