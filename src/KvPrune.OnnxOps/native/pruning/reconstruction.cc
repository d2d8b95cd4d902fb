#include "pruning/reconstruction.h"

#include <algorithm>

#include "pruning/finite.h"

namespace kvprune {

Status ReconstructionScores(const QueryRows& queries, const TokenRows& segment, const TokenRows& probe,
                            const AttentionRule& rule, float* scratch, float* most, float* scores) {
  std::copy_n(scores, segment.count, most);
  std::fill_n(most + segment.count, probe.count, 0.0f);
  const TokenRows spans[] = {segment, probe};
  MaxAttention(queries, spans, rule, scratch, most);
  std::copy_n(most, segment.count, scores);
  return CheckScores(scores, segment.count, "reconstruction score");
}

}  // namespace kvprune
