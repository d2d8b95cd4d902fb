#include "pruning/window_attention.h"

#include <algorithm>

#include "pruning/finite.h"

namespace kvprune {

Status WindowAttention(const QueryRows& observed, const TokenRows& keys, const AttentionRule& rule,
                       float* scratch, double* mass, float* scores) {
  std::fill_n(mass, keys.count, 0.0);
  SumAttention(observed, {&keys, 1}, rule, scratch, mass);
  for (int64_t t = 0; t < keys.count; ++t) scores[t] = static_cast<float>(mass[t] / observed.group);
  return CheckScores(scores, keys.count, "window attention");
}

}  // namespace kvprune
