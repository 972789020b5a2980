// me2-preprocess: releases, raw data or your own scan -> subject and stimulus stores.
#include "cli/tool.h"

namespace me2 {
namespace {

struct ShowOptions {
  InputPath store;
  void describe(Describe& d) { d.positional("STORE", store, "a Zarr store"); }
};

void show(const ShowOptions&, cli::Run&) {}

}  // namespace
ME2_TOOL("me2-preprocess", "Turn fMRI releases, raw data or your own scan into Zarr stores", {cli::verb("show", "print the tree of a store", show)})
}  // namespace me2
