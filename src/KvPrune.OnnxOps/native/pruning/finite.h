#ifndef KVPRUNE_PRUNING_FINITE_H_
#define KVPRUNE_PRUNING_FINITE_H_

#include <cstdint>

#include "cache/status.h"

namespace kvprune {

// The first of `count` rows of `width` floats, `stride` apart, that holds a NaN or an infinity; -1: none.
int64_t FindNonFinite(const float* rows, int64_t stride, int64_t count, int width);

// KVP_INVALID_ARGUMENT naming `what` and the token where one of `count` scores is no finite number: a ranking
// of such scores would mean nothing.
Status CheckScores(const float* scores, int64_t count, const char* what);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_FINITE_H_
