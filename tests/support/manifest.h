// Manifests: names and shapes of the official full-size checkpoints (tests/manifests/<name>.json, one "name": [sizes] per line).
//     nn::ShapeLister lister;
//     Backbone net(config, nn::Scope(lister).sub("backbone"));
//     test::expect_manifest(lister, "mindeye2_h4096_1subj", "backbone.");
#pragma once
#include <map>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/json.h"
#include "nn/scope.h"

namespace me2::test {

inline std::map<std::string, nn::Shape> manifest(const std::string& name) {
  std::map<std::string, nn::Shape> out;
  const Json json = read_json_file(std::string(ME2_SOURCE_DIR) + "/tests/manifests/" + name + ".json");
  for (const auto& [key, shape] : json.items()) out[key] = shape.get<nn::Shape>();
  return out;
}

// What `made` was asked for must be exactly the manifest's entries under `prefix`, less those starting with one of `unused`.
// `strip`: the prefix is not part of the names that were asked for.
inline void expect_manifest(const nn::ParamSource& made, const std::string& name, const std::string& prefix = "",
                            const std::vector<std::string>& unused = {}, bool strip = false) {
  std::map<std::string, nn::Shape> want, got;
  for (const auto& [key, shape] : manifest(name)) {
    bool skip = !key.starts_with(prefix);
    for (const auto& u : unused) skip = skip || key.starts_with(u);
    if (!skip) want[strip ? key.substr(prefix.size()) : key] = shape;
  }
  ASSERT_FALSE(want.empty()) << "nothing under \"" << prefix << "\" in " << name;
  for (const auto& named : made.made()) {
    EXPECT_FALSE(got.contains(named.name)) << named.name << " is asked for twice";
    got[named.name] = named.tensor.sizes().vec();
  }
  for (const auto& [key, shape] : want) {
    const auto it = got.find(key);
    if (it == got.end()) ADD_FAILURE() << name << ": nothing asks for " << key;
    else EXPECT_EQ(it->second, shape) << key;
  }
  for (const auto& [key, shape] : got) EXPECT_TRUE(want.contains(key)) << key << " is not in " << name;
}

}  // namespace me2::test
