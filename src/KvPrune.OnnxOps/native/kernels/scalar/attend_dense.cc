#include <algorithm>

#include "kernels/scalar/scalar.h"

namespace kvprune::scalar {
namespace {

constexpr int kChunk = 64;

// Row `index` as floats: in place, or widened into `buffer`.
const float* FloatRow(const void* rows, Storage storage, int64_t index, int head_size, float* buffer) {
  const size_t offset = static_cast<size_t>(index) * head_size;
  if (storage == Storage::kFloat32) return static_cast<const float*>(rows) + offset;
  const uint16_t* row = static_cast<const uint16_t*>(rows) + offset;
  for (int channel = 0; channel < head_size; ++channel) buffer[channel] = BFloat16ToFloat(row[channel]);
  return buffer;
}

// Head sizes are multiples of 8; eight separate sums let the compiler vectorise without reordering.
float Dot(const float* a, const float* b, int size) {
  float sums[8] = {};
  for (int channel = 0; channel < size; channel += 8) {
    for (int lane = 0; lane < 8; ++lane) sums[lane] += a[channel + lane] * b[channel + lane];
  }
  return ((sums[0] + sums[4]) + (sums[2] + sums[6])) + ((sums[1] + sums[5]) + (sums[3] + sums[7]));
}

}  // namespace

void AttendDense(const DenseRows& rows, const int64_t* visible, const float* queries, int query_rows,
                 AttentionState* state) {
  const int head_size = rows.head_size;
  const int64_t count = *std::max_element(visible, visible + query_rows);
  float logits[kMaxQueryRows][kChunk];
  float buffer[kMaxHeadSize];
  for (int64_t first = 0; first < count; first += kChunk) {
    // Visible rows of this chunk, per query row.
    int chunk_visible[kMaxQueryRows];
    int chunk = 0;
    for (int row = 0; row < query_rows; ++row) {
      chunk_visible[row] = static_cast<int>(std::clamp<int64_t>(visible[row] - first, 0, kChunk));
      chunk = std::max(chunk, chunk_visible[row]);
    }
    for (int index = 0; index < chunk; ++index) {
      const float* key = FloatRow(rows.keys, rows.key_storage, first + index, head_size, buffer);
      for (int row = 0; row < query_rows; ++row) {
        if (index < chunk_visible[row]) logits[row][index] = Dot(queries + row * head_size, key, head_size);
      }
    }
    for (int row = 0; row < query_rows; ++row) {
      if (chunk_visible[row] > 0) AddLogits(state, row, head_size, logits[row], chunk_visible[row]);
    }
    for (int index = 0; index < chunk; ++index) {
      const float* value = FloatRow(rows.values, rows.value_storage, first + index, head_size, buffer);
      for (int row = 0; row < query_rows; ++row) {
        if (index >= chunk_visible[row]) continue;
        const float weight = logits[row][index];
        float* accumulator = state->accumulator[row];
        for (int channel = 0; channel < head_size; ++channel) accumulator[channel] += weight * value[channel];
      }
    }
  }
}

}  // namespace kvprune::scalar
