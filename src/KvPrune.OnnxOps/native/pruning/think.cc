#include "pruning/think.h"

#include <algorithm>
#include <numeric>

#include "kernels/tile_format.h"

namespace kvprune {

void SelectThinkChannels(const float* queries, int query_count, int64_t query_stride, int group,
                         const float* keys, int64_t key_count, int head_size, int kept, float* scores,
                         uint8_t* channels) {
  double query_squares[kMaxHeadSize] = {};
  double key_squares[kMaxHeadSize] = {};
  for (int i = 0; i < query_count; ++i)
    for (int g = 0; g < group; ++g) {
      const float* query = queries + i * query_stride + static_cast<int64_t>(g) * head_size;
      for (int j = 0; j < head_size; ++j) query_squares[j] += static_cast<double>(query[j]) * query[j];
    }
  for (int64_t t = 0; t < key_count; ++t) {
    const float* key = keys + t * head_size;
    for (int j = 0; j < head_size; ++j) key_squares[j] += static_cast<double>(key[j]) * key[j];
  }
  // The means' denominators are equal for every channel of a head and do not change the order.
  for (int j = 0; j < head_size; ++j) scores[j] = static_cast<float>(query_squares[j] * key_squares[j]);

  uint8_t order[kMaxHeadSize];
  std::iota(order, order + head_size, static_cast<uint8_t>(0));
  // A total order without NaN, so that sorting stays defined on any input.
  const auto before = [scores](uint8_t a, uint8_t b) {
    const float x = scores[a] == scores[a] ? scores[a] : -1.0f;
    const float y = scores[b] == scores[b] ? scores[b] : -1.0f;
    return x != y ? x > y : a < b;
  };
  std::sort(order, order + head_size, before);
  std::copy(order, order + kept, channels);
  std::sort(channels, channels + kept);
}

}  // namespace kvprune
