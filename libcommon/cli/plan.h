// What --dry-run prints: what would be read, what would be written and what that takes. A verb adds what it knows once its inputs
// are opened and before any work:
//     if (run.dry_run()) {
//       run.plan().array("tokens", "f4", {samples, 256, 1664}).memory("model", model_bytes).seconds(samples * 0.4, "0.4 s a sample on one core");
//       return;
//     }
// cli/main.cpp prints it, as text or, with --json, as JSON.
#pragma once
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/json_fwd.h"

namespace me2::cli {

class Plan {
 public:
  Plan& array(std::string name, std::string dtype, std::vector<std::int64_t> shape);  // an array to be written; dtype as f4, u1, str
  Plan& memory(std::string what, std::uint64_t bytes);                               // held at once: weights, a batch
  Plan& seconds(double estimate, std::string basis);                                 // expected time and what it rests on
  Plan& threads(int useful);                                                         // how many the work is worth, for who shares out processors
  Plan& note(std::string key, std::string value);                                    // "trials": "750 of 30000"
  void input(std::string option, std::string path);                                  // main.cpp adds these
  void output(std::string option, std::string path);

  Json to_json() const;
  std::string to_text() const;

 private:
  struct PlannedArray {
    std::string name, dtype;
    std::vector<std::int64_t> shape;
    std::uint64_t bytes;  // before compression; 0 for strings
  };
  std::uint64_t written_bytes() const;
  std::uint64_t memory_bytes() const;
  std::int64_t free_bytes() const;  // on the first output's file system; -1 when unknown

  std::vector<std::pair<std::string, std::string>> inputs_, outputs_, notes_;
  std::vector<PlannedArray> arrays_;
  std::vector<std::pair<std::string, std::uint64_t>> memory_;
  std::vector<std::pair<double, std::string>> seconds_;
  int threads_ = 0;
};

}  // namespace me2::cli
