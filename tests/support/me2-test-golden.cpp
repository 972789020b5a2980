// me2-test-golden: golden tensors as stores, and stores against golden tensors, for the command-line tests. Reads .safetensors by
// itself, so that the reader under test is not also the judge.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "base/error.h"
#include "base/json.h"
#include "cli/tool.h"
#include "store/stage.h"

namespace me2 {
namespace {

struct Values {
  store::Shape shape;
  std::vector<float> data;
};

Values tensor(const std::string& path, const std::string& name) {
  std::ifstream in(path, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const Json entries = Json::parse(bytes.substr(8, header));
  if (!entries.contains(name)) throw data_error("{}: no tensor {}", path, name);
  const Json& entry = entries[name];
  Values out;
  out.shape = entry["shape"].get<store::Shape>();
  const char* at = bytes.data() + 8 + header + entry["data_offsets"][0].get<std::size_t>();
  const auto dtype = entry["dtype"].get<std::string>();
  std::size_t count = 1;
  for (const auto n : out.shape) count *= static_cast<std::size_t>(n);
  for (std::size_t i = 0; i < count; ++i) {
    if (dtype == "F32") {
      float v;
      std::memcpy(&v, at + 4 * i, 4);
      out.data.push_back(v);
    } else if (dtype == "U8") {
      out.data.push_back(static_cast<float>(static_cast<unsigned char>(at[i])));
    } else {
      throw data_error("{}: {} is {}", path, name, dtype);
    }
  }
  return out;
}

struct MakeOptions {
  InputPath io;
  OutputPath out;
  std::vector<std::string> arrays;
  bool plain = false, bytes = false, nan = false;
  std::int64_t times = 1;
  std::vector<int> stimulus;
  std::string caption;
  void describe(Describe& d) {
    d.positional("IO", io, "io.safetensors of a golden case");
    d.positional("OUTPUT", out, "store");
    d.required("--arrays", arrays, "ARRAY=TENSOR");
    d.option("--plain", plain, "not a stage: arrays of different lengths, without stimulus");
    d.option("--bytes", bytes, "as u1: the values times 255, truncated");
    d.option("--nan", nan, "put one NaN into the last row");
    d.option("--times", times, "repeat the rows so often");
    d.option("--caption", caption, "also an array caption with this text in every row");
    d.option("--stimulus", stimulus, "stimulus of each row (0, 1, ...)");
  }
};

void make(const MakeOptions& o, cli::Run& run) {
  store::StageSpec spec;
  spec.kind = "test";
  std::vector<std::pair<std::string, Values>> all;
  for (const auto& word : o.arrays) {
    const auto cut = word.find('=');
    auto v = tensor(o.io.path, word.substr(cut + 1));
    const auto once = v.data;
    for (std::int64_t i = 1; i < o.times; ++i) v.data.insert(v.data.end(), once.begin(), once.end());
    v.shape[0] *= o.times;
    if (o.nan) v.data.back() = NAN;
    all.emplace_back(word.substr(0, cut), std::move(v));
  }
  if (o.plain) {
    auto group = store::Group::create(o.out.path);
    for (const auto& [name, v] : all) {
      store::ArraySpec array;
      array.shape = v.shape;
      group.create_array(name, array).write(v.data.data());
    }
    return;
  }
  const auto rows = all.front().second.shape[0];
  for (int i = 0; i < rows; ++i) spec.stimulus.push_back(o.stimulus.empty() ? i : o.stimulus.at(static_cast<std::size_t>(i)));
  for (const auto& [name, v] : all) {
    store::StageArray array{name, {v.shape.begin() + 1, v.shape.end()}, o.bytes ? store::DType::u1 : store::DType::f4, {}, "1", name};
    for (std::size_t i = 0; i < array.row_shape.size(); ++i) array.dimension_names.push_back("d" + std::to_string(i));
    spec.arrays.push_back(array);
  }
  if (!o.caption.empty()) spec.arrays.push_back({"caption", {}, store::DType::str, {}, "1", "caption"});
  store::StageWriter out(o.out.path, spec, run.write_options());
  for (const auto& unit : out.pending()) {
    if (!o.caption.empty()) out.write_strings("caption", unit, std::vector<std::string>(static_cast<std::size_t>(unit.count), o.caption));
    for (const auto& [name, v] : all) {
      const auto each = static_cast<std::int64_t>(v.data.size()) / rows;
      const std::vector<float> part(v.data.begin() + unit.first * each, v.data.begin() + (unit.first + unit.count) * each);
      if (o.bytes) {
        std::vector<std::uint8_t> bytes;
        for (const float x : part) bytes.push_back(static_cast<std::uint8_t>(x * 255));
        out.write(name, unit, bytes.data());
      } else {
        out.write(name, unit, part.data());
      }
    }
  }
  out.publish(run.provenance());
}

struct CloseOptions {
  InputPath store, reference;
  std::string array, tensor;
  double tolerance = 0, share = 1;
  bool last_channel = false;
  std::optional<std::int64_t> row;
  void describe(Describe& d) {
    d.positional("STORE", store, "a store");
    d.positional("REFERENCE", reference, "io.safetensors, or a store");
    d.required("--array", array, "array of STORE");
    d.option("--tensor", tensor, "tensor of REFERENCE (the array's name, in a store)");
    d.option("--tolerance", tolerance, "largest absolute difference");
    d.option("--share", share, "of the elements that must be within it");
    d.option("--row", row, "compare this row of STORE with the first of REFERENCE");
    d.option("--last-channel", last_channel, "the reference is [n, H, W, C]");
  }
};

void close(const CloseOptions& o, cli::Run& run) {
  const auto array = store::Group::open(o.store.path).array(o.array);
  Values got{array.shape(), array.read<float>()}, want;
  if (o.reference.path.ends_with(".safetensors")) {
    want = tensor(o.reference.path, o.tensor);
  } else {
    const auto other = store::Group::open(o.reference.path).array(o.tensor.empty() ? o.array : o.tensor);
    want = {other.shape(), other.read<float>()};
  }
  if (o.last_channel) {
    const auto n = want.shape[0], h = want.shape[1], w = want.shape[2], c = want.shape[3];
    Values turned{{n, c, h, w}, std::vector<float>(want.data.size())};
    for (std::int64_t i = 0; i < n * h * w; ++i)
      for (std::int64_t k = 0; k < c; ++k) turned.data[static_cast<std::size_t>((i / (h * w) * c + k) * h * w + i % (h * w))] = want.data[static_cast<std::size_t>(i * c + k)];
    want = std::move(turned);
  }
  if (o.row) {
    for (auto* v : {&got, &want}) {
      const auto each = static_cast<std::int64_t>(v->data.size()) / v->shape.at(0), first = v == &got ? *o.row * each : 0;
      v->data = {v->data.begin() + first, v->data.begin() + first + each};
      v->shape[0] = 1;
    }
  }
  if (got.shape != want.shape) throw data_error("shape [{}] found, [{}] expected", fmt::join(got.shape, ", "), fmt::join(want.shape, ", "));
  double worst = 0;
  std::size_t within = 0;
  for (std::size_t i = 0; i < got.data.size(); ++i) {
    const double d = std::abs(static_cast<double>(got.data[i]) - want.data[i]);
    worst = std::isnan(d) ? INFINITY : std::max(worst, d);
    within += d <= o.tolerance;
  }
  const double share = static_cast<double>(within) / static_cast<double>(std::max<std::size_t>(got.data.size(), 1));
  run.print(o.share < 1 ? fmt::format("{} ({:.5f} within {})\n", worst, share, o.tolerance) : fmt::format("{}\n", worst));
  if (share < o.share) throw data_error("{}: differs by {}, {} is allowed", array.path(), worst, o.tolerance);
}

struct DrawsOptions {
  InputPath seen, tokens, kept, all;
  std::string array = "clip_tokens";
  void describe(Describe& d) {
    d.positional("SEEN", seen, "tokens of every draw's picture, a sample's draws together");
    d.positional("TOKENS", tokens, "tokens that the samples were decoded from");
    d.positional("KEPT", kept, "pictures of me2-decode unclip --select");
    d.positional("ALL", all, "pictures of every draw");
    d.option("--array", array, "array of tokens");
  }
};

// Which draw has the largest cosine to its sample's tokens, in float64; prints it and how far the next is behind, and fails unless KEPT
// names the same draws and holds their pictures.
void draws(const DrawsOptions& o, cli::Run& run) {
  const auto seen = store::Group::open(o.seen.path).array(o.array), tokens = store::Group::open(o.tokens.path).array(o.array);
  const auto kept = store::Group::open(o.kept.path), all = store::Group::open(o.all.path);
  const std::vector<float> a = seen.read<float>(), b = tokens.read<float>(), mine = kept.array("image").read<float>(), pictures = all.array("image").read<float>();
  const auto samples = static_cast<std::size_t>(tokens.shape()[0]), each = b.size() / samples, count = a.size() / each / samples, pixels = mine.size() / samples;
  const auto named = kept.array("draw").read<std::int32_t>();
  for (std::size_t i = 0; i < samples; ++i) {
    std::vector<std::pair<double, std::size_t>> order;
    for (std::size_t k = 0; k < count; ++k) {
      double ab = 0, aa = 0, bb = 0;
      for (std::size_t j = 0; j < each; ++j) {
        const double x = a[(i * count + k) * each + j], y = b[i * each + j];
        ab += x * y, aa += x * x, bb += y * y;
      }
      order.emplace_back(ab / std::sqrt(aa * bb), k);
    }
    std::sort(order.rbegin(), order.rend());
    run.print(fmt::format("sample {}: draw {}, by {:.6f}\n", i, order[0].second, order[0].first - order[1].first));
    if (named[i] != static_cast<int>(order[0].second)) throw data_error("sample {}: draw {} was kept", i, named[i]);
    if (!std::equal(mine.begin() + static_cast<std::ptrdiff_t>(i * pixels), mine.begin() + static_cast<std::ptrdiff_t>((i + 1) * pixels),
                    pictures.begin() + static_cast<std::ptrdiff_t>((i * count + order[0].second) * pixels)))
      throw data_error("sample {}: the kept picture is not that of draw {}", i, named[i]);
  }
}

}  // namespace

ME2_TOOL("me2-test-golden", "Golden tensors as stores, and stores against golden tensors",
         {cli::verb("make", "a store from tensors", make), cli::verb("close", "compare an array", close),
          cli::verb("draws", "which of a sample's draws comes closest to its tokens", draws)})
}  // namespace me2
