#include "scenes/labels.h"

#include <algorithm>
#include <cctype>
#include <vector>

#include "scenes/scene.h"

namespace me2::scenes {
namespace {

// Per background, the words that name it; of several that fit at a place the longest is taken.
const std::vector<std::vector<std::vector<std::string>>> kBackgroundWords{
    {{"blue", "sky"}, {"sky"}}, {{"green", "grass"}, {"grass"}}, {{"water"}}, {{"wall"}}, {{"checkered"}, {"checkerboard"}, {"checker"}}, {{"sand"}}, {{"night", "sky"}, {"night"}}, {{"snow"}}};

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out(1);
  for (const char c : text) {
    if (std::isalpha(static_cast<unsigned char>(c))) out.back() += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    else if (!out.back().empty()) out.emplace_back();
  }
  if (out.back().empty()) out.pop_back();
  return out;
}

int index_in(std::span<const std::string> names, const std::string& word) {
  const auto it = std::find(names.begin(), names.end(), word);
  return it == names.end() ? -1 : static_cast<int>(it - names.begin());
}

}  // namespace

Labels named_in(std::string_view caption) {
  Labels out;
  const auto words = words_of(caption);
  for (std::size_t i = 0; i < words.size();) {
    std::size_t longest = 0;
    int background = -1;
    for (std::size_t b = 0; b < kBackgroundWords.size(); ++b)
      for (const auto& phrase : kBackgroundWords[b])
        if (phrase.size() > longest && i + phrase.size() <= words.size() && std::equal(phrase.begin(), phrase.end(), words.begin() + static_cast<std::ptrdiff_t>(i)))
          longest = phrase.size(), background = static_cast<int>(b);
    if (longest) {
      if (out.background < 0) out.background = background;
      i += longest;
      continue;
    }
    if (out.category < 0) out.category = index_in(category_names(), words[i]);
    if (out.colour < 0) out.colour = index_in(colour_names(), words[i]);
    ++i;
  }
  return out;
}

std::string caption_of(const Labels& labels) {
  Scene scene;
  scene.object.category = labels.category, scene.object.colour = labels.colour, scene.background = labels.background;
  scene.object.radius = .28;
  return captions(scene, 0, 0).front();
}

}  // namespace me2::scenes
