#ifndef KVPRUNE_KERNELS_AVX512_INT4_BLOCKS_H_
#define KVPRUNE_KERNELS_AVX512_INT4_BLOCKS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/block_kernels.h"
#include "kernels/avx512/vector_math.h"
#include "kernels/kernels.h"

// Dense int4 sections. With a scale s and a zero z per reduction step,
//   sum of f x (s number + z) = sum of (f s) number + sum of f z,
// so the steps' factors f (queries, weights) take up the scales, in two bytes each as for int8, and meet the
// numbers in integer dot products. The numbers are taken relative to their middle, 8, so that the rounding of
// f s meets both signs; the rest, f x (8 s + z), is summed in floats.
namespace kvprune {
namespace {

constexpr int kMaxInt4Groups = kMaxHeadSize / kInt4GroupLanes;

// Scales and middles of one group's steps, zero beyond them.
struct Int4Steps {
  alignas(64) float scale[kMaxHeadSize];
  alignas(64) float middle[kMaxHeadSize];
};

// Bytes to broadcast by words, and what turns the integer sums of a group into floats: sum x scale + offset.
struct Int4Coefficients {
  alignas(64) uint32_t high[kMaxQueryRows][kMaxHeadSize / 4];
  alignas(64) uint32_t low[kMaxQueryRows][kMaxHeadSize / 4];
  float scale[kMaxQueryRows][kMaxInt4Groups];
  float offset[kMaxQueryRows][kMaxInt4Groups];
};

inline void LoadInt4Steps(const uint8_t* scales, const uint8_t* zeros, int count, Int4Steps* steps) {
  for (int i = 0; i < count; i += 16) {
    const auto mask = static_cast<__mmask16>(count - i >= 16 ? 0xffff : (1u << (count - i)) - 1);
    const __m512 scale =
        WidenBFloat16(_mm256_maskz_loadu_epi16(mask, scales + 2 * static_cast<ptrdiff_t>(i)));
    const __m512 zero = WidenBFloat16(_mm256_maskz_loadu_epi16(mask, zeros + 2 * static_cast<ptrdiff_t>(i)));
    _mm512_store_ps(steps->scale + i, scale);
    _mm512_store_ps(steps->middle + i, _mm512_fmadd_ps(scale, _mm512_set1_ps(8.0f), zero));
  }
}

// 16 factors as whole = 128 high + low, both signed.
inline void StoreSignedBytes(__m512i whole, uint8_t* high, uint8_t* low) {
  const __m512i upper = _mm512_srai_epi32(_mm512_add_epi32(whole, _mm512_set1_epi32(64)), 7);
  _mm_store_si128(reinterpret_cast<__m128i*>(high), _mm512_cvtepi32_epi8(upper));
  _mm_store_si128(reinterpret_cast<__m128i*>(low),
                  _mm512_cvtepi32_epi8(_mm512_sub_epi32(whole, _mm512_slli_epi32(upper, 7))));
}

// `query` has zeros up to a multiple of 16. Infinities and NaN have no integer; they reach the offset.
inline void EncodeInt4Query(const float* query, const Int4Steps& steps, int count, int row,
                            Int4Coefficients* out) {
  constexpr float kLargest = 127 * 128 + 63;
  alignas(64) float products[kMaxHeadSize];
  __m512 largest = _mm512_set1_ps(1e-30f);
  __m512 offset = _mm512_setzero_ps();
  for (int i = 0; i < count; i += 16) {
    const __m512 factor = _mm512_load_ps(query + i);
    const __m512 product = _mm512_mul_ps(factor, _mm512_load_ps(steps.scale + i));
    _mm512_store_ps(products + i, product);
    largest = _mm512_max_ps(_mm512_abs_ps(product), largest);
    offset = _mm512_fmadd_ps(factor, _mm512_load_ps(steps.middle + i), offset);
  }
  const float scale = _mm512_reduce_max_ps(largest) / kLargest;
  const __m512 inverse = _mm512_set1_ps(1.0f / scale);
  const __m512 eight = _mm512_set1_ps(8.0f * scale);
  auto* high = reinterpret_cast<uint8_t*>(out->high[row]);
  auto* low = reinterpret_cast<uint8_t*>(out->low[row]);
  for (int i = 0; i < count; i += 16) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(products + i), inverse));
    StoreSignedBytes(whole, high + i, low + i);
    offset = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), eight, offset);
  }
  out->scale[row][0] = scale;
  out->offset[row][0] = _mm512_reduce_add_ps(offset);
}

