#ifndef KVPRUNE_KERNELS_AVX2_INT4_ROWS_H_
#define KVPRUNE_KERNELS_AVX2_INT4_ROWS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/stored_rows.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/tile_format.h"

// The quantising of dense int4 sections, with the same arithmetic as the scalar kernels: zero = the least
// value rounded down to bfloat16, scale = (largest - zero) / 15 rounded up, neither of them subnormal.
namespace kvprune {
namespace {

constexpr int kExponent = 0x7f800000;
constexpr int kSmallestNormal = 0x00800000;

// 8 groups at once: a running least and largest value, and the largest exponent bits, which show infinities
// and NaN.
struct Ranges {
  __m256 least = _mm256_set1_ps(__builtin_inff());
  __m256 largest = _mm256_set1_ps(-__builtin_inff());
  __m256i exponents = _mm256_setzero_si256();

  void Add(__m256 values) {
    least = _mm256_min_ps(values, least);
    largest = _mm256_max_ps(values, largest);
    exponents = _mm256_max_epu32(exponents,
                                 _mm256_and_si256(_mm256_castps_si256(values), _mm256_set1_epi32(kExponent)));
  }
};

struct GroupScales {
  __m256 scale;
  __m256 zero;
  __m256 usable;  // all bits of a lane or none; without them every number is 0
};

inline GroupScales ScalesOf(const Ranges& ranges) {
  const __m256i exponent = _mm256_set1_epi32(kExponent);
  const __m256i smallest = _mm256_set1_epi32(kSmallestNormal);
  const __m256i round_up = _mm256_set1_epi32(0xffff);
  const __m256i upper_half = _mm256_set1_epi32(static_cast<int>(0xffff0000u));

  // Magnitudes are not negative as integers, so signed comparisons are right.
  const __m256i bits = _mm256_castps_si256(ranges.least);
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  const __m256i below =
      _mm256_and_si256(_mm256_add_epi32(_mm256_max_epu32(magnitude, smallest), round_up), upper_half);
  const __m256i above =
      _mm256_andnot_si256(_mm256_cmpgt_epi32(smallest, magnitude), _mm256_and_si256(magnitude, upper_half));
  // -0 is above.
  const __m256i negative =
      _mm256_andnot_si256(_mm256_cmpeq_epi32(magnitude, _mm256_setzero_si256()), _mm256_srai_epi32(bits, 31));
  __m256 zero = _mm256_castsi256_ps(
      _mm256_blendv_epi8(above, _mm256_or_si256(below, _mm256_set1_epi32(INT32_MIN)), negative));
  const __m256 range = _mm256_sub_ps(ranges.largest, zero);
  const __m256 bad = _mm256_castsi256_ps(
      _mm256_or_si256(_mm256_cmpeq_epi32(ranges.exponents, exponent),
                      _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(range), exponent), exponent)));

  const __m256i exact = _mm256_castps_si256(_mm256_div_ps(range, _mm256_set1_ps(15.0f)));
  const __m256i rounded =
      _mm256_and_si256(_mm256_add_epi32(_mm256_max_epu32(exact, smallest), round_up), upper_half);
  const __m256 wide = _mm256_cmp_ps(range, _mm256_setzero_ps(), _CMP_GT_OQ);
  const __m256 scale = _mm256_blendv_ps(_mm256_and_ps(wide, _mm256_castsi256_ps(rounded)),
                                        _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000)), bad);
  zero = _mm256_andnot_ps(bad, zero);
  return {scale, zero, _mm256_andnot_ps(bad, wide)};
}

// 8 numbers as bytes.
inline void StoreInt4Numbers(__m256 values, const GroupScales& groups, uint8_t* out) {
  const __m256 exact = _mm256_div_ps(_mm256_sub_ps(values, groups.zero), groups.scale);
  const __m256i whole = _mm256_and_si256(_mm256_cvtps_epi32(exact), _mm256_castps_si256(groups.usable));
  const __m128i words = _mm_packs_epi32(_mm256_castsi256_si128(whole), _mm256_extracti128_si256(whole, 1));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(out), _mm_packus_epi16(words, words));
}

