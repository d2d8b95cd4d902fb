#include "pruning/kept_tokens.h"

#include <algorithm>
#include <functional>

#include "pruning/finite.h"
#include "pruning/ranking.h"

namespace kvprune {
namespace {

uint32_t Key(int64_t token, int64_t sinks, float score) {
  return token < sinks ? kAlwaysFirst : RankingKey(score);
}

// The best `kept` entries come first, in any order.
void Partition(uint64_t* begin, int64_t kept, uint64_t* end) {
  if (begin + kept < end) std::nth_element(begin, begin + kept, end, std::greater<>());
}

void Ascending(const uint64_t* order, int64_t kept, int32_t* selected) {
  std::transform(order, order + kept, selected,
                 [](uint64_t entry) { return static_cast<int32_t>(RankedIndex(entry)); });
  std::sort(selected, selected + kept);
}

void Rank(const float* scores, int64_t tokens, int64_t sinks, uint64_t* order) {
  for (int64_t t = 0; t < tokens; ++t)
    order[t] = RankingEntry(Key(t, sinks, scores[t]), static_cast<uint32_t>(t));
}

}  // namespace

void RecencyScores(int64_t tokens, float* scores) {
  for (int64_t t = 0; t < tokens; ++t) scores[t] = static_cast<float>(t);
}

Status SelectTokens(const float* scores, int64_t tokens, int64_t sinks, int64_t kept, uint64_t* order,
                    int32_t* selected) {
  Status status = CheckScores(scores, tokens, "the score");
  if (!status.ok()) return status;
  Rank(scores, tokens, sinks, order);
  Partition(order, kept, order + tokens);
  Ascending(order, kept, selected);
  return {};
}

Status SelectTokensInTwoStages(const float* scores, const float* norms, int64_t tokens, int64_t sinks,
                               int64_t kept, uint64_t* order, int32_t* selected) {
  Status status = CheckScores(scores, tokens, "the score");
  if (status.ok()) status = CheckScores(norms, tokens, "the norm of the output");
  if (!status.ok()) return status;
  Rank(scores, tokens, sinks, order);
  const int64_t first = kept / 2;
  Partition(order, first, order + tokens);
  for (int64_t i = first; i < tokens; ++i) {
    const uint32_t token = RankedIndex(order[i]);
    order[i] = RankingEntry(Key(token, sinks, scores[token] * norms[token]), token);
  }
  Partition(order + first, kept - first, order + tokens);
  Ascending(order, kept, selected);
  return {};
}

}  // namespace kvprune
