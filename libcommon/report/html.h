// The report page: one self-contained HTML file, no network, that reads well on a wide screen, on a phone and on paper.
#pragma once
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace me2::report {

struct ReportScore {
  std::string name, label;  // "pixcorr", "PixCorr"
  double value = 0;
  std::optional<double> low, high, paper;
  std::int64_t n = 0;
  bool lower_is_better = false;
  std::string meaning;  // one line: what it measures, and how well it agrees with people where that is known
};

struct ReportPicture {
  std::string label;     // "stimulus", "reconstruction", "refined", "low-level"
  std::string data_uri;  // data:image/...;base64,...
};

struct ReportCard {  // one test stimulus
  std::string id;
  std::vector<ReportPicture> pictures;
  std::string caption, reference;
  std::vector<std::pair<std::string, double>> scores;  // name, value; what the cards can be sorted by
                                                       // names as in ReportPage::scores, which knows their labels
};

struct ReportRetrieval {  // one query and what it found, best first
  std::string query_uri, query_label;
  std::vector<std::pair<std::string, bool>> found;  // picture, is it the right one
};

struct ReportTable {
  std::string title, text;  // text: what its columns are
  std::vector<std::string> head;
  std::vector<std::vector<std::string>> rows;  // a first cell that names the row; numbers are set to the right
  bool folded = false;
};

struct ReportPage {
  std::string title, setting;  // setting: one paragraph in plain words: subject, sessions, model, how many images
  std::vector<std::string> notes;  // caveats a reader must know
  std::vector<ReportScore> scores;
  std::vector<std::pair<std::string, std::string>> not_run;  // metric, what it needs
  std::vector<ReportTable> tables;                           // after the scores
  std::vector<ReportCard> cards;
  std::string sort_by;  // score that the best, median and worst are chosen by
  std::vector<ReportRetrieval> retrieval;
  std::vector<std::string> charts;       // SVG
  std::vector<std::string> commands;     // that reproduce it, in order
  std::string provenance;                // JSON text
};

std::string data_uri(const std::string& mime, const std::string& bytes);
std::string render_page(const ReportPage& page);

}  // namespace me2::report
