#ifndef KVPRUNE_CACHE_FINITE_H_
#define KVPRUNE_CACHE_FINITE_H_

#include <cstdint>

#include "cache/status.h"

namespace kvprune {

// Refuses rows with a NaN or an infinity, which would spread to every later token: names the layer and the
// token. keys and values are [tokens, width], the first token's position is `position`.
Status CheckFinite(const float* keys, const float* values, int64_t tokens, int64_t width, int layer,
                   int64_t position);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_FINITE_H_
