// The Porter stemmer as NLTK ships it by default (mode NLTK_EXTENSIONS), which METEOR's second stage uses.
// Source: Porter 1980, "An algorithm for suffix stripping"; nltk 3.8.1 nltk/stem/porter.py.
#pragma once
#include <string>

namespace me2::text {
std::u32string porter_stem(std::u32string_view word);  // of the lower-cased word
}
