#include "store/table.h"

#include <charconv>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/file.h"

namespace me2::store {

Table Table::read(const std::string& path) { return parse(read_file(path), path); }

Table Table::parse(std::string_view text, const std::string& where) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  Table table;
  table.where_ = where;
  const std::string_view first = text.substr(0, text.find('\n'));
  const char delimiter = first.find('\t') != std::string_view::npos ? '\t' : ',';
  std::size_t at = 0;
  std::int64_t line = 1;
  bool header = true;
  while (at < text.size()) {
    const std::int64_t start_line = line;
    std::vector<std::string> record;
    for (bool more = true; more;) {
      std::string cell;
      if (at < text.size() && text[at] == '"') {
        ++at;
        for (;; ++at) {
          if (at >= text.size()) throw data_error("{}: line {}: a quoted cell has no end", where, start_line);
          if (text[at] == '"') {
            if (at + 1 < text.size() && text[at + 1] == '"') ++at;
            else break;
          }
          if (text[at] == '\n') ++line;
          cell += text[at];
        }
        ++at;
        if (at < text.size() && text[at] != delimiter && text[at] != '\n' && text[at] != '\r')
          throw data_error("{}: line {}: text after the closing quote of a cell", where, line);
      } else {
        const std::size_t end = std::min(text.find_first_of(delimiter == '\t' ? "\t\n" : ",\n", at), text.size());
        cell = text.substr(at, end - at);
        at = end;
        if ((at >= text.size() || text[at] == '\n') && cell.ends_with('\r')) cell.pop_back();
      }
      if (cell.find('\0') != std::string::npos) throw data_error("{}: line {}: a NUL byte: not a text table", where, line);
      record.push_back(std::move(cell));
      if (at < text.size() && text[at] == '\r') ++at;
      more = at < text.size() && text[at] == delimiter;
      if (at < text.size()) ++at;  // the delimiter or the line end
    }
    ++line;
    if (record.size() == 1 && record[0].empty()) continue;  // an empty line
    if (header) {
      for (std::size_t i = 0; i < record.size(); ++i)
        for (std::size_t k = 0; k < i; ++k)
          if (record[i] == record[k] && !record[i].empty()) throw data_error("{}: line {}: column '{}' occurs twice", where, start_line, record[i]);
      table.columns_ = std::move(record);
      header = false;
      continue;
    }
    if (record.size() != table.columns_.size())
      throw data_error("{}: line {}: {} cells found, {} expected as in the header", where, start_line, record.size(), table.columns_.size());
    for (auto& cell : record) table.cells_.push_back(std::move(cell));
    table.lines_.push_back(start_line);
  }
  if (header) throw data_error("{}: an empty table; a header line was expected", where);
  return table;
}

std::optional<std::size_t> Table::find(std::string_view column) const {
  for (std::size_t i = 0; i < columns_.size(); ++i)
    if (columns_[i] == column) return i;
  return std::nullopt;
}

std::size_t Table::need(std::string_view column) const {
  if (const auto at = find(column)) return *at;
  throw data_error("{}: column '{}' is missing; the table has {}", where_, column, fmt::join(columns_, ", "));
}

bool Table::empty(std::int64_t row, std::size_t column) const {
  const std::string& cell = text(row, column);
  return cell.empty() || cell == "n/a" || cell == "N/A" || cell == "nan" || cell == "NaN";
}

double Table::number(std::int64_t row, std::size_t column) const {
  if (empty(row, column)) return std::numeric_limits<double>::quiet_NaN();
  std::string_view cell = text(row, column);
  while (cell.starts_with(' ')) cell.remove_prefix(1);
  while (cell.ends_with(' ')) cell.remove_suffix(1);
  if (cell.starts_with('+')) cell.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || cell.empty())
    throw data_error("{}: line {}: column '{}': '{}' is not a number", where_, line(row), columns_[column], text(row, column).substr(0, 80));
  return value;
}

std::int64_t Table::integer(std::int64_t row, std::size_t column) const {
  const double value = number(row, column);
  if (!(std::floor(value) == value && std::abs(value) < 9e15))
    throw data_error("{}: line {}: column '{}': '{}' is not a whole number", where_, line(row), columns_[column], text(row, column).substr(0, 80));
  return static_cast<std::int64_t>(value);
}

}  // namespace me2::store
