// The scores file against docs/scores-schema.json (the keywords that schema uses are checked here), and its other forms.
#include "report/scores.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/json.h"

namespace me2::report {
namespace {

bool has_type(const Json& value, const std::string& type) {
  if (type == "object") return value.is_object();
  if (type == "array") return value.is_array();
  if (type == "string") return value.is_string();
  if (type == "number") return value.is_number();
  if (type == "integer") return value.is_number_integer();
  if (type == "boolean") return value.is_boolean();
  return type == "null" && value.is_null();
}

std::string violation(const Json& value, const Json& schema, const Json& root, const std::string& where) {
  if (schema.contains("$ref")) return violation(value, root["$defs"][schema["$ref"].get<std::string>().substr(8)], root, where);
  if (schema.contains("type")) {
    bool fits = false;
    for (const auto& t : schema["type"].is_array() ? schema["type"] : Json::array({schema["type"]})) fits = fits || has_type(value, t);
    if (!fits) return where + ": type " + value.type_name();
  }
  if (schema.contains("minimum") && value.get<double>() < schema["minimum"].get<double>()) return where + ": too small";
  if (schema.contains("required"))
    for (const auto& key : schema["required"])
      if (!value.contains(key.get<std::string>())) return where + ": lacks " + key.get<std::string>();
  if (value.is_object())
    for (const auto& [key, member] : value.items()) {
      std::string found;
      if (schema.contains("properties") && schema["properties"].contains(key)) found = violation(member, schema["properties"][key], root, where + "." + key);
      else if (schema.contains("additionalProperties") && schema["additionalProperties"].is_object()) found = violation(member, schema["additionalProperties"], root, where + "." + key);
      else if (schema.contains("additionalProperties")) found = where + ": unknown member " + key;
      if (!found.empty()) return found;
    }
  if (value.is_array() && schema.contains("items"))
    for (const auto& member : value)
      if (auto found = violation(member, schema["items"], root, where + "[]"); !found.empty()) return found;
  return "";
}

Scores example() {
  Scores s;
  Score a;
  a.name = "pixcorr", a.value = 0.25, a.low = 0.2, a.high = 0.3, a.n = 2, a.per_image = {0.25, std::nan("")}, a.details["pool"] = 2;
  Score b;
  b.name = "swav", b.value = std::nan(""), b.low = b.high = std::nan(""), b.higher_is_better = false, b.note = "a, \"note\"", b.per_image = {0.5, 0.75};
  s.scores = {a, b};
  s.ids = {"17", "a,b"};
  s.notes = {"resized"};
  s.not_run = {{"clip", "needs --clip FILE"}};
  s.splits["near"] = {a};
  return s;
}

TEST(Scores, JsonFollowsItsSchema) {
  const Json schema = read_json_file(std::string(ME2_SOURCE_DIR) + "/docs/scores-schema.json");
  const Json json = Json::parse(scores_json(example(), Json::object()).dump());
  EXPECT_EQ(violation(json, schema, schema, "$"), "");
  EXPECT_TRUE(json["scores"]["swav"]["value"].is_null());
  Json broken = json;
  broken["scores"]["pixcorr"]["n"] = "two";
  EXPECT_NE(violation(broken, schema, schema, "$"), "");
  broken = json;
  broken["extra"] = 1;
  EXPECT_NE(violation(broken, schema, schema, "$"), "");
}

TEST(Scores, SeveralSubjectsFollowTheSchemaToo) {
  const Json schema = read_json_file(std::string(ME2_SOURCE_DIR) + "/docs/scores-schema.json");
  Scores s = example();
  s.subjects = {{"s1", example()}, {"s2", example()}};
  s.subjects[0].second.baselines["mean"] = s.scores;
  const Json json = Json::parse(scores_json(s, Json::object()).dump());
  EXPECT_EQ(violation(json, schema, schema, "$"), "");
  EXPECT_EQ(json["subjects"]["s1"]["scores"]["pixcorr"]["value"], .25);
  EXPECT_TRUE(json["subjects"]["s1"]["baselines"].contains("mean"));
  Json broken = json;
  broken["subjects"]["s1"].erase("ids");
  EXPECT_NE(violation(broken, schema, schema, "$"), "");
  EXPECT_NE(scores_csv(s).find("pixcorr,0.25,0.2,0.3,2,subject s2\n"), std::string::npos);
  EXPECT_NE(scores_table(s).find("\nsubject s1\n"), std::string::npos);
}

TEST(Scores, CsvQuotesAndLeavesUndefinedEmpty) {
  EXPECT_EQ(scores_csv(example()), "score,value,low,high,n,split\npixcorr,0.25,0.2,0.3,2,\nswav,,,,0,\npixcorr,0.25,0.2,0.3,2,near\n");
  EXPECT_EQ(per_image_csv(example()), "id,pixcorr,swav\n17,0.25,0.5\n\"a,b\",,0.75\n");
}

TEST(Scores, TheTableSaysWhatWasNotRun) { EXPECT_NE(scores_table(example()).find("clip                     not run: needs --clip FILE"), std::string::npos); }

}  // namespace
}  // namespace me2::report
