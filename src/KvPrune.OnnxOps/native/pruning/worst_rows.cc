#include "pruning/worst_rows.h"

#include <algorithm>

#include "kernels/tile_format.h"
#include "pruning/ranking.h"

namespace kvprune {

void RankWorst(const float* scores, int64_t begin, int64_t end, int64_t count, uint64_t* order) {
  const int64_t rows = end - begin;
  for (int64_t i = 0; i < rows; ++i)
    order[i] = RankingEntry(RankingKey(scores[begin + i]), static_cast<uint32_t>(begin + i));
  if (count < rows) std::nth_element(order, order + count, order + rows);
  std::sort(order, order + count);
}

void RankWorstTiles(const float* scores, int64_t begin, int64_t end, int64_t count, uint64_t* order) {
  const int64_t tiles = (end - begin) / kTileTokens;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    double sum = 0;
    for (int64_t row = 0; row < kTileTokens; ++row)
      sum += static_cast<double>(scores[begin + tile * kTileTokens + row]);
    order[tile] = RankingEntry(RankingKey(static_cast<float>(sum)), static_cast<uint32_t>(tile));
  }
  std::sort(order, order + tiles);
  // From the last one on, so that none is overwritten before it is read.
  for (int64_t unit = count / kTileTokens - 1; unit >= 0; --unit) {
    const int64_t first = begin + static_cast<int64_t>(RankedIndex(order[unit])) * kTileTokens;
    for (int64_t row = 0; row < kTileTokens; ++row)
      order[unit * kTileTokens + row] = RankingEntry(0, static_cast<uint32_t>(first + row));
  }
}

std::vector<int32_t> TakeWorst(const float* scores, std::span<const WorstRows> runs, int64_t units) {
  std::vector<size_t> taken(runs.size(), 0);
  std::vector<int32_t> rows;
  for (; units > 0; --units) {
    size_t best = runs.size();
    double lowest = 0;
    for (size_t run = 0; run < runs.size(); ++run) {
      if (taken[run] == runs[run].size()) continue;
      double sum = 0;
      for (size_t i = taken[run]; i < taken[run] + kTileTokens; ++i)
        sum += static_cast<double>(scores[RankedIndex(runs[run][i])]);
      if (best < runs.size() && sum >= lowest) continue;
      best = run;
      lowest = sum;
    }
    if (best == runs.size()) break;
    for (size_t i = 0; i < kTileTokens; ++i)
      rows.push_back(static_cast<int32_t>(RankedIndex(runs[best][taken[best]++])));
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace kvprune
