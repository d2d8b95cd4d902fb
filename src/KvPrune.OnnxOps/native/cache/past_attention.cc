#include "cache/past_attention.h"

#include <algorithm>
#include <cmath>

#include "cache/tile_walk.h"

namespace kvprune {

void ScaleQueries(const QueryRows& queries, const AttentionRule& rule, int64_t first, int64_t count,
                  float* scaled) {
  for (int64_t row = first; row < first + count; ++row) {
    const float* query =
        queries.rows + row / queries.group * queries.stride + row % queries.group * rule.head_size;
    for (int j = 0; j < rule.head_size; ++j) *scaled++ = query[j] * rule.scale;
  }
}

void AttendPast(const SlabList& past, int kv_head, const QueryRows& queries, const AttentionRule& rule,
                int64_t first, int count, const float* scaled, AttentionState* state) {
  const int64_t tiles = past.Tiles(kv_head);
  int64_t first_rows[kMaxQueryRows];
  for (int r = 0; r < count; ++r)
    first_rows[r] =
        past.RowsBefore(kv_head, rule.FirstSeen(queries.Position((first + r) / queries.group)));
  const int64_t first_tile = *std::min_element(first_rows, first_rows + count) / kTileTokens;
  if (first_tile < tiles)
    AttendSlabs(past, kv_head, first_tile, tiles - first_tile, scaled, count, rule.head_size, first_rows,
                rule.softcap, state);
}

void PastLogits(const SlabList& past, int kv_head, const QueryRows& queries, const AttentionRule& rule,
                float* logits) {
  const int64_t rows = queries.count * queries.group;
  alignas(64) float scaled[kMaxQueryRows * kMaxHeadSize];
  AttentionState state;
  for (int64_t first = 0; first < rows; first += kMaxQueryRows) {
    const int count = static_cast<int>(std::min<int64_t>(kMaxQueryRows, rows - first));
    ScaleQueries(queries, rule, first, count, scaled);
    state.Reset(count, rule.head_size);
    AttendPast(past, kv_head, queries, rule, first, count, scaled, &state);
    for (int r = 0; r < count; ++r)
      logits[first + r] = state.sum[r] > 0 ? state.max[r] + std::log(state.sum[r]) : -INFINITY;
  }
}

}  // namespace kvprune
