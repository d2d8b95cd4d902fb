#include "cache/finite.h"

#include <string>

#include "pruning/finite.h"

namespace kvprune {

Status CheckFinite(const char* what, const float* rows, int64_t tokens, int64_t width, int layer,
                   int64_t position) {
  const int64_t token = FindNonFinite(rows, width, tokens, static_cast<int>(width));
  if (token < 0) return {};
  return {KVP_INVALID_ARGUMENT, "layer " + std::to_string(layer) + ": the " + what + " of token " +
                                    std::to_string(position + token) + " is not a finite number"};
}

}  // namespace kvprune
