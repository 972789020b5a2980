// Tables in text: TSV and CSV with a header line, RFC 4180 quotes, LF or CRLF. The delimiter is a tab when the header has one.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace me2::store {

class Table {
 public:
  static Table read(const std::string& path);
  static Table parse(std::string_view text, const std::string& where);  // `where` names the source in errors

  std::int64_t rows() const { return static_cast<std::int64_t>(lines_.size()); }
  const std::vector<std::string>& columns() const { return columns_; }
  const std::string& where() const { return where_; }
  std::int64_t line(std::int64_t row) const { return lines_[static_cast<std::size_t>(row)]; }  // 1-based line in the file

  std::optional<std::size_t> find(std::string_view column) const;  // case matters
  std::size_t need(std::string_view column) const;                 // Exit::data naming the columns that are there
  const std::string& text(std::int64_t row, std::size_t column) const { return cells_[static_cast<std::size_t>(row) * columns_.size() + column]; }
  bool empty(std::int64_t row, std::size_t column) const;   // "", "n/a", "NaN", "nan" (BIDS writes n/a)
  double number(std::int64_t row, std::size_t column) const;  // NaN when empty; Exit::data with the line when it is not a number
  std::int64_t integer(std::int64_t row, std::size_t column) const;  // "3" and "3.0"; Exit::data when empty or fractional

 private:
  std::string where_;
  std::vector<std::string> columns_, cells_;
  std::vector<std::int64_t> lines_;
};

}  // namespace me2::store
