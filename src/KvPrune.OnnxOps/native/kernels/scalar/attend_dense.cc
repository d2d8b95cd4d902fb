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
  for (int channel = 0; channel < head_size; ++channel)
    buffer[channel] =
        storage == Storage::kFloat16 ? Float16ToFloat(row[channel]) : BFloat16ToFloat(row[channel]);
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

void AttendDense(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                 float softcap, AttentionState* state) {
  const int head_size = rows.head_size;
  RowRange all = seen[0];
  for (int row = 1; row < query_rows; ++row)
    all = {std::min(all.begin, seen[row].begin), std::max(all.end, seen[row].end)};
  float logits[kMaxQueryRows][kChunk];
  float buffer[kMaxHeadSize];
  for (int64_t first = all.begin; first < all.end; first += kChunk) {
    // Rows of this chunk that each query row sees.
    int begin[kMaxQueryRows];
    int end[kMaxQueryRows];
    for (int row = 0; row < query_rows; ++row) {
      begin[row] = static_cast<int>(std::clamp<int64_t>(seen[row].begin - first, 0, kChunk));
      end[row] = static_cast<int>(std::clamp<int64_t>(seen[row].end - first, 0, kChunk));
    }
    const int chunk = static_cast<int>(std::min<int64_t>(all.end - first, kChunk));
    for (int index = 0; index < chunk; ++index) {
      const float* key = FloatRow(rows.keys, rows.key_storage, first + index, head_size, buffer);
      for (int row = 0; row < query_rows; ++row) {
        if (index >= begin[row] && index < end[row])
          logits[row][index] = Dot(queries + row * head_size, key, head_size);
      }
    }
    for (int row = 0; row < query_rows; ++row) {
      if (begin[row] < end[row])
        AddLogits(state, row, head_size, softcap, logits[row] + begin[row], end[row] - begin[row]);
    }
    for (int index = 0; index < chunk; ++index) {
      const float* value = FloatRow(rows.values, rows.value_storage, first + index, head_size, buffer);
      for (int row = 0; row < query_rows; ++row) {
        if (index < begin[row] || index >= end[row]) continue;
        const float weight = logits[row][index];
        float* accumulator = state->accumulator[row];
        for (int channel = 0; channel < head_size; ++channel) accumulator[channel] += weight * value[channel];
      }
    }
  }
}

}  // namespace kvprune::scalar
