#!/usr/bin/env bash
# What must not be in the sources, by grep; each line says why. Prints file:line of what it finds.
cd "$(dirname "$0")/../.." || exit 1
status=0
sources=$(git ls-files 'libcommon/*.h' 'libcommon/*.cpp' 'libcommon/*.cu' 'tools/*.cpp' 'tests/*.h' 'tests/*.cpp' 2> /dev/null)
[ -n "$sources" ] || sources=$(find libcommon tools tests -name '*.h' -o -name '*.cpp' -o -name '*.cu')
texts=$(git ls-files '*.md' '*.sh' '*.cmake' '*CMakeLists.txt' 'Makefile*' '*.py' '*.smk' '*.yaml' '*.bats' 2> /dev/null)

# banned WHY PATTERN FILE...
banned() {
  local why=$1 pattern=$2 found
  shift 2
  found=$(grep -nE "$pattern" "$@" /dev/null)
  if [ -n "$found" ]; then
    printf '%s\n' "$found" | cut -c1-200
    echo "  ^ $why"
    status=1
  fi
}
library=$(grep '^libcommon/' <<< "$sources")
headers=$(grep '\.h$' <<< "$sources")
this=tests/style/banned.sh
texts=$(grep -vx "$this" <<< "$texts")

banned 'costs 20-38 s a file: ATen/ATen.h or ATen/core/Tensor.h' '#include [<"]torch/(torch|nn|all)\.h' $sources
banned 'leaks into every file that includes it' '^using namespace' $headers
banned 'an unfinished thought: an issue, or done' '\b(TODO|FIXME|XXX)\b' $sources $texts
banned 'libcommon does not print: log_info, or return a value' '(std::cout|std::cerr|\bprintf *\(|fmt::print\()' $(grep -v '^libcommon/cli/' <<< "$library")
banned 'nlohmann/json.hpp comes through base/json.h' '#include <nlohmann/json\.hpp>' $(grep -v '^libcommon/base/json\.h$' <<< "$library")
banned 'CLI11 is for cli/parse.cpp alone' '#include <CLI/' $(grep -v '^libcommon/cli/parse\.cpp$' <<< "$sources")
banned 'a path of one machine' '(^|[^A-Za-z0-9_./])/(work|root)/' $sources $texts
banned 'not a place in the sources for a random device: base/random.h' 'std::random_device|std::mt19937|\brand\(\)' $library

# Files stay readable: 600 lines, tools 300.
while read -r lines file; do
  limit=600
  [[ $file == tools/* ]] && limit=300
  if ((lines > limit)); then
    echo "$file: $lines lines, at most $limit"
    status=1
  fi
done < <(wc -l $sources | grep -v ' total$')
exit $status
