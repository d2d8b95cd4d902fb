#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/kernels.h"
#include "pruning/think.h"

namespace kvprune {
namespace {

// Up to kMaxQueryRows queries of one head that go through the dense kernel together.
struct QueryBlock {
  int rows = 0;
  alignas(64) float queries[kMaxQueryRows * kMaxHeadSize];
  RowRange seen[kMaxQueryRows];       // of all rows
  RowRange seen_kept[kMaxQueryRows];  // of the kept ones
};

void Add(const QueryRows& observed, int64_t index, int head, const HeadRows& rows, const AttentionRule& rule,
         QueryBlock* block) {
  const float* query = observed.rows + index * observed.stride + static_cast<int64_t>(head) * rule.head_size;
  for (int j = 0; j < rule.head_size; ++j)
    block->queries[block->rows * rule.head_size + j] = query[j] * rule.scale;
  const int64_t position = observed.Position(index);
  const int64_t first = rule.FirstSeen(position);
  block->seen[block->rows] = {first, position + 1};
  block->seen_kept[block->rows++] = {rows.KeptBefore(first), rows.KeptBefore(position + 1)};
}

void Attend(const QueryBlock& block, const float* keys, const float* values, const RowRange* seen,
            const AttentionRule& rule, AttentionState* state) {
  state->Reset(block.rows, rule.head_size);
  const bool any =
      std::any_of(seen, seen + block.rows, [](const RowRange& range) { return range.begin < range.end; });
  const DenseRows rows{keys, values, Storage::kFloat32, Storage::kFloat32, rule.head_size};
  if (any) Kernels().attend_dense(rows, seen, block.queries, block.rows, rule.softcap, state);
}

// What an unnormalised sum with that maximum has to be multiplied with to join another maximum.
double Weight(float max, double joined) {
  return std::isinf(max) && max < 0 ? 0.0 : std::exp(static_cast<double>(max) - joined);
}

}  // namespace

Status ThinkValueScores(const QueryRows& observed, const HeadRows& rows, const AttentionRule& rule,
                        double* scores) {
  std::fill_n(scores, rule.head_size, 0.0);
  // One head of the group after the other: the norm is over its queries.
  for (int head = 0; head < observed.group; ++head) {
    double squares[kMaxHeadSize] = {};
    for (int64_t first = 0; first < observed.count; first += kMaxQueryRows) {
      QueryBlock block;
      for (int64_t i = first; i < std::min(observed.count, first + kMaxQueryRows); ++i)
        Add(observed, i, head, rows, rule, &block);
      AttentionState state;
      AttentionState all;
      Attend(block, rows.kept_keys, rows.kept_values, block.seen_kept, rule, &state);
      Attend(block, rows.keys, rows.values, block.seen, rule, &all);
      for (int r = 0; r < block.rows; ++r) {
        const float sink = rule.sinks != nullptr ? rule.sinks[head] : -INFINITY;
        const float past =
            observed.past != nullptr ? observed.past[(first + r) * observed.past_stride + head] : -INFINITY;
        const double max = std::max({state.max[r], all.max[r], sink, past});
        const double weight = Weight(state.max[r], max);
        const double sum =
            static_cast<double>(all.sum[r]) * Weight(all.max[r], max) + Weight(sink, max) + Weight(past, max);
        if (sum == 0) continue;
        for (int j = 0; j < rule.head_size; ++j) {
          const double output = static_cast<double>(state.accumulator[r][j]) * weight / sum;
          squares[j] += output * output;
        }
      }
    }
    for (int j = 0; j < rule.head_size; ++j) scores[j] += std::sqrt(squares[j]);
  }
  for (int j = 0; j < rule.head_size; ++j)
    if (!std::isfinite(scores[j]))
      return {KVP_INVALID_ARGUMENT, "the score of V's channel " + std::to_string(j) + " is " +
                                        std::to_string(scores[j]) +
                                        ": the queries, keys or values that it comes from are not finite"};
  return {};
}

}  // namespace kvprune
