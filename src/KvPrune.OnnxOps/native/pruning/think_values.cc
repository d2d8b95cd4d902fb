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
  float queries[kMaxQueryRows * kMaxHeadSize];
  RowRange seen[kMaxQueryRows];
};

void Add(const QueryRows& observed, int64_t index, int head, const AttentionRule& rule, int64_t tokens,
         QueryBlock* block) {
  const float* query = observed.rows + index * observed.stride + static_cast<int64_t>(head) * rule.head_size;
  for (int j = 0; j < rule.head_size; ++j)
    block->queries[block->rows * rule.head_size + j] = query[j] * rule.scale;
  const int64_t end = std::min(tokens, observed.Position(index) + 1);
  const int64_t first =
      rule.window > 0 ? std::max<int64_t>(0, observed.Position(index) + 1 - rule.window) : 0;
  block->seen[block->rows++] = {std::min(first, end), end};
}

// state = attention of the block's queries to those of the rows [begin, end) that they see.
void Attend(const QueryBlock& block, const DenseRows& rows, int64_t begin, int64_t end, float softcap,
            AttentionState* state) {
  RowRange seen[kMaxQueryRows];
  bool any = false;
  for (int r = 0; r < block.rows; ++r) {
    seen[r].begin = std::clamp(block.seen[r].begin, begin, end);
    seen[r].end = std::clamp(block.seen[r].end, begin, end);
    any = any || seen[r].begin < seen[r].end;
  }
  state->Reset(block.rows, rows.head_size);
  if (any) Kernels().attend_dense(rows, seen, block.queries, block.rows, softcap, state);
}

// What an unnormalised sum with that maximum has to be multiplied with to join another maximum.
double Weight(float max, double joined) {
  return std::isinf(max) && max < 0 ? 0.0 : std::exp(static_cast<double>(max) - joined);
}

}  // namespace

Status SelectThinkValueChannels(const QueryRows& observed, const float* keys, const float* values,
                                int64_t tokens, int64_t pruned, const AttentionRule& rule, int kept,
                                uint8_t* channels) {
  const DenseRows rows{keys, values, Storage::kFloat32, Storage::kFloat32, rule.head_size};
  double scores[kMaxHeadSize] = {};
  // One head of the group after the other: the norm is over its queries.
  for (int head = 0; head < observed.group; ++head) {
    double squares[kMaxHeadSize] = {};
    for (int64_t first = 0; first < observed.count; first += kMaxQueryRows) {
      QueryBlock block;
      for (int64_t i = first; i < std::min(observed.count, first + kMaxQueryRows); ++i)
        Add(observed, i, head, rule, tokens, &block);
      AttentionState state;
      AttentionState rest;
      Attend(block, rows, 0, pruned, rule.softcap, &state);
      Attend(block, rows, pruned, tokens, rule.softcap, &rest);
      for (int r = 0; r < block.rows; ++r) {
        const float sink = rule.sinks != nullptr ? rule.sinks[head] : -INFINITY;
        const float past =
            observed.past != nullptr ? observed.past[(first + r) * observed.past_stride + head] : -INFINITY;
        const double max = std::max({state.max[r], rest.max[r], sink, past});
        const double weight = Weight(state.max[r], max);
        const double sum = static_cast<double>(state.sum[r]) * weight +
                           static_cast<double>(rest.sum[r]) * Weight(rest.max[r], max) + Weight(sink, max) +
                           Weight(past, max);
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
  SelectBestChannels(scores, rule.head_size, kept, channels);
  return {};
}

}  // namespace kvprune
