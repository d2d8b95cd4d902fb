#ifndef KVPRUNE_KERNELS_AVX512_INT4_ROWS_H_
#define KVPRUNE_KERNELS_AVX512_INT4_ROWS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/stored_rows.h"
#include "kernels/tile_format.h"

// The quantising of dense int4 sections, with the same arithmetic as the scalar kernels: zero = the least
// value rounded down to bfloat16, scale = (largest - zero) / 15 rounded up, neither of them subnormal.
namespace kvprune {
namespace {

constexpr int kExponent = 0x7f800000;
constexpr int kSmallestNormal = 0x00800000;

// 16 groups at once: a running least and largest value, and the largest exponent bits, which show infinities
// and NaN.
struct Ranges {
  __m512 least = _mm512_set1_ps(__builtin_inff());
  __m512 largest = _mm512_set1_ps(-__builtin_inff());
  __m512i exponents = _mm512_setzero_si512();

  void Add(__m512 values) {
    least = _mm512_min_ps(values, least);
    largest = _mm512_max_ps(values, largest);
    exponents = _mm512_max_epu32(exponents,
                                 _mm512_and_si512(_mm512_castps_si512(values), _mm512_set1_epi32(kExponent)));
  }
};

struct GroupScales {
  __m512 scale;
  __m512 zero;
  __mmask16 usable;  // elsewhere every number is 0
};

inline GroupScales ScalesOf(const Ranges& ranges) {
  const __m512i exponent = _mm512_set1_epi32(kExponent);
  const __m512i smallest = _mm512_set1_epi32(kSmallestNormal);
  const __m512i round_up = _mm512_set1_epi32(0xffff);
  const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xffff0000u));

  const __m512i bits = _mm512_castps_si512(ranges.least);
  const __m512i magnitude = _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff));
  const __mmask16 negative =
      static_cast<__mmask16>(_mm512_movepi32_mask(bits) & _mm512_test_epi32_mask(magnitude, magnitude));
  const __m512i below =
      _mm512_and_si512(_mm512_add_epi32(_mm512_max_epu32(magnitude, smallest), round_up), upper_half);
  const __m512i above =
      _mm512_maskz_and_epi32(_mm512_cmpge_epu32_mask(magnitude, smallest), magnitude, upper_half);
  __m512 zero =
      _mm512_castsi512_ps(_mm512_mask_or_epi32(above, negative, below, _mm512_set1_epi32(INT32_MIN)));
  const __m512 range = _mm512_sub_ps(ranges.largest, zero);
  const __mmask16 bad = static_cast<__mmask16>(
      _mm512_cmpeq_epi32_mask(ranges.exponents, exponent) |
      _mm512_cmpeq_epi32_mask(_mm512_and_si512(_mm512_castps_si512(range), exponent), exponent));

  const __m512i exact = _mm512_castps_si512(_mm512_div_ps(range, _mm512_set1_ps(15.0f)));
  const __m512i rounded =
      _mm512_and_si512(_mm512_add_epi32(_mm512_max_epu32(exact, smallest), round_up), upper_half);
  const __mmask16 wide = _mm512_cmp_ps_mask(range, _mm512_setzero_ps(), _CMP_GT_OQ);
  __m512i scale = _mm512_maskz_mov_epi32(wide, rounded);
  scale = _mm512_mask_mov_epi32(scale, bad, _mm512_set1_epi32(0x7fc00000));
  zero = _mm512_mask_mov_ps(zero, bad, _mm512_setzero_ps());
  return {_mm512_castsi512_ps(scale), zero, static_cast<__mmask16>(wide & ~bad)};
}

inline __m128i Int4Numbers(__m512 values, __m512 scale, __m512 zero, __mmask16 usable) {
  return _mm512_cvtepi32_epi8(
      _mm512_maskz_cvtps_epi32(usable, _mm512_div_ps(_mm512_sub_ps(values, zero), scale)));
}

inline __m256i BFloat16Bits(__m512 exact) {
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_castps_si512(exact), 16));
}

// K: a group is a channel of all tokens, so 16 channels go side by side. The rows' floats become bytes; those
// of a row end before those of the next one begin, so nothing is overwritten that is still to be read.
inline void QuantiseInt4Keys(const TileSection& section, int channels, uint8_t* tile, StoredRows* rows) {
  uint8_t* scales = tile + section.step_scale_offset(0);
  uint8_t* zeros = tile + section.step_zero_offset(0);
  alignas(64) GroupScales groups[kMaxHeadSize / 16];
  const int padded = section.reduction;
  for (int channel = 0; channel < padded; channel += 16) {
    Ranges ranges;
    for (int token = 0; token < kTileTokens; ++token)
      ranges.Add(_mm512_loadu_ps(rows->elements + static_cast<size_t>(token) * padded * 4 + channel * 4));
    GroupScales& group = groups[channel / 16];
    group = ScalesOf(ranges);
    const auto present = static_cast<__mmask16>(SetBits(channels - channel < 16 ? channels - channel : 16));
    group.usable &= present;
    const auto stored = static_cast<__mmask16>(SetBits(padded - channel < 16 ? padded - channel : 16));
    _mm256_mask_storeu_epi16(scales + 2 * static_cast<ptrdiff_t>(channel), stored,
                             _mm256_maskz_mov_epi16(present, BFloat16Bits(group.scale)));
    _mm256_mask_storeu_epi16(zeros + 2 * static_cast<ptrdiff_t>(channel), stored,
                             _mm256_maskz_mov_epi16(present, BFloat16Bits(group.zero)));
  }
  for (int token = 0; token < kTileTokens; ++token) {
    for (int channel = 0; channel < padded; channel += 16) {
      const GroupScales& group = groups[channel / 16];
      const __m512 values =
          _mm512_loadu_ps(rows->elements + static_cast<size_t>(token) * padded * 4 + channel * 4);
      const auto stored = static_cast<__mmask16>(SetBits(padded - channel < 16 ? padded - channel : 16));
      _mm_mask_storeu_epi8(rows->elements + static_cast<size_t>(token) * padded + channel, stored,
                           Int4Numbers(values, group.scale, group.zero, group.usable));
    }
  }
  rows->row_bytes = padded;
}

