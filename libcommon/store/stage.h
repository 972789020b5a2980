// Stage stores: what one tool hands to the next. Every per-sample array has the sample axis first, and `stimulus` [sample]
// says which image a row belongs to, so that a row never depends on its position.
//
// Writing is crash-safe. The store grows in OUT.zarr.partial/ and is renamed to OUT.zarr when complete. A *unit* is a range of
// rows that is one write unit (one shard) of every array; units are what --resume skips and --shard I/N divides.
//     StageWriter out(path, spec, options);
//     for (const RowRange& unit : out.todo()) {            // stops between units on SIGTERM, SIGINT, SIGUSR1 (exit 75)
//       ... compute rows [unit.first, unit.first + unit.count) ...
//       out.write("tokens", unit, values.data());          // float, uint8_t, int32_t, or uint16_t bits for f2
//     }
//     out.publish(provenance);                             // no-op for a --shard process unless every unit is there
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "store/zarr.h"

namespace me2::store {

struct RowRange {
  std::int64_t first = 0, count = 0;
};

class StageReader {
 public:
  explicit StageReader(const std::string& path);  // Exit::data when it is not a store, or a .partial one
  std::int64_t samples() const;
  const std::vector<std::int32_t>& stimulus() const;
  bool has(const std::string& array) const;
  Array array(const std::string& name) const;  // names the stage and what it holds when absent: "a store from another stage"
  Json provenance() const;                     // the `me2` attribute; null when there is none
  Json attributes() const;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Group group_;
  std::vector<std::int32_t> stimulus_;
};

struct StageArray {
  std::string name;
  Shape row_shape;        // shape of one sample
  DType dtype = DType::f4;
  std::vector<std::string> dimension_names;  // of the row's axes; "sample" is put first
  std::string units, long_name;
};

struct StageSpec {
  std::string kind;                      // "latent", "tokens", "clip_tokens", "image", "caption", "targets"
  std::vector<std::int32_t> stimulus;    // one per row
  std::vector<StageArray> arrays;
  Json* attributes = nullptr;            // further attributes of the group
};

struct WriteOptions {
  bool resume = false, overwrite = false;
  int shard_index = 1, shard_count = 1;
  int zarr_format = 3;
  std::int64_t rows_per_unit = 0;   // 0: chosen so that a unit holds about 64 MiB, at least one row
  std::string config_digest;        // of everything that decides the bytes; --resume refuses a .partial of another
};

class StageWriter {
 public:
  StageWriter(const std::string& path, const StageSpec& spec, const WriteOptions& options);
  ~StageWriter();
  std::vector<RowRange> todo() const;  // units of this shard that are not written yet
  template <class T>
  void write(const std::string& array, const RowRange& unit, const T* values) {
    write_bytes(array, unit, dtype_of<T>(), values);
  }
  void write_bytes(const std::string& array, const RowRange& unit, DType from, const void* values);
  void write_strings(const std::string& array, const RowRange& unit, std::span<const std::string> values);
  void publish(const Json& provenance);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace me2::store
