#ifndef KVPRUNE_CACHE_FINITE_H_
#define KVPRUNE_CACHE_FINITE_H_

#include <cstdint>

#include "cache/status.h"

namespace kvprune {

// Refuses rows with a NaN or an infinity: keys and values would spread them to every later token, and what
// attention and scores make of such queries need not be NaN. Names the layer, `what` ("key") and the token.
// rows are [tokens, width], the first token's position is `position`.
Status CheckFinite(const char* what, const float* rows, int64_t tokens, int64_t width, int layer,
                   int64_t position);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_FINITE_H_
