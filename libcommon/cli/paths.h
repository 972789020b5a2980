// The checks that paths on the command line get before any work, and "-": a store handed from one tool to the next.
//
// "-" as OUTPUT: the verb writes <temporary folder>/out.zarr and, when it succeeded, the path is printed on stdout. The writer stays until
// the path has been read: the store always has an owner, whichever of the two a signal ends.
// "-" as INPUT: that path is read from stdin; the reader removes the temporary folder when it ends, also when it fails.
// A path that is not such a temporary may be given on stdin too, and is then left alone.
#pragma once
#include <string>
#include <vector>

#include "base/describe.h"
#include "base/temp.h"
#include "cli/run.h"

namespace me2::cli {

struct NamedPath {
  std::string option;  // "SUBJECT", "--model"
  std::string path;
};

class Paths {
 public:
  // Checks every path among `items` and puts real paths in place of "-". Exit::no_input, Exit::cant_create, Exit::usage.
  Paths(const std::vector<Item>& items, const CommonOptions& common);
  const std::vector<NamedPath>& inputs() const { return inputs_; }
  const std::vector<NamedPath>& outputs() const { return outputs_; }
  const std::vector<NamedPath>& models() const { return models_; }
  void hand_over();  // at success: prints the path of an output "-" and leaves the store to its reader

 private:
  void check_input(const NamedPath& input) const;
  void check_output(const NamedPath& output, const CommonOptions& common) const;
  void resolve_output(const Item& item);
  void resolve_input(const Item& item);

  std::vector<NamedPath> inputs_, outputs_, models_;
  std::vector<TemporaryFolder> temporaries_;  // made for "-" outputs, or adopted from the writer of a "-" input
  std::string handed_;                        // the store that hand_over prints
};

// For a run that fails before it took over its "-" input: removes what the command before may have handed over already.
void discard_handover();

}  // namespace me2::cli
