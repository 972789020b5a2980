// me2-eval: scores of reconstructions, captions and embeddings, ours or any other method's.
#include "cli/tool.h"
#include "eval_compare.h"
#include "eval_output.h"
#include "eval_preference.h"
#include "eval_report.h"
#include "eval_rerun.h"
#include "eval_retrieval.h"
#include "eval_score.h"

namespace me2 {
namespace {

struct RsaVerb {
  InputPath features;
  InputPath rdms;
  OutputOptions output;
  void describe(Describe& d) {
    d.positional("FEATURES", features, ".npy [n, F] of features, or [n, n] of dissimilarities");
    d.required("--rdms", rdms, ".npy [subjects, n, n] or [subjects, sessions, n, n] of measured dissimilarities");
    output.describe(d);
  }
};

void rsa(const RsaVerb& o, cli::Run& run) {
  if (run.dry_run()) return run.plan_work(run.reading_work(20));
  emit(report::score_rsa(o.features.path, o.rdms.path), o.output, run);
}

}  // namespace
ME2_TOOL("me2-eval", "Score reconstructions, captions and embeddings",
         {cli::verb("score", "reconstructions against the images seen, or captions against references", score),
          cli::verb("retrieval", "find the image of a brain embedding, and the brain embedding of an image", retrieval),
          cli::verb("rsa", "representational similarity of features with measured brains", rsa),
          cli::verb("report", "one self-contained HTML page: pictures, scores, figures, provenance", report_page),
          cli::verb("compare", "two or more runs: differences with intervals and tests", compare),
          cli::verb("preference", "a survey page: which of two pictures is more like the one seen", preference),
          cli::verb("preference-score", "what the answers to a survey say", preference_score),
          cli::verb("rerun", "replay what a result came from, and say what differs", rerun)})
}  // namespace me2
