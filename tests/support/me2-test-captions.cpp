// Token and caption stores for tests/cli/me2-caption.bats: made from golden tensors or at random, and read back as text.
#include <cmath>
#include <cstring>
#include <limits>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/random.h"
#include "cli/tool.h"
#include "store/stage.h"

namespace me2 {
namespace {

struct Values {
  store::Shape shape;
  std::vector<float> data;
};

Values tensor(const std::string& text) {  // FILE.safetensors:NAME (f32), or random:N,T,D
  Values out;
  if (text.starts_with("random:")) {
    for (const auto& n : described::split_list({text.substr(7)}, true)) out.shape.push_back(std::stol(n));
    Random random(5, "captions");
    for (std::int64_t i = 0; i < out.shape.at(0) * out.shape.at(1) * out.shape.at(2); ++i) out.data.push_back(static_cast<float>(random.normal()));
    return out;
  }
  const auto colon = text.rfind(':');
  const std::string bytes = read_file(text.substr(0, colon));
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const Json entry = parse_json(bytes.substr(8, header), text).at(text.substr(colon + 1));
  out.shape = entry["shape"].get<store::Shape>();
  const auto begin = entry["data_offsets"][0].get<std::size_t>(), end = entry["data_offsets"][1].get<std::size_t>();
  out.data.resize((end - begin) / 4);
  std::memcpy(out.data.data(), bytes.data() + 8 + header + begin, end - begin);
  return out;
}

std::vector<std::int32_t> numbered(std::int64_t n) {
  std::vector<std::int32_t> out;
  for (std::int64_t i = 0; i < n; ++i) out.push_back(static_cast<std::int32_t>(100 + i));
  return out;
}

struct TokensOptions {
  OutputPath output;
  std::string from;
  std::int64_t nan = -1, kinds = 0;
  void describe(Describe& d) {
    d.positional("OUTPUT", output, "the store");
    d.positional("TENSOR", from, "FILE.safetensors:NAME, or random:N,T,D");
    d.option("--nan", nan, "a sample to spoil");
    d.option("--kinds", kinds, "add to every value of sample i the number i mod KINDS: something to tell samples apart by");
  }
};

void tokens(const TokensOptions& o, cli::Run& run) {
  Values v = tensor(o.from);
  const auto inner = v.shape[1] * v.shape[2];
  for (std::size_t i = 0; o.kinds > 0 && i < v.data.size(); ++i) v.data[i] = 0.1f * v.data[i] + static_cast<float>(static_cast<std::int64_t>(i) / inner % o.kinds) - 1.0f;
  if (o.nan >= 0) v.data[static_cast<std::size_t>(o.nan * inner)] = std::numeric_limits<float>::quiet_NaN();
  store::StageSpec spec;
  spec.kind = "clip_tokens";
  spec.stimulus = numbered(v.shape[0]);
  spec.arrays.push_back({"clip_tokens", {v.shape[1], v.shape[2]}, store::DType::f4, {"token", "feature"}, "1", "tokens"});
  store::StageWriter out(o.output.path, spec, run.write_options());
  for (const auto& unit : out.pending()) out.write("clip_tokens", unit, v.data.data() + unit.first * inner);
  out.publish(run.provenance());
}

struct CaptionsOptions {
  OutputPath output;
  std::vector<std::string> texts;
  std::int64_t rows = 0;
  void describe(Describe& d) {
    d.positional("OUTPUT", output, "the store");
    d.positional("TEXTS", texts, "captions, taken in turn");
    d.required("--rows", rows, "samples");
  }
};

void captions(const CaptionsOptions& o, cli::Run& run) {
  store::StageSpec spec;
  spec.kind = "caption";
  spec.stimulus = numbered(o.rows);
  spec.arrays.push_back({"caption", {}, store::DType::str, {}, "", "caption"});
  store::StageWriter out(o.output.path, spec, run.write_options());
  for (const auto& unit : out.pending()) {
    std::vector<std::string> rows;
    for (std::int64_t i = 0; i < unit.count; ++i) rows.push_back(o.texts[static_cast<std::size_t>(unit.first + i) % o.texts.size()]);
    out.write_strings("caption", unit, rows);
  }
  out.publish(run.provenance());
}

struct ReadOptions {
  InputPath store;
  std::string ids;
  void describe(Describe& d) {
    d.positional("STORE", store, "a caption store");
    d.option("--ids-equal", ids, "FILE.safetensors:NAME (i64): the ids must be these");
  }
};

void read(const ReadOptions& o, cli::Run& run) {
  const store::StageReader in(o.store.path);
  if (!o.ids.empty()) {
    const auto colon = o.ids.rfind(':');
    const std::string bytes = read_file(o.ids.substr(0, colon));
    std::uint64_t header = 0;
    std::memcpy(&header, bytes.data(), 8);
    const Json entry = parse_json(bytes.substr(8, header), o.ids).at(o.ids.substr(colon + 1));
    const auto begin = entry["data_offsets"][0].get<std::size_t>();
    const auto got = in.array("ids").read<std::int64_t>();
    const auto shape = entry["shape"].get<store::Shape>();
    const auto columns = in.array("ids").shape().at(1);
    for (std::int64_t r = 0; r < shape.at(0); ++r)
      for (std::int64_t c = 0; c < columns; ++c) {
        std::int64_t want = 0;  // a shorter golden row is padded
        if (c < shape.at(1)) std::memcpy(&want, bytes.data() + 8 + header + begin + 8 * (r * shape[1] + c), 8);
        if (got.at(static_cast<std::size_t>(r * columns + c)) != want) throw data_error("row {} position {}: {} found, {} expected", r, c, got[static_cast<std::size_t>(r * columns + c)], want);
      }
    run.print("equal\n");
    return;
  }
  const auto texts = in.array("caption").read_strings();
  for (std::size_t i = 0; i < texts.size(); ++i) run.print(fmt::format("{} {}\n", in.stimulus()[i], texts[i]));
}

}  // namespace
ME2_TOOL("me2-test-captions", "Stores for the caption tests",
         {cli::verb("tokens", "write a token store", tokens), cli::verb("captions", "write a caption store", captions), cli::verb("read", "print captions", read)})
}  // namespace me2