// V: a group is 64 channels of a token, so 16 tokens' ranges are collected before they become scales.
inline void QuantiseInt4Values(const TileSection& section, int head_size, uint8_t* tile, StoredRows* rows) {
  const size_t row_floats = static_cast<size_t>(head_size) * 4;
  for (int first = 0; first < head_size; first += kInt4GroupLanes) {
    const int end = head_size - first < kInt4GroupLanes ? head_size : first + kInt4GroupLanes;
    alignas(64) float least[kTileTokens], largest[kTileTokens];
    alignas(64) uint32_t exponents[kTileTokens];
    for (int token = 0; token < kTileTokens; ++token) {
      Ranges ranges;
      for (int channel = first; channel < end; channel += 16) {
        // Where fewer than 16 are left, the first of them fills up.
        const auto present = static_cast<__mmask16>(SetBits(end - channel < 16 ? end - channel : 16));
        const uint8_t* from = rows->elements + token * row_floats + static_cast<size_t>(channel) * 4;
        float fill;
        __builtin_memcpy(&fill, from, 4);
        ranges.Add(_mm512_mask_loadu_ps(_mm512_set1_ps(fill), present, from));
      }
      least[token] = _mm512_reduce_min_ps(ranges.least);
      largest[token] = _mm512_reduce_max_ps(ranges.largest);
      exponents[token] = _mm512_reduce_max_epu32(ranges.exponents);
    }
    uint8_t* scales = tile + section.step_scale_offset(first);
    uint8_t* zeros = tile + section.step_zero_offset(first);
    for (int token = 0; token < kTileTokens; token += 16) {
      Ranges ranges;
      ranges.least = _mm512_load_ps(least + token);
      ranges.largest = _mm512_load_ps(largest + token);
      ranges.exponents = _mm512_load_si512(exponents + token);
      const GroupScales groups = ScalesOf(ranges);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(scales + 2 * static_cast<ptrdiff_t>(token)),
                          BFloat16Bits(groups.scale));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(zeros + 2 * static_cast<ptrdiff_t>(token)),
                          BFloat16Bits(groups.zero));
      alignas(64) float scale[16], zero[16];
      _mm512_store_ps(scale, groups.scale);
      _mm512_store_ps(zero, groups.zero);
      for (int i = 0; i < 16; ++i) {
        const __mmask16 usable = (groups.usable >> i & 1) != 0 ? 0xffff : 0;
        // The bytes take the place of the group's own floats.
        uint8_t* group = rows->elements + (token + i) * row_floats + static_cast<size_t>(first) * 4;
        for (int channel = 0; channel < end - first; channel += 16) {
          const auto present =
              static_cast<__mmask16>(SetBits(end - first - channel < 16 ? end - first - channel : 16));
          const __m512 values = _mm512_maskz_loadu_ps(present, group + static_cast<size_t>(channel) * 4);
          _mm_mask_storeu_epi8(
              group + channel, present,
              Int4Numbers(values, _mm512_set1_ps(scale[i]), _mm512_set1_ps(zero[i]), usable));
        }
      }
    }
  }
  // Now bring the rows' bytes together.
  for (int token = 0; token < kTileTokens; ++token) {
    for (int first = 0; first < head_size; first += kInt4GroupLanes) {
      const int count = head_size - first < kInt4GroupLanes ? head_size - first : kInt4GroupLanes;
      const uint8_t* group = rows->elements + token * row_floats + static_cast<size_t>(first) * 4;
      const __m512i bytes = _mm512_maskz_loadu_epi8(SetBits(count), group);
      _mm512_mask_storeu_epi8(rows->elements + static_cast<size_t>(token) * head_size + first, SetBits(count),
                              bytes);
    }
  }
  rows->row_bytes = head_size;
}

// Vectors of bytes below 16 in pairs: the first of a pair becomes the low four bits of `bytes` / 64 vectors.
inline void JoinHalves(const uint8_t* vectors, size_t bytes, uint8_t* out) {
  for (size_t i = 0; i < bytes; i += 64, vectors += 128) {
    const __m512i left = _mm512_loadu_si512(vectors);
    const __m512i right = _mm512_loadu_si512(vectors + 64);
    _mm512_storeu_si512(out + i, _mm512_or_si512(left, _mm512_slli_epi16(right, 4)));
  }
}

// 2 x `bytes` bytes below 16: an even one and the odd one behind it share a byte.
inline void JoinNeighbours(const uint8_t* elements, size_t bytes, uint8_t* out) {
  const __m512i weights = _mm512_set1_epi16(0x1001);
  for (size_t i = 0; i < bytes; i += 32, elements += 64) {
    // Sections have a multiple of 64 elements.
    const __m512i pairs = _mm512_maddubs_epi16(_mm512_loadu_si512(elements), weights);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm512_cvtepi16_epi8(pairs));
  }
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_INT4_ROWS_H_