// The upper halves of 8 floats.
inline __m128i BFloat16Bits(__m256 exact) {
  const __m256i words = _mm256_srli_epi32(_mm256_castps_si256(exact), 16);
  return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

// K: a group is a channel of all tokens, so 8 channels go side by side. The rows' floats become bytes, which
// take the place only of floats that were read. Padding channels are zero and so get a scale of 0.
inline void QuantiseInt4Keys(const TileSection& section, uint8_t* tile, StoredRows* rows) {
  uint8_t* scales = tile + section.step_scale_offset(0);
  uint8_t* zeros = tile + section.step_zero_offset(0);
  GroupScales groups[kMaxHeadSize / 8];
  const int padded = rows->row_bytes / 4;
  const auto* floats = reinterpret_cast<const float*>(rows->elements);
  for (int channel = 0; channel < padded; channel += 8) {
    Ranges ranges;
    for (int token = 0; token < kTileTokens; ++token)
      ranges.Add(_mm256_loadu_ps(floats + token * padded + channel));
    groups[channel / 8] = ScalesOf(ranges);
    const int stored = Max(0, Min(section.reduction - channel, 8));  // a multiple of 4
    const __m128i scale = BFloat16Bits(groups[channel / 8].scale);
    const __m128i zero = BFloat16Bits(groups[channel / 8].zero);
    __builtin_memcpy(scales + 2 * static_cast<ptrdiff_t>(channel), &scale, static_cast<size_t>(stored) * 2);
    __builtin_memcpy(zeros + 2 * static_cast<ptrdiff_t>(channel), &zero, static_cast<size_t>(stored) * 2);
  }
  for (int token = 0; token < kTileTokens; ++token) {
    for (int channel = 0; channel < padded; channel += 8) {
      StoreInt4Numbers(_mm256_loadu_ps(floats + token * padded + channel), groups[channel / 8],
                       rows->elements + static_cast<ptrdiff_t>(token) * padded + channel);
    }
  }
  rows->row_bytes = padded;
}

// V: a group is 64 channels of a token, so 8 tokens' ranges are collected before they become scales.
inline void QuantiseInt4Values(const TileSection& section, int head_size, uint8_t* tile, StoredRows* rows) {
  const int padded = rows->row_bytes / 4;
  const auto* floats = reinterpret_cast<const float*>(rows->elements);
  for (int first = 0; first < kTileTokens; first += 8) {
    alignas(32) float scale[kMaxHeadSize / kInt4GroupLanes][8], zero[kMaxHeadSize / kInt4GroupLanes][8];
    alignas(32) float usable[kMaxHeadSize / kInt4GroupLanes][8];
    for (int lane = 0; lane < head_size; lane += kInt4GroupLanes) {
      alignas(32) float least[8], largest[8];
      alignas(32) uint32_t exponents[8];
      for (int i = 0; i < 8; ++i) {
        Ranges ranges;
        for (int channel = lane; channel < Min(lane + kInt4GroupLanes, head_size); channel += 8)
          ranges.Add(_mm256_loadu_ps(floats + (first + i) * padded + channel));
        largest[i] = _mm256_cvtss_f32(MaxAcross(ranges.largest));
        least[i] = -_mm256_cvtss_f32(MaxAcross(Negate(ranges.least)));
        exponents[i] = MaxBitsAcross(ranges.exponents);
      }
      Ranges ranges;
      ranges.least = _mm256_load_ps(least);
      ranges.largest = _mm256_load_ps(largest);
      ranges.exponents = Load(exponents);
      const GroupScales groups = ScalesOf(ranges);
      StoreHalf(tile + section.step_scale_offset(lane) + 2 * static_cast<ptrdiff_t>(first),
                BFloat16Bits(groups.scale));
      StoreHalf(tile + section.step_zero_offset(lane) + 2 * static_cast<ptrdiff_t>(first),
                BFloat16Bits(groups.zero));
      const int group = lane / kInt4GroupLanes;
      _mm256_store_ps(scale[group], groups.scale);
      _mm256_store_ps(zero[group], groups.zero);
      _mm256_store_ps(usable[group], groups.usable);
    }
    for (int i = 0; i < 8; ++i) {
      uint8_t* out = rows->elements + static_cast<ptrdiff_t>(first + i) * padded;
      for (int channel = 0; channel < head_size; channel += 8) {
        const int group = channel / kInt4GroupLanes;
        const GroupScales groups{_mm256_broadcast_ss(scale[group] + i), _mm256_broadcast_ss(zero[group] + i),
                                 _mm256_broadcast_ss(usable[group] + i)};
        StoreInt4Numbers(_mm256_loadu_ps(floats + (first + i) * padded + channel), groups, out + channel);
      }
      for (int channel = head_size; channel < padded; channel += 8)
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + channel), _mm_setzero_si128());
    }
  }
  rows->row_bytes = padded;
}

// Vectors of bytes below 16 in pairs: the first of a pair becomes the low four bits of `bytes` / 64 vectors.
inline void JoinHalves(const uint8_t* vectors, size_t bytes, uint8_t* out) {
  for (size_t i = 0; i < bytes; i += 64, vectors += 128) {
#pragma GCC unroll 2
    for (int half = 0; half < 64; half += 32) {
      const __m256i left = Load(vectors + half), right = Load(vectors + 64 + half);
      Store(out + i + half, _mm256_or_si256(left, _mm256_slli_epi16(right, 4)));
    }
  }
}

// 2 x `bytes` bytes below 16: an even one and the odd one behind it share a byte.
inline void JoinNeighbours(const uint8_t* elements, size_t bytes, uint8_t* out) {
  const __m128i weights = _mm_set1_epi16(0x1001);
  for (size_t i = 0; i < bytes; i += 16, elements += 32) {
    // Sections have a multiple of 64 elements.
    const __m128i low = _mm_maddubs_epi16(LoadHalf(elements), weights);
    const __m128i high = _mm_maddubs_epi16(LoadHalf(elements + 16), weights);
    StoreHalf(out + i, _mm_packus_epi16(low, high));
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_INT4_ROWS_H_
