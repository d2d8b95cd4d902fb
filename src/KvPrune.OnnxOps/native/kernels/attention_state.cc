#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace kvprune {

void AttentionState::Reset(int rows, int head_size) {
  // Tiles add whole blocks of lanes, so the padding has to be zero as well.
  const int lanes = (head_size + kBlockLanes - 1) / kBlockLanes * kBlockLanes;
  for (int row = 0; row < rows; ++row) {
    max[row] = -std::numeric_limits<float>::infinity();
    sum[row] = 0;
    std::fill_n(accumulator[row], lanes, 0.0f);
  }
}

namespace {

// Joins a row's maximum and sum; calls add(row, from_weight, into_weight) with the factors of what both have
// accumulated.
template <class Add>
void MergeRows(const AttentionState& from, int query_rows, AttentionState* into, const Add& add) {
  for (int row = 0; row < query_rows; ++row) {
    // A state that saw nothing has no maximum to compare with. (NaN sums do count.)
    if (from.sum[row] == 0) continue;
    const float max = into->sum[row] == 0 ? from.max[row] : std::max(from.max[row], into->max[row]);
    const float from_weight = std::exp(from.max[row] - max);
    const float into_weight = into->sum[row] == 0 ? 0.0f : std::exp(into->max[row] - max);
    into->max[row] = max;
    into->sum[row] = into->sum[row] * into_weight + from.sum[row] * from_weight;
    add(row, from_weight, into_weight);
  }
}

}  // namespace

void MergeAttention(const AttentionState& from, int query_rows, int head_size, AttentionState* into) {
  MergeRows(from, query_rows, into, [&](int row, float from_weight, float into_weight) {
    for (int channel = 0; channel < head_size; ++channel) {
      into->accumulator[row][channel] =
          into->accumulator[row][channel] * into_weight + from.accumulator[row][channel] * from_weight;
    }
  });
}

void MergeChannels(const AttentionState& from, int query_rows, int head_size, const uint8_t* channels,
                   int count, AttentionState* into) {
  MergeRows(from, query_rows, into, [&](int row, float from_weight, float into_weight) {
    for (int channel = 0; channel < head_size; ++channel) into->accumulator[row][channel] *= into_weight;
    for (int i = 0; i < count; ++i)
      into->accumulator[row][channels[i]] += from.accumulator[row][i] * from_weight;
  });
}

float LogSum(const AttentionState& state, int row) {
  return state.sum[row] > 0 ? state.max[row] + std::log(state.sum[row]) : -INFINITY;
}

void FinishAttention(const AttentionState& state, int query_rows, int head_size, const float* sinks,
                     float* const* output) {
  for (int row = 0; row < query_rows; ++row) {
    float factor = 0;
    if (state.sum[row] != 0) {
      factor = 1.0f / state.sum[row];
      if (sinks != nullptr) {
        const float max = std::max(state.max[row], sinks[row]);
        const float weight = std::exp(state.max[row] - max);
        factor = weight / (state.sum[row] * weight + std::exp(sinks[row] - max));
      }
    }
    for (int channel = 0; channel < head_size; ++channel) {
      output[row][channel] = state.accumulator[row][channel] * factor;
    }
  }
}

}  // namespace kvprune
