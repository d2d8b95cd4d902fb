#include "cache/finite.h"

#include <string>

#include "pruning/finite.h"

namespace kvprune {

Status CheckFinite(const float* keys, const float* values, int64_t tokens, int64_t width, int layer,
                   int64_t position) {
  for (const bool key : {true, false}) {
    const int64_t token = FindNonFinite(key ? keys : values, width, tokens, static_cast<int>(width));
    if (token < 0) continue;
    return {KVP_INVALID_ARGUMENT, "layer " + std::to_string(layer) + ": the " + (key ? "key" : "value") +
                                      " of token " + std::to_string(position + token) +
                                      " is not a finite number"};
  }
  return {};
}

}  // namespace kvprune
