#include "pruning/finite.h"

#include <cstring>
#include <string>

namespace kvprune {

int64_t FindNonFinite(const float* rows, int64_t stride, int64_t count, int width) {
  constexpr uint32_t kExponent = 0x7f800000;
  for (int64_t row = 0; row < count; ++row) {
    // Without a branch per element, so that compilers vectorise it.
    uint32_t found = 0;
    for (int j = 0; j < width; ++j) {
      uint32_t bits;
      std::memcpy(&bits, rows + row * stride + j, sizeof(bits));
      found |= static_cast<uint32_t>((bits & kExponent) == kExponent);
    }
    if (found != 0) return row;
  }
  return -1;
}

Status CheckScores(const float* scores, int64_t count, const char* what) {
  const int64_t token = FindNonFinite(scores, 1, count, 1);
  if (token < 0) return {};
  return {KVP_INVALID_ARGUMENT, std::string(what) + " of token " + std::to_string(token) + " is " +
                                    std::to_string(scores[token]) +
                                    ": the queries, keys or values that it comes from are not finite"};
}

}  // namespace kvprune
