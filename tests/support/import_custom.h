// me2-preprocess custom without its command line.
#pragma once
#include <string>

#include "base/json.h"
#include "ingest/custom.h"

namespace me2::ingest {

inline Json import(CustomOptions options, const std::string& out) {
  options.output.path = out;
  const Json provenance;
  Context context;
  context.provenance = &provenance;
  return import_custom(options, context);
}

}  // namespace me2::ingest
