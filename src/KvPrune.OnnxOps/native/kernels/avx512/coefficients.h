#ifndef KVPRUNE_KERNELS_AVX512_COEFFICIENTS_H_
#define KVPRUNE_KERNELS_AVX512_COEFFICIENTS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/vector_math.h"
#include "kernels/kernels.h"

namespace kvprune {
namespace {

// One factor per query row and reduction step (queries over channels, softmax weights over tokens), encoded
// for the section they multiply: 32-bit words to broadcast, each holding what one instruction takes.
struct Coefficients {
  alignas(64) uint32_t words[kMaxQueryRows][kMaxHeadSize];
  // The less significant part of int8 factors.
  alignas(64) uint32_t low_words[kMaxQueryRows][kMaxHeadSize / 4];
  // int8: the factor that the integers stand for, and what the offset of unsigned keys adds.
  float scale[kMaxQueryRows];
  int32_t offset[kMaxQueryRows];
};

// Floats, `count` of them, zero up to `padded` (at most one vector beyond `count`).
inline void EncodeFloats(const float* from, int count, int padded, uint32_t* words) {
  for (int first = 0; first < padded; first += 16) {
    const int left = count - first;
    const __mmask16 mask = left >= 16 ? 0xffff : left <= 0 ? 0 : static_cast<__mmask16>((1u << left) - 1);
    _mm512_store_ps(words + first, _mm512_maskz_loadu_ps(mask, from + first));
  }
}

inline void EncodeFloatRows(const float* queries, int query_rows, int count, int padded, Coefficients* out) {
  for (int row = 0; row < query_rows; ++row) {
    EncodeFloats(queries + static_cast<ptrdiff_t>(row) * count, count, padded, out->words[row]);
  }
}

// Each query becomes scale x (128 high + low) with 8-bit signed high and low: an error of 3e-5 of its largest
// element, so that rounding stays that of the stored keys. Key bytes are taken as unsigned, key + 128.
inline void EncodeInt8Queries(const float* queries, int query_rows, int count, int padded,
                              Coefficients* out) {
  constexpr float kLargest = 127 * 128 + 63;
  for (int row = 0; row < query_rows; ++row) {
    alignas(64) float query[kMaxHeadSize];
    EncodeFloats(queries + static_cast<ptrdiff_t>(row) * count, count, padded,
                 reinterpret_cast<uint32_t*>(query));
    __m512 largest = _mm512_set1_ps(1e-30f);
    for (int i = 0; i < padded; i += 16)
      largest = _mm512_max_ps(_mm512_abs_ps(_mm512_load_ps(query + i)), largest);
    const float scale = _mm512_reduce_max_ps(largest) / kLargest;
    const __m512 inverse = _mm512_set1_ps(1.0f / scale);
    __m512i sum = _mm512_setzero_si512();
    __m512 bad = _mm512_setzero_ps();
    auto* high = reinterpret_cast<uint8_t*>(out->words[row]);
    auto* low = reinterpret_cast<uint8_t*>(out->low_words[row]);
    for (int i = 0; i < padded; i += 16) {
      const __m512 values = _mm512_load_ps(query + i);
      bad = _mm512_add_ps(bad, _mm512_mul_ps(values, _mm512_setzero_ps()));
      const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(values, inverse));
      const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(64)), 7);
      sum = _mm512_add_epi32(sum, whole);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(high + i), _mm512_cvtepi32_epi8(upper));
      _mm_storeu_si128(reinterpret_cast<__m128i*>(low + i),
                       _mm512_cvtepi32_epi8(_mm512_sub_epi32(whole, _mm512_slli_epi32(upper, 7))));
    }
    // Infinities and NaN have no integer; the scale carries them to the logits.
    out->scale[row] = scale + _mm512_reduce_add_ps(bad);
    // Wraps for the integers that stand for infinities; the scale spoils those logits anyway.
    out->offset[row] = static_cast<int>(128u * static_cast<uint32_t>(_mm512_reduce_add_epi32(sum)));
  }
}

// 64 softmax weights (four vectors) for int8 values: multiplied by the tokens' scales, then scale x (256 high
// + low) with 8-bit unsigned high and low.
inline void EncodeInt8Weights(const __m512 (&weights)[4], const uint8_t* scales, int row, Coefficients* out) {
  __m512 scaled[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) scaled[i] = _mm512_mul_ps(weights[i], WidenBFloat16(scales + 32 * i));
  // Non-negative floats order like their bits, and NaN above all, so the maximum cannot lose one.
  __m512i largest = _mm512_castps_si512(_mm512_set1_ps(1e-30f));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) largest = _mm512_max_epu32(largest, _mm512_castps_si512(scaled[i]));
  const uint32_t range_bits = _mm512_reduce_max_epu32(largest);
  float range;
  __builtin_memcpy(&range, &range_bits, 4);
  const __m512 inverse = _mm512_set1_ps(65535.0f / range);
  out->scale[row] = range / 65535.0f;
  auto* high = reinterpret_cast<uint8_t*>(out->words[row]);
  auto* low = reinterpret_cast<uint8_t*>(out->low_words[row]);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(scaled[i], inverse));
    _mm_store_si128(reinterpret_cast<__m128i*>(high + 16 * i),
                    _mm512_cvtepi32_epi8(_mm512_srli_epi32(whole, 8)));
    _mm_store_si128(reinterpret_cast<__m128i*>(low + 16 * i), _mm512_cvtepi32_epi8(whole));
  }
}

#if KVPRUNE_NATIVE_BFLOAT16
inline __m512i BFloat16Pairs(__m512 low, __m512 high) {
  return reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(high, low));
}

inline void EncodeBFloat16Queries(const float* queries, int query_rows, int count, int padded,
                                  Coefficients* out) {
  for (int row = 0; row < query_rows; ++row) {
    alignas(64) float query[kMaxHeadSize + 16];
    EncodeFloats(queries + static_cast<ptrdiff_t>(row) * count, count, padded + 16,
                 reinterpret_cast<uint32_t*>(query));
    for (int i = 0; i < padded; i += 32) {
      _mm512_store_si512(out->words[row] + i / 2,
                         BFloat16Pairs(_mm512_load_ps(query + i), _mm512_load_ps(query + i + 16)));
    }
  }
}
#endif

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_COEFFICIENTS_H_
