#ifndef KVPRUNE_KERNELS_BFLOAT16_H_
#define KVPRUNE_KERNELS_BFLOAT16_H_

#include <bit>
#include <cstdint>

namespace kvprune {

inline float BFloat16ToFloat(uint16_t bits) {
  return std::bit_cast<float>(uint32_t{bits} << 16);
}

// Round to nearest even; NaN stays NaN.
inline uint16_t FloatToBFloat16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return static_cast<uint16_t>(bits >> 16 | 0x40u);
  return static_cast<uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_BFLOAT16_H_
