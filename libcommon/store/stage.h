// Stage stores: what one tool hands to the next. Every per-sample array has the sample axis first, and `stimulus` [sample]
// says which image a row belongs to, so that a row never depends on its position.
//
// Writing is crash-safe (store/partial.h). A *unit* is a range of rows that is one write unit (one shard) of every array; units are
// what --resume skips and --shard I/N divides.
//     StageWriter out(path, spec, options);
//     for (const RowRange& unit : out.pending()) {
//       ... compute rows [unit.first, unit.first + unit.count) ...
//       out.write("tokens", unit, values.data());          // float, uint8_t, int32_t, or uint16_t bits for f2
//     }
//     out.publish(provenance);                             // no-op for a --shard process unless every unit is there
// Rows of a unit may also be written in batches, in any order; they are held in memory until the unit is whole. After the last
// array of a unit was written, a signal (base/signals.h) stops the run with Exit::temp_fail; the .partial is then valid.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/json_fwd.h"
#include "store/partial.h"
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
  const Group& group() const { return group_; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  Group group_;
  std::vector<std::int32_t> stimulus_;
};

struct StageArray {
  std::string name;
  Shape row_shape;        // shape of one sample; empty: a number or string per sample
  DType dtype = DType::f4;
  std::vector<std::string> dimension_names;  // of the row's axes; "sample" is put first
  std::string units, long_name;
};

struct StageSpec {
  std::string kind;                      // "latent", "tokens", "clip_tokens", "image", "caption", "targets"
  std::vector<std::int32_t> stimulus;    // one per row
  std::vector<StageArray> arrays;
  Json* attributes = nullptr;            // further attributes of the group
  std::function<void(Group&)> build;     // makes further arrays (not per sample) once, when the store is begun; may be empty
  bool stimulus_is_array = true;         // false: the caller's arrays include `stimulus`, or it has no meaning (stimulus stores)
};

class StageWriter {
 public:
  StageWriter(const std::string& path, const StageSpec& spec, const WriteOptions& options);
  ~StageWriter();
  std::vector<RowRange> pending() const;  // units of this shard that are not written yet
  std::int64_t rows_per_unit() const;
  std::int64_t units() const;          // of the whole store
  template <class T>
  void write(const std::string& array, const RowRange& rows, const T* values) {
    write_bytes(array, rows, dtype_of<T>(), values);
  }
  void write_bytes(const std::string& array, const RowRange& rows, DType from, const void* values);
  void write_strings(const std::string& array, const RowRange& rows, std::span<const std::string> values);
  bool publish(const Json& provenance);  // true when the store is now there under its own name

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace me2::store
