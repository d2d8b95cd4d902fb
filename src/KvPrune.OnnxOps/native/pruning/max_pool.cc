#include "pruning/max_pool.h"

#include <algorithm>

namespace kvprune {

void MaxPool(const float* scores, int64_t count, int kernel, float* pooled) {
  const int64_t reach = kernel / 2;
  for (int64_t t = 0; t < count; ++t)
    pooled[t] =
        *std::max_element(scores + std::max<int64_t>(0, t - reach), scores + std::min(count, t + reach + 1));
}

}  // namespace kvprune
