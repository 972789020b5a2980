// DeepSpeed ZeRO directories: each rank's file holds its part of flat float32 groups; the model file says which parameters the
// groups are made of. Semantics of deepspeed/utils/zero_to_fp32.py (read for its rules; nothing of it is copied).
#include <ATen/ATen.h>

#include <algorithm>
#include <filesystem>
#include <optional>

#include "base/error.h"
#include "base/file.h"
#include "weights/torch_file.h"

namespace me2::weights {
namespace fs = std::filesystem;
namespace {

std::vector<fs::path> matching(const fs::path& folder, const std::string& ending) {
  std::vector<fs::path> out;
  std::error_code ignored;
  for (const auto& file : fs::directory_iterator(folder, ignored))
    if (file.path().filename().string().ends_with(ending)) out.push_back(file.path());
  // zero_pp_rank_10 after zero_pp_rank_9
  std::sort(out.begin(), out.end(), [](const fs::path& a, const fs::path& b) {
    const std::string x = a.filename(), y = b.filename();
    return x.size() != y.size() ? x.size() < y.size() : x < y;
  });
  return out;
}

std::optional<fs::path> find_folder(const fs::path& path) {
  if (!matching(path, "_optim_states.pt").empty()) return path;
  if (fs::exists(path / "latest")) {
    std::string tag = read_file(path / "latest");
    tag.erase(tag.find_last_not_of(" \r\n\t") + 1);
    if (!tag.empty() && tag.find('/') == std::string::npos && !matching(path / tag, "_optim_states.pt").empty()) return path / tag;
  }
  std::optional<fs::path> only;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(path, ignored))
    if (entry.is_directory() && !matching(entry.path(), "_optim_states.pt").empty()) {
      if (only) return std::nullopt;  // several tags and nothing that says which
      only = entry.path();
    }
  return only;
}

struct Piece {  // `count` elements of one rank's flat group from `first` on
  Value flat;
  std::int64_t first, count;
};

StateDict::Entry joined(std::vector<std::int64_t> shape, std::vector<Piece> pieces, at::ScalarType dtype) {
  return {shape, dtype, [shape, pieces = std::move(pieces)] {
            std::vector<at::Tensor> parts;
            for (const auto& piece : pieces) parts.push_back(piece.flat.tensor().flatten().narrow(0, piece.first, piece.count));
            return (parts.size() == 1 ? parts[0] : at::cat(parts)).reshape(shape);
          }};
}

std::int64_t count_of(const Value& tensor) {
  std::int64_t n = 1;
  for (const auto size : tensor.shape()) n *= size;
  return n;
}

std::vector<std::int64_t> sizes(const Value& tuple) {
  std::vector<std::int64_t> out;
  for (const auto& n : tuple.elements()) out.push_back(n.integer());
  return out;
}

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t n = 1;
  for (const auto size : shape)
    if (size < 0 || __builtin_mul_overflow(n, size, &n)) throw data_error("impossible shape [{}]", fmt::join(shape, ", "));
  return n;
}

using Groups = std::vector<std::vector<Value>>;  // [rank][group]

void add_stage_2(StateDict::Entries& out, const std::vector<Value>& param_shapes, const Groups& ranks) {
  for (std::size_t g = 0; g < param_shapes.size(); ++g) {
    std::vector<std::int64_t> starts{0};
    for (const auto& rank : ranks) {
      if (g >= rank.size()) throw data_error("a rank has {} groups, {} expected", rank.size(), param_shapes.size());
      starts.push_back(starts.back() + count_of(rank[g]));
    }
    std::int64_t offset = 0;
    for (const auto& [name, shape_value] : param_shapes[g].items()) {
      const auto shape = sizes(shape_value);
      const std::int64_t count = product(shape), end = offset + count;
      if (end > starts.back()) throw data_error("tensor {} needs elements up to {}, the ranks hold {}", name.text(), end, starts.back());
      std::vector<Piece> pieces;
      for (std::size_t r = 0; r < ranks.size(); ++r) {
        const auto from = std::max(offset, starts[r]), to = std::min(end, starts[r + 1]);
        if (from < to || (count == 0 && r == 0)) pieces.push_back({ranks[r][g], from - starts[r], std::max<std::int64_t>(to - from, 0)});
      }
      out[name.text()] = joined(shape, std::move(pieces), ranks[0][g].dtype());
      offset = end;
    }
    const std::int64_t align = 2 * static_cast<std::int64_t>(ranks.size());  // groups are padded to this
    if ((offset + align - 1) / align != (starts.back() + align - 1) / align)
      throw data_error("group {}: its parameters have {} elements, the ranks hold {}", g, offset, starts.back());
  }
}

