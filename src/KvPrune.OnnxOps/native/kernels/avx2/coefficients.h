#ifndef KVPRUNE_KERNELS_AVX2_COEFFICIENTS_H_
#define KVPRUNE_KERNELS_AVX2_COEFFICIENTS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/vector_math.h"
#include "kernels/kernels.h"

namespace kvprune {
namespace {

// One factor per query row and reduction step (queries over channels, softmax weights over tokens) as the
// section they multiply takes them: 32-bit words to broadcast. Of int8 sections a word holds two 16-bit
// integers: the even steps of each four, then the odd ones.
struct Coefficients {
  alignas(32) float words[kMaxQueryRows][kMaxHeadSize];
  float scale[kMaxQueryRows];   // integers: what they are multiplied with
  float offset[kMaxQueryRows];  // dense int4: what the zeros of the steps add to the sums
};

// The largest 16-bit factor; 256 products with bytes of up to 127 stay within 32 bits.
constexpr float kLargestInteger = 32767.0f;

// `count` floats, zeros up to the next multiple of 16.
inline void CopyPadded(const float* from, int count, float* to) {
  for (int i = 0; i < count; i += 16) {
    _mm256_storeu_ps(to + i, _mm256_setzero_ps());
    _mm256_storeu_ps(to + i + 8, _mm256_setzero_ps());
  }
  __builtin_memcpy(to, from, static_cast<size_t>(count) * sizeof(float));
}

// Steps 0 to 15 as words of (0, 2), (1, 3), (4, 6), (5, 7) and so on.
inline __m256i Integers(__m256 low, __m256 high) {
  const __m256i left = _mm256_shuffle_epi32(_mm256_cvtps_epi32(low), 0xd8);
  const __m256i right = _mm256_shuffle_epi32(_mm256_cvtps_epi32(high), 0xd8);
  return _mm256_permute4x64_epi64(_mm256_packs_epi32(left, right), 0xd8);
}

// Each query becomes scale x 16-bit integers: an error of 2e-5 of its largest element, so that rounding stays
// that of the stored keys.
inline void EncodeInt8Query(const float* query, int count, int row, Coefficients* out) {
  alignas(32) float padded[kMaxHeadSize];
  CopyPadded(query, count, padded);
  __m256 largest = _mm256_set1_ps(1e-30f);
  __m256 bad = _mm256_setzero_ps();
  for (int i = 0; i < count; i += 8) {
    const __m256 values = _mm256_load_ps(padded + i);
    largest = _mm256_max_ps(Abs(values), largest);
    bad = _mm256_add_ps(bad, _mm256_mul_ps(values, _mm256_setzero_ps()));
  }
  const float scale = _mm256_cvtss_f32(MaxAcross(largest)) / kLargestInteger;
  const __m256 inverse = _mm256_set1_ps(1.0f / scale);
  for (int i = 0; i < count; i += 16) {
    Store(out->words[row] + i / 2, Integers(_mm256_mul_ps(_mm256_load_ps(padded + i), inverse),
                                            _mm256_mul_ps(_mm256_load_ps(padded + i + 8), inverse)));
  }
  // Infinities and NaN have no integer; the scale carries them to the logits.
  out->scale[row] = scale + _mm256_cvtss_f32(SumAcross(bad));
}

// 64 softmax weights for int8 values: multiplied by the tokens' scales, then scale x 16-bit integers.
inline void EncodeInt8Weights(const float* weights, const uint8_t* scales, int row, Coefficients* out) {
  __m256 scaled[kTileTokens / 8];
  __m256i largest = _mm256_castps_si256(_mm256_set1_ps(1e-30f));
#pragma GCC unroll 8
  for (int i = 0; i < kTileTokens / 8; ++i) {
    scaled[i] = _mm256_mul_ps(_mm256_load_ps(weights + 8 * i), WidenBFloat16(scales + 16 * i));
    largest = _mm256_max_epu32(largest, _mm256_castps_si256(scaled[i]));
  }
  const uint32_t range_bits = MaxBitsAcross(largest);
  float range;
  __builtin_memcpy(&range, &range_bits, 4);
  const __m256 inverse = _mm256_set1_ps(kLargestInteger / range);
  out->scale[row] = range / kLargestInteger;
#pragma GCC unroll 4
  for (int i = 0; i < kTileTokens / 16; ++i) {
    Store(out->words[row] + 8 * i,
          Integers(_mm256_mul_ps(scaled[2 * i], inverse), _mm256_mul_ps(scaled[2 * i + 1], inverse)));
  }
}

// Dense int4 sections. With a scale s and a zero z per reduction step,
//   sum of f x (s number + z) = sum of (f s) (number - 8) + sum of f x (8 s + z),
// so the factors f (queries, weights) take up the scales and meet numbers - 8 as they meet int8; the rest is
// summed in floats. Infinities and NaN have no integer; they reach the offset.
// `factors` is zero beyond `count`, a multiple of 4, up to the next multiple of 16.
inline void EncodeInt4Factors(const float* factors, const uint8_t* scales, const uint8_t* zeros, int count,
                              int row, Coefficients* out) {
  alignas(32) float products[kMaxHeadSize];
  __m256 largest = _mm256_set1_ps(1e-30f);
  __m256 offset = _mm256_setzero_ps();
  for (int i = 0; i < count; i += 8, scales += 16, zeros += 16) {
    const bool whole = count - i >= 8;
    const __m256 scale = WidenBFloat16(whole ? LoadHalf(scales) : LoadQuarter(scales));
    const __m256 zero = WidenBFloat16(whole ? LoadHalf(zeros) : LoadQuarter(zeros));
    const __m256 factor = _mm256_load_ps(factors + i);
    const __m256 product = _mm256_mul_ps(factor, scale);
    _mm256_store_ps(products + i, product);
    largest = _mm256_max_ps(Abs(product), largest);
    offset = _mm256_fmadd_ps(factor, _mm256_fmadd_ps(scale, _mm256_set1_ps(8.0f), zero), offset);
  }
  if ((count + 7) / 8 % 2 != 0) _mm256_store_ps(products + (count + 7) / 8 * 8, _mm256_setzero_ps());
  const float range = _mm256_cvtss_f32(MaxAcross(largest));
  const __m256 inverse = _mm256_set1_ps(kLargestInteger / range);
  for (int i = 0; i < count; i += 16) {
    Store(out->words[row] + i / 2, Integers(_mm256_mul_ps(_mm256_load_ps(products + i), inverse),
                                            _mm256_mul_ps(_mm256_load_ps(products + i + 8), inverse)));
  }
  out->scale[row] = range / kLargestInteger;
  out->offset[row] = _mm256_cvtss_f32(SumAcross(offset));
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_COEFFICIENTS_H_
