#include "cli/help.h"

#include <algorithm>

#include "base/build_info.h"
#include "base/error.h"

namespace me2::cli {
namespace {

constexpr std::size_t kWidth = 100;

std::vector<Item> common_items() {
  static CommonOptions options;  // the items read their defaults from it
  Describe described;
  options.describe(described);
  return described.items();
}

std::string joined(const std::vector<std::string>& words, const std::string& between) { return fmt::format("{}", fmt::join(words, between)); }

std::string upper(std::string text) {
  for (char& c : text) c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  return text;
}

// "--quiet,-q" -> "-q, --quiet"
std::string spelled(const std::string& name) {
  const auto comma = name.find(',');
  return comma == std::string::npos ? name : name.substr(comma + 1) + ", " + name.substr(0, comma);
}

std::string left_column(const Item& item) {
  if (item.role == Item::Role::positional) return item.name + (item.repeated ? "..." : "");
  std::string text = spelled(item.name);
  if (item.role != Item::Role::flag) text += " " + item.type + (item.repeated ? ",..." : "");
  return text;
}

std::string default_text(const Item& item) {
  if (item.required || item.role == Item::Role::flag) return "";
  return joined(item.get(), ",");
}

std::string right_column(const Item& item) {
  std::string text = item.help;
  if (item.role == Item::Role::positional && !item.choices.empty()) text += " " + item.type;
  if (item.role == Item::Role::positional && !item.required) text += " (optional)";
  if (item.role != Item::Role::positional && item.required) text += " (required)";
  if (const auto value = default_text(item); !value.empty()) text += " [" + value + "]";
  return text;
}

// Left column, then the text wrapped in a column of its own.
std::string row(const std::string& left, const std::string& right, std::size_t indent) {
  std::string out = "  " + left, line;
  const auto flush = [&] {
    out += line + "\n";
    line.clear();
  };
  if (out.size() + 2 > indent) out += "\n" + std::string(indent, ' ');
  else out += std::string(indent - out.size(), ' ');
  for (std::size_t start = 0; start < right.size();) {
    const auto end = std::min(right.find(' ', start), right.size());
    const auto word = right.substr(start, end - start);
    if (!line.empty() && indent + line.size() + 1 + word.size() > kWidth) {
      flush();
      out += std::string(indent, ' ');
    }
    line += (line.empty() ? "" : " ") + word;
    start = end + 1;
  }
  flush();
  return out;
}

std::string rows(const std::vector<Item>& items) {
  std::size_t indent = 0;
  for (const auto& item : items) indent = std::max(indent, left_column(item).size() + 4);
  indent = std::min<std::size_t>(indent, 32);
  std::string out;
  for (const auto& item : items) out += row(left_column(item), right_column(item), indent);
  return out;
}

std::vector<Item> of_role(const std::vector<Item>& items, bool positional) {
  std::vector<Item> out;
  for (const auto& item : items)
    if ((item.role == Item::Role::positional) == positional) out.push_back(item);
  return out;
}

std::string usage_line(const Tool& tool, const Verb& verb, const std::vector<Item>& items) {
  std::string line = tool.name + " " + verb.name;
  for (const auto& item : items)
    if (item.role != Item::Role::positional && item.required) line += " " + item.name + " " + (item.choices.empty() ? upper(item.name.substr(2)) : item.type);
  line += " [OPTIONS]";
  for (const auto& item : items)
    if (item.role == Item::Role::positional) line += item.required ? " " + left_column(item) : " [" + left_column(item) + "]";
  return line;
}

std::string cell(std::string text) {  // of a Markdown table
  for (std::size_t at = 0; (at = text.find('|', at)) != std::string::npos; at += 2) text.insert(at, "\\");
  return text;
}

std::string code(const std::string& text) { return text.empty() ? "" : "`" + cell(text) + "`"; }

std::string table(const std::vector<Item>& items) {
  std::string out = "| option | value | default | meaning |\n|---|---|---|---|\n";
  for (const auto& item : items)
    out += fmt::format("| {} | {} | {} | {} |\n", code(spelled(item.name)),
                       item.role == Item::Role::flag ? "" : code(item.type) + (item.repeated ? ", several" : ""),
                       item.required ? "required" : code(default_text(item)), cell(item.help));
  return out;
}

std::string capital(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 'a' + 'A');
  return text;
}

}  // namespace

