// Golden tensors to stores and back, for the Bats files. A tensor is FILE.safetensors:NAME, f32; NAME@K takes entry K of axis 1,
// NAME@flat joins axes 0 and 1.
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "cli/tool.h"
#include "store/zarr.h"

namespace me2 {
namespace {

struct Values {
  store::Shape shape;
  std::vector<float> data;
};

Values tensor(const std::string& text) {
  const auto colon = text.rfind(':');
  const std::string file = text.substr(0, colon);
  std::string name = text.substr(colon + 1), pick;
  if (const auto at = name.find('@'); at != std::string::npos) {
    pick = name.substr(at + 1);
    name.resize(at);
  }
  const std::string bytes = read_file(file);
  std::uint64_t header = 0;
  std::memcpy(&header, bytes.data(), 8);
  const Json entry = parse_json(bytes.substr(8, header), file).at(name);
  Values whole{entry["shape"].get<store::Shape>(), {}};
  const auto begin = entry["data_offsets"][0].get<std::size_t>(), end = entry["data_offsets"][1].get<std::size_t>();
  whole.data.resize((end - begin) / sizeof(float));
  std::memcpy(whole.data.data(), bytes.data() + 8 + header + begin, end - begin);
  if (pick.empty()) return whole;
  Values part;
  const std::int64_t rows = whole.shape.at(0), second = whole.shape.at(1), inner = static_cast<std::int64_t>(whole.data.size()) / (rows * second);
  part.shape.assign(whole.shape.begin() + 2, whole.shape.end());
  if (pick == "flat") {
    part.shape.insert(part.shape.begin(), rows * second);
    part.data = whole.data;
  } else {
    part.shape.insert(part.shape.begin(), rows);
    for (std::int64_t r = 0; r < rows; ++r) {
      const auto from = whole.data.begin() + (r * second + std::stol(pick)) * inner;
      part.data.insert(part.data.end(), from, from + inner);
    }
  }
  return part;
}

struct MakeOptions {
  OutputPath output;
  std::vector<std::string> arrays;
  std::vector<std::int64_t> stimulus, split, repeat;
  std::int64_t rows = 0;
  void describe(Describe& d) {
    d.positional("OUTPUT", output, "the store");
    d.positional("ARRAYS", arrays, "NAME=FILE.safetensors:TENSOR");
    d.option("--stimulus", stimulus, "one id for each row; none: no such array");
    d.option("--split", split, "likewise");
    d.option("--repeat", repeat, "likewise");
    d.option("--rows", rows, "so many rows: the first ones, and when that is more than there are, from the first again");
  }
};

void make(const MakeOptions& o, cli::Run&) {
  store::Group group = store::Group::create(o.output.path);
  const auto add = [&](const std::string& name, const store::Shape& shape, store::DType dtype) {
    store::ArraySpec spec;
    spec.shape = shape;
    spec.dtype = dtype;
    return group.create_array(name, spec);
  };
  for (const auto& [name, ids] : {std::pair{"stimulus", &o.stimulus}, {"split", &o.split}, {"repeat", &o.repeat}})
    if (!ids->empty()) add(name, {static_cast<std::int64_t>(ids->size())}, store::DType::i4).write(ids->data());
  for (const auto& word : o.arrays) {
    const auto equals = word.find('=');
    Values values = tensor(word.substr(equals + 1));
    if (o.rows > 0) {
      const std::size_t size = values.data.size(), row = size / static_cast<std::size_t>(values.shape[0]);
      values.shape[0] = o.rows;
      for (std::size_t i = size; i < row * static_cast<std::size_t>(o.rows); ++i) values.data.push_back(values.data[i - size]);
    }
    add(word.substr(0, equals), values.shape, store::DType::f4).write(values.data.data());
  }
}

struct EqualOptions {
  InputPath store;
  std::string array, expected;
  double tolerance = 0;
  std::int64_t first = 0;
  void describe(Describe& d) {
    d.positional("STORE", store, "a store");
    d.positional("ARRAY", array, "its array");
    d.positional("TENSOR", expected, "FILE.safetensors:TENSOR");
    d.required("--tolerance", tolerance, "largest absolute difference allowed");
    d.option("--first", first, "compare rows of the tensor from here on with all of the array's");
  }
};

void equal(const EqualOptions& o, cli::Run& run) {
  const store::Array array = store::Group::open(o.store.path).array(o.array);
  const Values want = tensor(o.expected);
  const auto got = array.read<float>();
  const std::int64_t inner = static_cast<std::int64_t>(want.data.size()) / want.shape[0];
  const auto from = static_cast<std::size_t>(o.first * inner);
  if (got.empty() || array.size() / array.shape()[0] != inner || from + got.size() > want.data.size())
    throw data_error("{}: shape [{}] against [{}]", array.path(), fmt::join(array.shape(), ", "), fmt::join(want.shape, ", "));
  double worst = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double difference = std::abs(static_cast<double>(got[i]) - want.data[from + i]);
    if (!(difference <= worst)) worst = difference;  // NaN stays
  }
  run.print(fmt::format("{}\n", worst));
  if (!(worst <= o.tolerance)) throw data_error("{}: differs by up to {}", array.path(), worst);
}

struct SameOptions {
  InputPath a, b;
  std::vector<std::string> arrays;
  std::int64_t first = 0;
  void describe(Describe& d) {
    d.positional("A", a, "a store");
    d.positional("B", b, "another");
    d.option("--array", arrays, "these arrays only, of those both have");
    d.option("--first", first, "A's rows are those of B from here on; B may have more");
  }
};

void same(const SameOptions& o, cli::Run&) {
  const store::Group a = store::Group::open(o.a.path), b = store::Group::open(o.b.path);
  const auto names = o.arrays.empty() ? a.array_names() : o.arrays;
  if (o.arrays.empty() && names != b.array_names()) throw data_error("{} and {} hold different arrays", o.a.path, o.b.path);
  if (names.empty()) throw data_error("{} holds no array", o.a.path);
  for (const auto& name : names) {
    const store::Array one = a.array(name), other = b.array(name);
    store::Box box{store::Shape(other.shape().size(), 0), one.shape()};
    box.start[0] = o.first;
    if (one.dtype() != other.dtype() || one.shape().size() != other.shape().size() || o.first + one.shape()[0] > other.shape()[0] ||
        (o.arrays.empty() && one.shape() != other.shape()))
      throw data_error("{}: not of the shape of {}", one.path(), other.path());
    std::vector<char> x(static_cast<std::size_t>(one.size()) * store::item_size(one.dtype())), y(x.size());
    one.read_bytes({store::Shape(one.shape().size(), 0), one.shape()}, one.dtype(), x.data());
    other.read_bytes(box, one.dtype(), y.data());
    if (x != y) throw data_error("{}: not the bytes of {}", one.path(), other.path());
  }
}

struct MeanOptions {
  InputPath a, b;
  std::string array;
  std::int64_t of = 1;
  double tolerance = 1e-6;
  void describe(Describe& d) {
    d.positional("A", a, "a store");
    d.positional("B", b, "another");
    d.required("--array", array, "the array compared");
    d.required("--of", of, "so many neighbouring rows of A have their mean in a row of B");
    d.option("--tolerance", tolerance, "largest absolute difference allowed");
  }
};

void mean(const MeanOptions& o, cli::Run&) {
  const store::Array from = store::Group::open(o.a.path).array(o.array), to = store::Group::open(o.b.path).array(o.array);
  if (from.shape()[0] != to.shape()[0] * o.of) throw data_error("{}: {} rows, {} in {}", from.path(), from.shape()[0], to.shape()[0], to.path());
  const auto many = from.read<float>(), one = to.read<float>();
  const std::size_t row = one.size() / static_cast<std::size_t>(to.shape()[0]), of = static_cast<std::size_t>(o.of);
  for (std::size_t i = 0; i < one.size(); ++i) {
    double sum = 0;
    for (std::size_t k = 0; k < of; ++k) sum += many[(i / row * of + k) * row + i % row];
    if (!(std::abs(sum / static_cast<double>(of) - one[i]) <= o.tolerance)) throw data_error("{}: value {} is {}, not {}", to.path(), i, one[i], sum / static_cast<double>(of));
  }
}

}  // namespace
ME2_TOOL("me2-test-store", "Golden tensors to stores and back", {cli::verb("make", "write a store", make), cli::verb("equal", "compare an array", equal),
          cli::verb("same", "compare two stores bit for bit", same), cli::verb("mean", "compare means of rows", mean)})
}  // namespace me2
