#ifndef KVPRUNE_PRUNING_VALUE_NORMS_H_
#define KVPRUNE_PRUNING_VALUE_NORMS_H_

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// norms[t] = ||v_t||, the L2 norm of a row.
Status ValueNorms(const TokenRows& values, int head_size, float* norms);

// norms[t] = ||W_O v_t|| = sqrt(v_t^T G v_t) with G = sum over the group's query heads of W_g^T W_g, `gram`
// [head_size, head_size]. CriticalKV (arXiv 2502.03805, section 4) takes the L1 norm, for which no matrix of
// the head's size is enough. `forms` is working space of values.count doubles.
Status OutputNorms(const TokenRows& values, int head_size, const float* gram, double* forms, float* norms);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_VALUE_NORMS_H_