std::string tool_help(const Tool& tool) {
  std::string out = fmt::format("{}: {}\n\nusage: {} VERB [OPTIONS] ARGUMENTS\n\nVerbs:\n", tool.name, tool.summary, tool.name);
  std::size_t indent = 0;
  for (const auto& verb : tool.verbs) indent = std::max(indent, verb.name.size() + 4);
  for (const auto& verb : tool.verbs) out += row(verb.name, verb.summary, indent);
  out += fmt::format("\n{} VERB --help shows a verb's arguments and options.\n", tool.name);
  out += row("--version", "version and commit", 25) + row("--completion SHELL", "completion for bash, zsh or fish, to be sourced", 25);
  return out;
}

std::string verb_help(const Tool& tool, const Verb& verb) {
  const auto instance = verb.make();
  const auto& items = instance->described.items();
  const auto arguments = of_role(items, true), options = of_role(items, false);
  std::string out = fmt::format("{} {}: {}\n\nusage: {}\n", tool.name, verb.name, verb.summary, usage_line(tool, verb, items));
  if (!arguments.empty()) out += "\nArguments:\n" + rows(arguments);
  if (!options.empty()) out += "\nOptions:\n" + rows(options);
  out += "\nCommon options:\n" + rows(common_items()) + row("-h, --help", "this text", 14) + row("--version", "version and commit", 14);
  const bool pipes = std::any_of(items.begin(), items.end(), [](const Item& i) { return i.role == Item::Role::positional && i.access != Item::Access::value; });
  if (pipes) out += "\n- as an output writes a temporary store and prints its path; - as an input reads that path from stdin.\n";
  return out;
}

std::string version_text(const Tool& tool) { return fmt::format("{} {} (commit {})\n", tool.name, version(), git_commit()); }

std::string tool_markdown(const Tool& tool) {
  std::string out = fmt::format("# {}\n\n{}.\n\nMade by `{} --help-markdown`. Every verb also takes the [common options](../common-options.md).\n", tool.name,
                                tool.summary, tool.name);
  for (const auto& verb : tool.verbs) {
    const auto instance = verb.make();
    const auto& items = instance->described.items();
    const auto arguments = of_role(items, true), options = of_role(items, false);
    out += fmt::format("\n## {} {}\n\n{}.\n\n    {}\n", tool.name, verb.name, capital(verb.summary), usage_line(tool, verb, items));
    if (!arguments.empty()) {
      out += "\n| argument | meaning |\n|---|---|\n";
      for (const auto& item : arguments) out += fmt::format("| {} | {} |\n", code(left_column(item)), cell(right_column(item)));
    }
    if (!options.empty()) out += "\n" + table(options);
  }
  return out;
}

std::string common_markdown() { return table(common_items()); }

