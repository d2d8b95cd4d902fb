#include "pruning/element_masks.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <string>

#include "kernels/tile_format.h"
#include "pruning/finite.h"
#include "pruning/ranking.h"

namespace kvprune {
namespace {

Status CheckRows(const TokenRows& rows, int width) {
  const int64_t row = FindNonFinite(rows.rows, rows.stride, rows.count, width);
  if (row < 0) return {};
  return {KVP_INVALID_ARGUMENT,
          "the row of token " + std::to_string(rows.first_position + row) + " holds a NaN or an infinity"};
}

Status CheckWeights(const float* weights, int64_t count, const char* what) {
  const int64_t index = weights == nullptr ? -1 : FindNonFinite(weights, 1, count, 1);
  if (index < 0) return {};
  return {KVP_INVALID_ARGUMENT,
          std::string("the weight of ") + what + " " + std::to_string(index) + " is not finite"};
}

// Sets what the best `kept` of `count` entries name.
template <class Set>
void ForBest(uint64_t* order, int count, int kept, const Set& set) {
  if (kept < count) std::nth_element(order, order + kept, order + count, std::greater<>());
  for (int i = 0; i < std::min(kept, count); ++i) set(RankedIndex(order[i]));
}

}  // namespace

Status PerTokenMask(const TokenRows& rows, int width, const float* channel_weights, int kept, uint8_t* mask) {
  Status status = CheckRows(rows, width);
  if (status.ok()) status = CheckWeights(channel_weights, width, "channel");
  if (!status.ok()) return status;
  std::fill_n(mask, rows.count * width, uint8_t{0});
  uint64_t order[kMaxHeadSize];
  for (int64_t t = 0; t < rows.count; ++t) {
    const float* row = rows.rows + t * rows.stride;
    for (int j = 0; j < width; ++j) {
      const float score = std::fabs(row[j]) * (channel_weights != nullptr ? channel_weights[j] : 1.0f);
      order[j] = RankingEntry(RankingKey(score), static_cast<uint32_t>(j));
    }
    ForBest(order, width, kept, [&](uint32_t j) { mask[t * width + j] = 1; });
  }
  return {};
}

Status PerChannelMask(const TokenRows& rows, int width, const float* token_weights, int kept, uint8_t* mask) {
  Status status = CheckRows(rows, width);
  if (status.ok()) status = CheckWeights(token_weights, rows.count, "token");
  if (!status.ok()) return status;
  std::fill_n(mask, rows.count * width, uint8_t{0});
  uint64_t order[kChannelGroupTokens];
  for (int64_t first = 0; first < rows.count; first += kChannelGroupTokens) {
    const int tokens = static_cast<int>(std::min<int64_t>(kChannelGroupTokens, rows.count - first));
    for (int j = 0; j < width; ++j) {
      for (int t = 0; t < tokens; ++t) {
        const float score = std::fabs(rows.rows[(first + t) * rows.stride + j]) *
                            (token_weights != nullptr ? token_weights[first + t] : 1.0f);
        order[t] = RankingEntry(RankingKey(score), static_cast<uint32_t>(t));
      }
      ForBest(order, tokens, kept, [&](uint32_t t) { mask[(first + t) * width + j] = 1; });
    }
  }
  return {};
}

}  // namespace kvprune
