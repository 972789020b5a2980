#include "cli/parse.h"

#include <algorithm>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "cli/help.h"
#include "cli/stdout.h"

namespace me2::cli {
namespace {

// An argument as an error message shows it.
std::string shown(const std::string& text) { return text.size() <= 80 ? text : text.substr(0, 77) + "..."; }

std::size_t distance(const std::string& a, const std::string& b) {  // Levenshtein
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row.back();
}

std::string suggestion(const std::string& typed, const std::vector<std::string>& known) {
  if (typed.size() > 40) return "";
  std::string best;
  std::size_t least = std::max<std::size_t>(2, typed.size() / 3) + 1;
  for (const auto& name : known)
    if (const auto d = typed.size() > 3 && name.rfind(typed, 0) == 0 ? 1 : distance(typed, name); d < least) least = d, best = name;
  return best.empty() ? "" : fmt::format(" (did you mean {}?)", best);
}

struct Bound {
  const Item* item;
  CLI::Option* option;  // null for a positional
  std::vector<std::string> words;
};

void bind(CLI::App& app, Bound& bound) {
  const Item& item = *bound.item;
  if (item.role == Item::Role::positional) return;
  if (item.role == Item::Role::flag) {
    bound.option = app.add_flag(item.name)->take_last();
    return;
  }
  // One value each time, so that `--metrics a,b STORE` leaves STORE alone.
  using Policy = CLI::MultiOptionPolicy;
  bound.option = app.add_option(item.name, bound.words)->type_name(item.type)->required(item.required);
  bound.option->expected(1)->allow_extra_args(false)->multi_option_policy(item.repeated ? Policy::TakeAll : Policy::Throw);
}

// Deals the positional words out: one to each name, what is left to the one that takes several, wherever it stands. CLI11 would give
// a repeated name everything, also what the names behind it need.
void deal(const std::vector<std::string>& words, std::vector<Bound>& bound) {
  std::vector<Bound*> names;
  std::size_t needed = 0;
  bool several = false;
  for (auto& b : bound)
    if (b.item->role == Item::Role::positional) {
      names.push_back(&b);
      needed += b.item->required;
      several |= b.item->repeated;
    }
  std::size_t spare = words.size() > needed ? words.size() - needed : 0, next = 0;
  for (Bound* name : names) {
    std::size_t take = name->item->required;
    if (name->item->repeated) take += spare;
    else if (!name->item->required && spare > 0 && !several) take = 1;
    if (next + take > words.size()) throw usage_error("{} is required", name->item->name);
    if (!name->item->required || name->item->repeated) spare -= take - name->item->required;
    name->words.assign(words.begin() + static_cast<std::ptrdiff_t>(next), words.begin() + static_cast<std::ptrdiff_t>(next + take));
    next += take;
  }
  if (next < words.size()) throw usage_error("one argument too many: \"{}\"", shown(words[next]));
}

const Verb& find_verb(const Tool& tool, const std::string& name) {
  std::vector<std::string> names;
  for (const auto& verb : tool.verbs) {
    if (verb.name == name) return verb;
    names.push_back(verb.name);
  }
  throw usage_error("there is no verb \"{}\"; one of {} expected{}", shown(name), fmt::join(names, ", "), suggestion(name, names));
}

[[noreturn]] void throw_unknown(const std::string& word, const std::vector<Bound>& bound) {
  std::vector<std::string> known;
  for (const auto& b : bound)
    if (b.item->role != Item::Role::positional) known.push_back(b.item->name.substr(0, b.item->name.find(',')));
  const auto name = word.substr(0, word.find('='));
  throw usage_error("there is no option \"{}\"{}", shown(name), suggestion(name, known));
}

// What stands before "--", and the plain words behind it.
std::pair<std::vector<std::string>, std::vector<std::string>> split_at_dashes(const std::vector<std::string>& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  if (dashes == words.end()) return {words, {}};
  return {{words.begin(), dashes}, {dashes + 1, words.end()}};
}

void check_spelling(const std::vector<std::string>& words) {
  for (const auto& word : words) {
    if (word == "--") return;
    if (word.size() > 3 && word.rfind("--", 0) == 0 && word.find('=') == word.size() - 1)
      throw usage_error("{} has no value behind the =", shown(word.substr(0, word.size() - 1)));
  }
}

bool asks_for(const std::vector<std::string>& words, std::initializer_list<const char*> names) {
  const auto end = std::find(words.begin(), words.end(), "--");
  return std::any_of(words.begin(), end, [&](const std::string& word) { return std::find(names.begin(), names.end(), word) != names.end(); });
}

void fill(std::vector<Bound>& bound) {
  for (auto& b : bound) {
    if (b.option && b.option->count() > 0 && b.item->role == Item::Role::flag) b.item->set(b.option->results());
    if (b.words.empty()) continue;
    if (b.item->access != Item::Access::value)
      for (const auto& word : b.words)
        if (word.empty()) throw usage_error("{}: an empty path", b.item->name);
    b.item->set(b.words);
  }
}

// CLI11's sentences end without saying where more can be read, and some run over several lines.
std::string sentence(const CLI::ParseError& e) { return shown(std::string(e.what()).substr(0, std::string(e.what()).find('\n'))); }

}  // namespace

std::optional<Parsed> parse(const Tool& tool, const std::vector<std::string>& arguments) {
  const auto print = [](const std::string& text) {
    write_stdout(text);
    return std::nullopt;
  };
  if (arguments.empty()) {
    std::vector<std::string> names;
    for (const auto& verb : tool.verbs) names.push_back(verb.name);
    throw usage_error("a verb is expected: {} (see {} --help)", fmt::join(names, ", "), tool.name);
  }
  const std::string& first = arguments.front();
  if (first == "--help" || first == "-h") return print(tool_help(tool));
  if (first == "--version") return print(version_text(tool));
  if (first == "--help-markdown") return print(tool_markdown(tool));
  if (first == "--help-common") return print(common_markdown());
  if (first == "--completion") return print(completion(tool, arguments.size() > 1 ? arguments[1] : ""));
  if (first.rfind("-", 0) == 0) throw usage_error("a verb comes first, \"{}\" given (see {} --help)", shown(first), tool.name);

  const Verb& verb = find_verb(tool, first);
  const std::vector<std::string> words(arguments.begin() + 1, arguments.end());
  if (asks_for(words, {"--help", "-h"})) return print(verb_help(tool, verb));
  if (asks_for(words, {"--version"})) return print(version_text(tool));
  check_spelling(words);

  Parsed parsed{verb.name, verb.make(), {}};
  Describe common;
  parsed.common.describe(common);
  CLI::App app;
  app.set_help_flag();
  std::vector<Bound> bound;
  for (const auto* described : {&parsed.instance->described, &common})
    for (const auto& item : described->items()) bound.push_back({&item, nullptr, {}});
  for (auto& b : bound) bind(app, b);
  app.allow_extras();  // the positionals, and options nobody knows
  const auto [before, behind] = split_at_dashes(words);
  const auto see = fmt::format("(see {} {} --help)", tool.name, verb.name);
  std::vector<std::string> positionals;
  const auto leftovers = [&] {
    for (auto& word : app.remaining()) {
      if (word.size() > 1 && word[0] == '-') throw_unknown(word, bound);
      positionals.push_back(word);
    }
  };
  try {
    app.parse(std::vector<std::string>(before.rbegin(), before.rend()));
  } catch (const CLI::ArgumentMismatch& e) {
    for (const auto& b : bound)
      if (b.option && !b.item->repeated && b.option->count() > 1) throw usage_error("{} is given {} times", b.item->name, b.option->count());
    throw usage_error("{} {}", sentence(e), see);
  } catch (const CLI::ParseError& e) {
    leftovers();  // a misspelt option rather than what it left missing
    throw usage_error("{} {}", sentence(e), see);
  }
  leftovers();
  positionals.insert(positionals.end(), behind.begin(), behind.end());
  deal(positionals, bound);
  fill(bound);
  parsed.common.check();
  return parsed;
}

}  // namespace me2::cli