namespace {

std::vector<std::string> long_names(const std::vector<Item>& items) {
  std::vector<std::string> out;
  for (const auto& item : items)
    if (item.role != Item::Role::positional) out.push_back(item.name.substr(0, item.name.find(',')));
  return out;
}

std::vector<Item> with_common(const Verb& verb, std::shared_ptr<Verb::Instance>& keep) {
  keep = verb.make();
  auto items = keep->described.items();
  for (auto& item : common_items()) items.push_back(item);
  return items;
}

std::string quoted(std::string text) {  // for single quotes of any of the shells
  std::replace(text.begin(), text.end(), '\'', ' ');
  return text;
}

std::string bash_completion(const Tool& tool) {
  std::string function = "_" + tool.name, verbs;
  std::replace(function.begin(), function.end(), '-', '_');
  std::string cases, choices;
  for (const auto& verb : tool.verbs) {
    std::shared_ptr<Verb::Instance> keep;
    const auto items = with_common(verb, keep);
    verbs += (verbs.empty() ? "" : " ") + verb.name;
    cases += fmt::format("    {}) options='{} --help' ;;\n", verb.name, joined(long_names(items), " "));
    for (const auto& item : items)
      if (!item.choices.empty() && item.role != Item::Role::positional)
        choices += fmt::format("    {}:{}) COMPREPLY=($(compgen -W '{}' -- \"$word\")); return ;;\n", verb.name,
                               item.name.substr(0, item.name.find(',')), joined(item.choices, " "));
  }
  return fmt::format(R"({0}() {{
  local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}} options=
  if ((COMP_CWORD == 1)); then COMPREPLY=($(compgen -W '{1} --help --version --completion' -- "$word")); return; fi
  case $verb:$before in
{2}  esac
  case $verb in
{3}  esac
  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "$options" -- "$word")); else COMPREPLY=($(compgen -f -- "$word")); fi
}}
complete -o filenames -F {0} {4}
)", function, verbs, choices, cases, tool.name);
}

std::string zsh_completion(const Tool& tool) {
  std::string function = "_" + tool.name, verbs, cases;
  std::replace(function.begin(), function.end(), '-', '_');
  for (const auto& verb : tool.verbs) {
    std::shared_ptr<Verb::Instance> keep;
    verbs += fmt::format(" '{}:{}'", verb.name, quoted(verb.summary));
    std::string specs;
    for (const auto& item : with_common(verb, keep)) {
      if (item.role == Item::Role::positional) continue;
      std::string help = quoted(item.help);
      for (const char c : {'[', ']', ':'}) std::replace(help.begin(), help.end(), c, ' ');
      const std::string values = item.role == Item::Role::flag ? ""
                                 : item.choices.empty()        ? (item.access == Item::Access::value ? ":value:" : ":path:_files")
                                                               : ":value:(" + joined(item.choices, " ") + ")";
      specs += fmt::format(" '{}[{}]{}'", item.name.substr(0, item.name.find(',')), help, values);
    }
    cases += fmt::format("    {}) _arguments{} '*:path:_files' ;;\n", verb.name, specs);
  }
  return fmt::format(R"(#compdef {4}
{0}() {{
  local -a verbs=({1})
  if ((CURRENT == 2)); then _describe verb verbs; return; fi
  local verb=${{words[2]}}
  words=("${{words[1]}}" "${{(@)words[3,-1]}}"); ((CURRENT--))
  case $verb in
{2}  esac
}}
{3} {0} {4}
)", function, verbs, cases, "compdef", tool.name);
}

std::string fish_completion(const Tool& tool) {
  std::string out;
  for (const auto& verb : tool.verbs) {
    std::shared_ptr<Verb::Instance> keep;
    out += fmt::format("complete -c {} -n __fish_use_subcommand -f -a '{}' -d '{}'\n", tool.name, verb.name, quoted(verb.summary));
    for (const auto& item : with_common(verb, keep)) {
      if (item.role == Item::Role::positional) continue;
      const std::string values = item.role == Item::Role::flag ? ""
                                 : item.choices.empty()        ? (item.access == Item::Access::value ? " -x" : " -r -F")
                                                               : " -x -a '" + joined(item.choices, " ") + "'";
      out += fmt::format("complete -c {} -n '__fish_seen_subcommand_from {}' -l {}{} -d '{}'\n", tool.name, verb.name,
                         item.name.substr(2, item.name.find(',') - 2), values, quoted(item.help));
    }
  }
  return out;
}

}  // namespace

std::string completion(const Tool& tool, const std::string& shell) {
  if (shell == "bash") return bash_completion(tool);
  if (shell == "zsh") return zsh_completion(tool);
  if (shell == "fish") return fish_completion(tool);
  throw usage_error("--completion: bash, zsh or fish expected, \"{}\" given", shell);
}

}  // namespace me2::cli
