#include "pruning/think.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/tile_format.h"

namespace kvprune {

void SelectBestChannels(const double* scores, int head_size, int kept, uint8_t* channels) {
  uint8_t order[kMaxHeadSize];
  std::iota(order, order + head_size, static_cast<uint8_t>(0));
  const auto before = [scores](uint8_t a, uint8_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a < b;
  };
  std::sort(order, order + head_size, before);
  std::copy(order, order + kept, channels);
  std::sort(channels, channels + kept);
}

void ThinkKeyScores(const QueryRows& observed, const float* keys, int64_t key_count, int head_size,
                    double* scores) {
  double query_squares[kMaxHeadSize] = {};
  double key_squares[kMaxHeadSize] = {};
  for (int64_t i = 0; i < observed.count; ++i)
    for (int g = 0; g < observed.group; ++g) {
      const float* query = observed.rows + i * observed.stride + static_cast<int64_t>(g) * head_size;
      for (int j = 0; j < head_size; ++j) query_squares[j] += static_cast<double>(query[j]) * query[j];
    }
  for (int64_t t = 0; t < key_count; ++t) {
    const float* key = keys + t * head_size;
    for (int j = 0; j < head_size; ++j) key_squares[j] += static_cast<double>(key[j]) * key[j];
  }
  for (int j = 0; j < head_size; ++j) {
    const double score = query_squares[j] * key_squares[j];
    scores[j] = std::isnan(score) ? std::numeric_limits<double>::infinity() : score;
  }
}

}  // namespace kvprune
