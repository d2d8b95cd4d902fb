#ifndef KVPRUNE_KERNELS_AVX2_TOP_K_H_
#define KVPRUNE_KERNELS_AVX2_TOP_K_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

// Which elements of a row are its largest, by bisection on the bits of the magnitudes: positive floats order
// like their bits, and NaN above all of them.
namespace kvprune {
namespace {

constexpr int kMaskWords = kMaxHeadSize / 32;

// The order of a row's elements as signed 16-bit integers, 32 to a word of bits; `lowest` beyond the row.
struct Ranks {
  alignas(32) int16_t values[kMaxHeadSize];
};

enum class Compare { kGreater, kEqual };

// A bit per element of the word that compares so to `limit`.
template <Compare kCompare>
inline uint32_t Bits(const Ranks& row, int word, __m256i limit) {
  const __m256i low = Load(row.values + 32 * word), high = Load(row.values + 32 * word + 16);
  const bool greater = kCompare == Compare::kGreater;
  const __m256i packed =
      _mm256_packs_epi16(greater ? _mm256_cmpgt_epi16(low, limit) : _mm256_cmpeq_epi16(low, limit),
                         greater ? _mm256_cmpgt_epi16(high, limit) : _mm256_cmpeq_epi16(high, limit));
  return static_cast<uint32_t>(_mm256_movemask_epi8(_mm256_permute4x64_epi64(packed, 0xd8)));
}

// Moves the `count` largest elements of `among` into `kept` as far as their ranks tell: where more elements
// share the last rank than are to be kept, these stay in `among`. Elements that are not in `among` have the
// lowest rank. Returns how many are left to be kept.
inline int TakeLargest(const Ranks& row, int words, int lowest, int top_bit, int count, uint32_t* among,
                       uint32_t* kept) {
  int threshold = lowest;
  for (int bit = top_bit; bit != 0; bit >>= 1) {
    const int candidate = threshold + bit;
    const __m256i below = _mm256_set1_epi16(static_cast<int16_t>(candidate - 1));
    uint32_t reached[kMaskWords];
    int total = 0;
    for (int i = 0; i < words; ++i) {
      reached[i] = Bits<Compare::kGreater>(row, i, below);
      total += __builtin_popcount(reached[i]);
    }
    if (total == count) {
      for (int i = 0; i < words; ++i) kept[i] |= reached[i];
      return 0;
    }
    if (total > count) threshold = candidate;
  }
  const __m256i limit = _mm256_set1_epi16(static_cast<int16_t>(threshold));
  for (int i = 0; i < words; ++i) {
    const uint32_t larger = Bits<Compare::kGreater>(row, i, limit);
    kept[i] |= larger;
    count -= __builtin_popcount(larger);
    among[i] &= Bits<Compare::kEqual>(row, i, limit);
  }
  return count;
}

// Bits of the `count` largest of `width` floats' magnitudes, given as their bits without sign; the lower
// index first among equals. `magnitudes` is zero up to the next multiple of 32.
inline void KeepLargest(const uint32_t* magnitudes, int width, int count, uint32_t* kept) {
  const int words = (width + 31) / 32;
  uint32_t among[kMaskWords];
  Ranks ranks;
  for (int i = 0; i < words; ++i) {
    kept[i] = 0;
    among[i] = width - 32 * i >= 32 ? ~0u : (1u << (width - 32 * i)) - 1;
  }
  // The upper halves first; the vectors' elements are in order after the permutation.
  for (int i = 0; i < 32 * words; i += 16) {
    const __m256i low = _mm256_srli_epi32(Load(magnitudes + i), 16);
    const __m256i high = _mm256_srli_epi32(Load(magnitudes + i + 8), 16);
    Store(ranks.values + i, _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8));
  }
  if (count <= 0) return;
  count = TakeLargest(ranks, words, 0, 1 << 14, count, among, kept);
  if (count == 0) return;
  // Then the lower halves of those that are equal so far, as signed integers.
  bool differ = false;
  for (int i = 0; i < 32 * words; ++i) {
    const bool open = (among[i / 32] >> (i % 32) & 1) != 0;
    ranks.values[i] =
        static_cast<int16_t>(open ? static_cast<int>(magnitudes[i] & 0xffff) - 0x8000 : -0x8000);
    differ |= ranks.values[i] != -0x8000;
  }
  if (differ) count = TakeLargest(ranks, words, -0x8000, 1 << 15, count, among, kept);
  for (int i = 0; i < words && count > 0; ++i) {
    for (; among[i] != 0 && count > 0; among[i] &= among[i] - 1, --count) kept[i] |= among[i] & -among[i];
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_TOP_K_H_
