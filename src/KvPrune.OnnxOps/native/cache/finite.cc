#include "cache/finite.h"

#include <cstring>
#include <string>

namespace kvprune {
namespace {

// By the exponent's bits: a sum of integers is vectorised where one of floats must keep its order.
bool AllFinite(const float* values, int64_t count) {
  constexpr uint32_t kExponent = 0x7f800000u;
  uint32_t found = 0;
  for (int64_t i = 0; i < count; ++i) {
    uint32_t bits;
    std::memcpy(&bits, values + i, sizeof(bits));
    found |= (bits & kExponent) == kExponent ? 1u : 0u;
  }
  return found == 0;
}

}  // namespace

Status CheckFinite(const float* keys, const float* values, int64_t tokens, int64_t width, int layer,
                   int64_t position) {
  if (AllFinite(keys, tokens * width) && AllFinite(values, tokens * width)) return {};
  int64_t token = 0;
  while (AllFinite(keys + token * width, width) && AllFinite(values + token * width, width)) ++token;
  const bool key = !AllFinite(keys + token * width, width);
  return {KVP_INVALID_ARGUMENT, "layer " + std::to_string(layer) + ": the " + (key ? "key" : "value") +
                                    " of token " + std::to_string(position + token) +
                                    " is not a finite number"};
}

}  // namespace kvprune
