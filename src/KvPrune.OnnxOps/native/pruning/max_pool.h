#ifndef KVPRUNE_PRUNING_MAX_POOL_H_
#define KVPRUNE_PRUNING_MAX_POOL_H_

#include <cstdint>

namespace kvprune {

// pooled[t] = largest of scores[t - kernel / 2 .. t + kernel / 2], clipped at both ends, for an odd kernel:
// neighbours of an important token stay with it (SnapKV, arXiv 2404.14469, section 4). Only tokens that may
// be evicted belong into `scores`, as in the paper. `pooled` is another array.
void MaxPool(const float* scores, int64_t count, int kernel, float* pooled);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_MAX_POOL_H_
