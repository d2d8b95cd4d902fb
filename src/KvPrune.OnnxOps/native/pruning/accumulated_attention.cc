#include "pruning/accumulated_attention.h"

#include <algorithm>

#include "pruning/finite.h"

namespace kvprune {

int64_t Exposure(int64_t position, int64_t first_query, int64_t queries, int64_t window) {
  const int64_t begin = std::max(position, first_query);
  const int64_t end = first_query + queries;
  return std::max<int64_t>(0, (window > 0 ? std::min(end, position + window) : end) - begin);
}

Status AccumulatedScores(const double* mass, int64_t tokens, int64_t first_position, int64_t first_query,
                         int64_t queries, int group, int64_t window, float* scores) {
  for (int64_t t = 0; t < tokens; ++t) {
    const int64_t exposure = Exposure(first_position + t, first_query, queries, window);
    scores[t] = exposure == 0 ? 0.0f : static_cast<float>(mass[t] / static_cast<double>(exposure * group));
  }
  return CheckScores(scores, tokens, "accumulated attention");
}

}  // namespace kvprune