// A tile's weights (none negative) for one group of channels.
inline void EncodeInt4Weights(const __m512 (&weights)[4], const Int4Steps& steps, int row, int group,
                              Int4Coefficients* out) {
  constexpr float kLargest = 127 * 128 + 63;
  __m512 products[4];
  __m512 offset = _mm512_setzero_ps();
  __m512 largest = _mm512_set1_ps(1e-30f);
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    products[i] = _mm512_mul_ps(weights[i], _mm512_load_ps(steps.scale + 16 * i));
    largest = _mm512_max_ps(products[i], largest);
    offset = _mm512_fmadd_ps(weights[i], _mm512_load_ps(steps.middle + 16 * i), offset);
  }
  const float range = _mm512_reduce_max_ps(largest);
  const float scale = range / kLargest;
  const __m512 inverse = _mm512_set1_ps(kLargest / range);
  const __m512 eight = _mm512_set1_ps(8.0f * scale);
  auto* high = reinterpret_cast<uint8_t*>(out->high[row] + group * (kTileTokens / 4));
  auto* low = reinterpret_cast<uint8_t*>(out->low[row] + group * (kTileTokens / 4));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(products[i], inverse));
    StoreSignedBytes(whole, high + 16 * i, low + 16 * i);
    offset = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), eight, offset);
  }
  out->scale[row][group] = scale;
  out->offset[row][group] = _mm512_reduce_add_ps(offset);
}

struct Int4Blocks {
  static constexpr int kRowsPerPass = 4;  // two accumulators per half

  template <int R>
  static void Keys(const TileSection& section, const uint8_t* vectors, const Int4Coefficients& queries,
                   int first_row, int first_token, float (*logits)[kTileTokens]) {
    __m512 sums[R][2];
    Accumulate<R>(vectors, section.reduction / 4, queries, first_row, 0, sums);
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      _mm512_store_ps(logits[first_row + row] + first_token, sums[row][0]);
      _mm512_store_ps(logits[first_row + row] + first_token + 16, sums[row][1]);
    }
  }

  template <int R>
  static void Values(const uint8_t* vectors, const Int4Coefficients& weights, int first_row,
                     int first_channel, AttentionState* state) {
    __m512 sums[R][2];
    Accumulate<R>(vectors, kTileTokens / 4, weights, first_row, first_channel / kInt4GroupLanes, sums);
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      float* accumulator = state->accumulator[first_row + row] + first_channel;
      _mm512_store_ps(accumulator, _mm512_add_ps(_mm512_load_ps(accumulator), sums[row][0]));
      _mm512_store_ps(accumulator + 16, _mm512_add_ps(_mm512_load_ps(accumulator + 16), sums[row][1]));
    }
  }

 private:
  template <int R>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* vectors, int words,
                                                               const Int4Coefficients& by, int first_row,
                                                               int group, __m512 (&sums)[R][2]) {
    __m512i high[R][2], low[R][2];
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row)
      high[row][0] = high[row][1] = low[row][0] = low[row][1] = _mm512_setzero_si512();
    const __m512i high_bits = _mm512_set1_epi8(static_cast<char>(0xf0));
    const int first_word = group * (kTileTokens / 4);
    for (int word = first_word; word < first_word + words; ++word, vectors += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(vectors + kPrefetchBytes), _MM_HINT_T0);
      const __m512i pairs = LoadOnce(vectors);
      const __m512i right = _mm512_and_si512(pairs, high_bits);
#pragma GCC unroll 4
      for (int row = 0; row < R; ++row) {
        const __m512i upper = _mm512_set1_epi32(static_cast<int>(by.high[first_row + row][word]));
        const __m512i lower = _mm512_set1_epi32(static_cast<int>(by.low[first_row + row][word]));
        DotBytes(high[row][0], pairs, upper);
        DotBytes(high[row][1], right, upper);
        DotBytes(low[row][0], pairs, lower);
        DotBytes(low[row][1], right, lower);
      }
    }
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      const __m512 scale = _mm512_set1_ps(by.scale[first_row + row][group]);
      const __m512 offset = _mm512_set1_ps(by.offset[first_row + row][group]);
      const __m512i both = _mm512_add_epi32(_mm512_slli_epi32(high[row][0], 7), low[row][0]);
      const __m512i right = _mm512_add_epi32(_mm512_slli_epi32(high[row][1], 7), low[row][1]);
      const __m512 left = _mm512_cvtepi32_ps(_mm512_sub_epi32(both, right));
      sums[row][0] = _mm512_fmadd_ps(left, scale, offset);
      sums[row][1] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_srai_epi32(right, 4)), scale, offset);
    }
  }
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_INT4_BLOCKS_H_
