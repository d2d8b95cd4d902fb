#ifndef KVPRUNE_KERNELS_AVX512_TOP_K_H_
#define KVPRUNE_KERNELS_AVX512_TOP_K_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/tile_format.h"

// Which elements of a row are its largest, by bisection on the bits of the magnitudes: positive floats order
// like their bits, and NaN above all of them.
namespace kvprune {
namespace {

constexpr int kMaskWords = kMaxHeadSize / 64;

// A row's magnitudes as 16-bit unsigned numbers, 32 to a vector, zero beyond the row.
struct Magnitudes {
  alignas(64) uint16_t values[kMaxHeadSize];
};

inline uint64_t SetBits(int count) {
  return count >= 64 ? ~uint64_t{0} : (uint64_t{1} << count) - 1;
}

// The largest t for which at least `count` (>= 1) of the `among` elements are >= t.
inline unsigned Threshold(const Magnitudes& row, const uint32_t* among, int vectors, int count,
                          unsigned top_bit) {
  unsigned threshold = 0;
  for (unsigned bit = top_bit; bit != 0; bit >>= 1) {
    const __m512i candidate = _mm512_set1_epi16(static_cast<short>(threshold | bit));
    int reached = 0;
    for (int i = 0; i < vectors; ++i) {
      reached += __builtin_popcount(
          _mm512_mask_cmpge_epu16_mask(among[i], _mm512_load_si512(row.values + 32 * i), candidate));
    }
    threshold = reached >= count ? threshold | bit : threshold;
  }
  return threshold;
}

// Splits `among` by `threshold`: adds the elements above it to `kept`, leaves the equal ones in `among` and
// returns how many were above.
inline int Split(const Magnitudes& row, unsigned threshold, int vectors, uint32_t* among, uint32_t* kept) {
  const __m512i value = _mm512_set1_epi16(static_cast<short>(threshold));
  int above = 0;
  for (int i = 0; i < vectors; ++i) {
    const __m512i magnitudes = _mm512_load_si512(row.values + 32 * i);
    const uint32_t larger = _mm512_mask_cmpgt_epu16_mask(among[i], magnitudes, value);
    kept[i] |= larger;
    above += __builtin_popcount(larger);
    among[i] = _mm512_mask_cmpeq_epu16_mask(among[i], magnitudes, value);
  }
  return above;
}

// Bits of the `count` largest of `width` magnitudes, the lower index first among equals. `low` refines
// `high`: null, or the lower halves of 32-bit magnitudes.
inline void KeepLargest(const Magnitudes& high, const Magnitudes* low, int width, int count, uint32_t* kept) {
  const int vectors = (width + 31) / 32;
  uint32_t among[kMaxHeadSize / 32];
  for (int i = 0; i < vectors; ++i) {
    kept[i] = 0;
    among[i] = static_cast<uint32_t>(SetBits(width - 32 * i));
  }
  if (count <= 0) return;
  count -= Split(high, Threshold(high, among, vectors, count, 1u << 14), vectors, among, kept);
  if (low != nullptr) {
    int equal = 0;
    for (int i = 0; i < vectors; ++i) equal += __builtin_popcount(among[i]);
    if (equal > count) {
      count -= Split(*low, Threshold(*low, among, vectors, count, 1u << 15), vectors, among, kept);
    }
  }
  for (int i = 0; i < vectors && count > 0; ++i) {
    const uint32_t taken = _pdep_u32(static_cast<uint32_t>(SetBits(count < 32 ? count : 32)), among[i]);
    kept[i] |= taken;
    count -= __builtin_popcount(taken);
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_TOP_K_H_
