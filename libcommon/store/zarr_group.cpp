// Group: the tree of a store. Consolidated metadata is written for others; reading always asks the nodes themselves.
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "base/error.h"
#include "base/json.h"
#include "store/zarr_impl.h"

namespace me2::store {

struct Group::Impl {
  std::shared_ptr<const StoreFiles> files;
  std::string relative;  // "" at the root
  std::string shown;
  int format = 3;
  bool root_array = false;  // the store's root is an array: the group holds it under the name ""
  Json attributes = Json::object();

  std::string below(const std::string& name) const {
    if (name.empty()) return relative;
    return relative.empty() ? name : relative + "/" + name;
  }
  std::string file(const std::string& node, const char* name) const { return node.empty() ? name : node + "/" + name; }
};

namespace {

enum class Kind { none, array, group };

struct Node {
  Kind kind = Kind::none;
  int format = 3;
  std::string text;  // zarr.json, .zarray or .zgroup
};

Node find_node(const StoreFiles& files, const std::string& relative) {
  const std::string prefix = relative.empty() ? "" : relative + "/";
  if (auto text = files.read(prefix + "zarr.json")) {
    const bool array = v3_node_type(*text, files.shown(relative)) == "array";
    return {array ? Kind::array : Kind::group, 3, std::move(*text)};
  }
  if (auto text = files.read(prefix + ".zarray")) return {Kind::array, 2, std::move(*text)};
  if (auto text = files.read(prefix + ".zgroup")) return {Kind::group, 2, std::move(*text)};
  return {};
}

Json parse_v2_group(const std::string& text, const std::optional<std::string>& attributes, const std::string& where) {
  const Json json = parse_json(text, where + "/.zgroup");
  if (!json.is_object() || !json.contains("zarr_format")) throw data_error("{}/.zgroup: member zarr_format is missing", where);
  if (json["zarr_format"] != 2) throw data_error("{}/.zgroup: zarr_format is {}, 2 expected", where, json["zarr_format"].dump());
  if (!attributes) return Json::object();
  Json out = parse_json(*attributes, where + "/.zattrs");
  if (!out.is_object()) throw data_error("{}/.zattrs: a JSON object expected", where);
  return out;
}

std::string dump_v3_group(const Json& attributes, const Json* consolidated) {
  Json json{{"zarr_format", 3}, {"node_type", "group"}, {"attributes", attributes}};
  if (consolidated) json["consolidated_metadata"] = {{"kind", "inline"}, {"must_understand", false}, {"metadata", *consolidated}};
  return json.dump(2) + "\n";
}

void write_group(const StoreFiles& files, const std::string& relative, int format, const Json& attributes) {
  const std::string prefix = relative.empty() ? "" : relative + "/";
  if (format == 3) {
    replace_file(files, prefix + "zarr.json", dump_v3_group(attributes, nullptr));
  } else {
    replace_file(files, prefix + ".zattrs", attributes.dump(2) + "\n");
    replace_file(files, prefix + ".zgroup", "{\n  \"zarr_format\": 2\n}\n");
  }
}

std::string listed(const std::vector<std::string>& names) {
  return names.empty() ? "no arrays" : fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

Group Group::open(const std::string& path) {
  auto impl = std::make_shared<Impl>();
  impl->files = std::make_shared<const StoreFiles>(path);
  impl->shown = impl->files->root();
  const Node node = find_node(*impl->files, "");
  if (node.kind == Kind::none) throw data_error("{}: not a Zarr store: no zarr.json, .zgroup or .zarray there", path);
  impl->format = node.format;
  impl->root_array = node.kind == Kind::array;
  if (node.kind == Kind::group)
    impl->attributes = node.format == 3 ? parse_v3_group(node.text, impl->shown) : parse_v2_group(node.text, impl->files->read(".zattrs"), impl->shown);
  return Group(impl);
}

Group Group::create(const std::string& path, int zarr_format, const Json* attributes) {
  if (zarr_format != 2 && zarr_format != 3) throw usage_error("Zarr format {}: 2 or 3 expected", zarr_format);
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error) {
    const bool full = error.value() == ENOSPC || error.value() == EDQUOT || error.value() == EIO;
    throw Error(full ? Exit::io : Exit::cant_create, fmt::format("{}: cannot create: {}", path, error.message()));
  }
  auto impl = std::make_shared<Impl>();
  impl->files = std::make_shared<const StoreFiles>(path);
  impl->shown = impl->files->root();
  impl->format = zarr_format;
  if (attributes) impl->attributes = *attributes;
  if (find_node(*impl->files, "").kind != Kind::none)
    throw Error(Exit::cant_create, fmt::format("{}: a Zarr store is already there", path));
  write_group(*impl->files, "", zarr_format, impl->attributes);
  return Group(impl);
}

const std::string& Group::path() const { return impl_->shown; }
int Group::zarr_format() const { return impl_->format; }
const Json& Group::attributes() const { return impl_->attributes; }

void Group::set_attributes(const Json& attributes) {
  const std::string metadata = impl_->format == 3 ? impl_->file(impl_->relative, "zarr.json") : impl_->file(impl_->relative, ".zmetadata");
  const std::optional<std::string> before = impl_->files->read(metadata);
  impl_->attributes = attributes;
  write_group(*impl_->files, impl_->relative, impl_->format, attributes);
  const bool consolidated = before && (impl_->format == 2 || parse_json(*before, metadata).contains("consolidated_metadata"));
  if (consolidated) consolidate();
}

std::vector<std::string> Group::array_names() const {
  if (impl_->root_array) return {""};
  std::vector<std::string> out;
  for (const std::string& name : impl_->files->folders(impl_->relative))
    if (find_node(*impl_->files, impl_->below(name)).kind == Kind::array) out.push_back(name);
  return out;
}

std::vector<std::string> Group::group_names() const {
  if (impl_->root_array) return {};
  std::vector<std::string> out;
  for (const std::string& name : impl_->files->folders(impl_->relative)) {
    const std::string node = impl_->below(name);
    const Kind kind = find_node(*impl_->files, node).kind;
    // A folder without metadata counts as a group when something below it is a node.
    if (kind == Kind::group || (kind == Kind::none && !impl_->files->folders(node).empty())) out.push_back(name);
  }
  return out;
}

bool Group::has_array(const std::string& name) const {
  if (impl_->root_array) return name.empty();
  check_node_path(impl_->shown, name);
  return find_node(*impl_->files, impl_->below(name)).kind == Kind::array;
}

Array Group::array(const std::string& name) const {
  if (!(impl_->root_array && name.empty())) check_node_path(impl_->shown, name);
  const std::string relative = impl_->below(name);
  const Node node = find_node(*impl_->files, relative);
  const std::string shown = impl_->files->shown(relative);
  if (node.kind == Kind::group) throw data_error("{} is a group, an array was expected", shown);
  if (node.kind == Kind::none) throw data_error("{}: no array \"{}\"; the store holds {}", impl_->shown, name, listed(array_names()));
  auto array = std::make_shared<Array::Impl>();
  array->files = impl_->files;
  array->relative = relative;
  array->shown = shown;
  array->meta = node.format == 3 ? parse_v3(node.text, shown)
                                 : parse_v2(node.text, impl_->files->read(impl_->file(relative, ".zattrs")), shown);
  return Array(array);
}

Group Group::group(const std::string& name) const {
  check_node_path(impl_->shown, name);
  auto impl = std::make_shared<Impl>();
  impl->files = impl_->files;
  impl->relative = impl_->below(name);
  impl->shown = impl_->files->shown(impl->relative);
  const Node node = find_node(*impl->files, impl->relative);
  if (node.kind == Kind::array) throw data_error("{} is an array, a group was expected", impl->shown);
  impl->format = node.kind == Kind::none ? impl_->format : node.format;
  if (node.kind == Kind::group)
    impl->attributes = node.format == 3 ? parse_v3_group(node.text, impl->shown)
                                        : parse_v2_group(node.text, impl->files->read(impl->file(impl->relative, ".zattrs")), impl->shown);
  else if (impl->files->folders(impl->relative).empty())
    throw data_error("{}: no group \"{}\"", impl_->shown, name);
  return Group(impl);
}

Group Group::create_group(const std::string& name) {
  check_node_path(impl_->shown, name);
  auto impl = std::make_shared<Impl>();
  impl->files = impl_->files;
  impl->format = impl_->format;
  for (std::size_t at = 0; at <= name.size();) {  // each missing group on the way
    const std::size_t end = std::min(name.find('/', at), name.size());
    impl->relative = impl_->below(name.substr(0, end));
    impl->shown = impl->files->shown(impl->relative);
    const Kind kind = find_node(*impl->files, impl->relative).kind;
    if (kind == Kind::array) throw data_error("{} is an array, a group was expected", impl->shown);
    if (kind == Kind::none) write_group(*impl->files, impl->relative, impl->format, Json::object());
    at = end + 1;
  }
  if (const Node node = find_node(*impl->files, impl->relative); node.kind == Kind::group) return group(name);
  return Group(impl);
}

Array Group::create_array(const std::string& name, const ArraySpec& spec) {
  check_node_path(impl_->shown, name);
  if (const std::size_t slash = name.rfind('/'); slash != std::string::npos) create_group(name.substr(0, slash));
  auto array = std::make_shared<Array::Impl>();
  array->files = impl_->files;
  array->relative = impl_->below(name);
  array->shown = impl_->files->shown(array->relative);
  if (find_node(*impl_->files, array->relative).kind != Kind::none)
    throw Error(Exit::cant_create, fmt::format("{}: already there", array->shown));
  array->meta = meta_of(spec, impl_->format, array->shown);
  if (impl_->format == 3) {
    replace_file(*impl_->files, array->relative + "/zarr.json", dump_v3(array->meta));
  } else {
    replace_file(*impl_->files, array->relative + "/.zattrs", dump_v2_attributes(array->meta));
    replace_file(*impl_->files, array->relative + "/.zarray", dump_v2(array->meta));
  }
  return Array(array);
}

namespace {

void collect(const StoreFiles& files, const std::string& base, const std::string& relative, int format, Json& metadata) {
  for (const std::string& name : files.folders(relative)) {
    const std::string node = relative.empty() ? name : relative + "/" + name;
    const std::string key = node.substr(base.empty() ? 0 : base.size() + 1);
    const Node found = find_node(files, node);
    if (found.kind == Kind::none || found.format != format) continue;
    if (format == 3) {
      Json json = parse_json(found.text, files.shown(node));
      json.erase("consolidated_metadata");
      metadata[key] = std::move(json);
    } else {
      metadata[key + (found.kind == Kind::array ? "/.zarray" : "/.zgroup")] = parse_json(found.text, files.shown(node));
      if (const auto text = files.read(node + "/.zattrs")) metadata[key + "/.zattrs"] = parse_json(*text, files.shown(node) + "/.zattrs");
    }
    if (found.kind == Kind::group) collect(files, base, node, format, metadata);
  }
}

}  // namespace

void Group::consolidate() {
  Json metadata = Json::object();
  if (impl_->format == 3) {
    collect(*impl_->files, impl_->relative, impl_->relative, 3, metadata);
    replace_file(*impl_->files, impl_->file(impl_->relative, "zarr.json"), dump_v3_group(impl_->attributes, &metadata));
    return;
  }
  metadata[".zgroup"] = {{"zarr_format", 2}};
  metadata[".zattrs"] = impl_->attributes;
  collect(*impl_->files, impl_->relative, impl_->relative, 2, metadata);
  const Json json{{"zarr_consolidated_format", 1}, {"metadata", metadata}};
  replace_file(*impl_->files, impl_->file(impl_->relative, ".zmetadata"), json.dump(2) + "\n");
}

}  // namespace me2::store