void add_stage_3(StateDict::Entries& out, const std::vector<Value>& param_shapes, const Groups& ranks) {
  const std::int64_t world = static_cast<std::int64_t>(ranks.size());
  std::size_t group = 0;
  std::int64_t offset = 0;  // within the group, the same in every rank
  for (const auto& shapes : param_shapes)
    for (const auto& [name, shape_value] : shapes.items()) {
      const auto shape = sizes(shape_value);
      const std::int64_t count = product(shape), part = (count + world - 1) / world;
      while (group < ranks[0].size() && offset + part > count_of(ranks[0][group])) {
        if (offset < count_of(ranks[0][group])) throw data_error("tensor {} lies across two groups", name.text());
        ++group;
        offset = 0;
      }
      if (group >= ranks[0].size()) throw data_error("tensor {} is past the end of the ranks' groups", name.text());
      std::vector<Piece> pieces;
      std::int64_t left = count;
      for (const auto& rank : ranks) {
        if (group >= rank.size() || offset + part > count_of(rank[group])) throw data_error("tensor {}: a rank holds too little", name.text());
        const std::int64_t take = std::min(left, part);
        if (take > 0 || (count == 0 && pieces.empty())) pieces.push_back({rank[group], offset, take});
        left -= take;
      }
      out[name.text()] = joined(shape, std::move(pieces), ranks[0][group].dtype());
      offset += part;
    }
}

}  // namespace

bool is_zero_dir(const std::string& path) { return find_folder(path).has_value(); }

StateDict::Entries zero_entries(const std::string& path) {
  const auto folder = find_folder(path);
  if (!folder) throw data_error("{}: not a DeepSpeed ZeRO checkpoint (no *_optim_states.pt)", path);
  const std::string where = folder->string();
  try {
    Groups ranks;
    std::int64_t stage = 0;
    for (const auto& file : matching(*folder, "_optim_states.pt")) {
      const Value root = read_torch_file(file).root;
      const Value& state = root.at("optimizer_state_dict");
      stage = state.at("zero_stage").integer();
      const Value* groups = state.find(stage == 3 ? "fp32_flat_groups" : "single_partition_of_fp32_groups");
      if (!groups) throw data_error("{}: no float32 groups in it", file.filename().string());
      ranks.push_back(groups->elements());
      const Value& count = state.at("partition_count");  // a number, or one per group
      const std::int64_t expected = count.is(Value::Kind::list) ? [&] {
        std::int64_t most = 0;
        for (const auto& n : count.elements()) most = std::max(most, n.integer());
        return most;
      }() : count.integer();
      if (expected != static_cast<std::int64_t>(matching(*folder, "_optim_states.pt").size()))
        throw data_error("{} ranks wrote this checkpoint, {} files of theirs are here", expected, matching(*folder, "_optim_states.pt").size());
    }
    const auto models = matching(*folder, "_model_states.pt");
    if (models.empty()) throw data_error("no *_model_states.pt");
    const Value model = read_torch_file(models[0]).root;
    const Value& module = model.at("module");
    StateDict::Entries out;
    if (const Value* names = model.find("buffer_names"); names && names->is(Value::Kind::list))
      for (const auto& name : names->elements())
        if (const Value* buffer = module.find(name.text()); buffer && buffer->numeric())
          out[name.text()] = {buffer->shape(), at::isFloatingType(buffer->dtype()) ? at::kFloat : buffer->dtype(), [b = *buffer] {
                                const at::Tensor t = b.tensor();
                                return t.is_floating_point() ? t.to(at::kFloat) : t;
                              }};
    const Value& shapes_value = model.at("param_shapes");
    const std::vector<Value> param_shapes = shapes_value.is(Value::Kind::dict) ? std::vector<Value>{shapes_value} : shapes_value.elements();
    if (const Value* frozen = model.find("frozen_param_shapes"); frozen && frozen->is(Value::Kind::dict))
      for (const auto& [name, shape_value] : frozen->items()) {
        const auto shape = sizes(shape_value);
        std::vector<Piece> pieces;
        std::int64_t left = product(shape);
        const std::size_t files = stage == 3 ? models.size() : 1;
        for (std::size_t i = 0; i < files && left > 0; ++i) {
          const Value part = (i == 0 ? model : read_torch_file(models[i]).root).at("frozen_param_fragments").at(name.text());
          const std::int64_t take = std::min(left, count_of(part));
          pieces.push_back({part, 0, take});
          left -= take;
        }
        if (left > 0) throw data_error("frozen tensor {} is incomplete", name.text());
        const auto dtype = pieces.empty() ? at::kFloat : pieces[0].flat.dtype();
        out[name.text()] = joined(shape, std::move(pieces), dtype);
      }
    stage == 3 ? add_stage_3(out, param_shapes, ranks) : add_stage_2(out, param_shapes, ranks);
    if (const Value* shared = model.find("shared_params"); shared && shared->is(Value::Kind::dict))
      for (const auto& [name, source] : shared->items())
        if (const auto it = out.find(source.text()); it != out.end()) out[name.text()] = it->second;
    return out;
  } catch (const Error& e) {
    if (std::string_view(e.what()).starts_with(where)) throw;
    throw data_error("{}: {}", where, e.what());
  }
}

}  // namespace me2::weights
