#ifndef KVPRUNE_KERNELS_AVX512_INT4_BLOCKS_H_
#define KVPRUNE_KERNELS_AVX512_INT4_BLOCKS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/block_kernels.h"
#include "kernels/avx512/vector_math.h"
#include "kernels/kernels.h"

// Dense int4 sections. With a scale s and a zero z per reduction step,
//   sum of f x (s number + z) = sum of (f s) number + sum of f z,
// so the steps' factors f (queries, weights) take up the scales, one byte each, and meet the numbers in
// integer dot products. The numbers are taken relative to their middle, 8, and the rest, f x (8 s + z), is
// summed in floats: the rounding of f s then meets numbers of both signs.
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
  alignas(64) uint32_t words[kMaxQueryRows][kMaxHeadSize / 4];
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

// Queries are signed bytes, scale x [-127, 127]: that is off by less than a tenth of the numbers' own
// rounding. `query` has zeros up to a multiple of 16. Infinities and NaN reach the offset.
inline void EncodeInt4Query(const float* query, const Int4Steps& steps, int count, int row,
                            Int4Coefficients* out) {
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
  const float scale = _mm512_reduce_max_ps(largest) / 127.0f;
  const __m512 inverse = _mm512_set1_ps(1.0f / scale);
  const __m512 eight = _mm512_set1_ps(8.0f * scale);
  auto* bytes = reinterpret_cast<uint8_t*>(out->words[row]);
  for (int i = 0; i < count; i += 16) {
    const __m512i whole = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_load_ps(products + i), inverse));
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes + i), _mm512_cvtepi32_epi8(whole));
    offset = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), eight, offset);
  }
  out->scale[row][0] = scale;
  out->offset[row][0] = _mm512_reduce_add_ps(offset);
}

// What is added to a token's weight before it is cut to a whole number, the bits of the token's index in
// reverse order: where a tile's other weights are small against the largest, rounding each to the nearest
// would lose all of them.
struct Dither {
  alignas(64) float values[kTileTokens];
};

constexpr Dither MakeDither() {
  Dither dither{};
  for (int token = 0; token < kTileTokens; ++token) {
    int reversed = 0;
    for (int bit = 0; bit < 6; ++bit) reversed |= (token >> bit & 1) << (5 - bit);
    dither.values[token] = (static_cast<float>(reversed) + 0.5f) / kTileTokens;
  }
  return dither;
}

constexpr Dither kDither = MakeDither();

// A tile's weights (none negative) for one group of channels as unsigned bytes.
inline void EncodeInt4Weights(const __m512 (&weights)[4], const Int4Steps& steps, int row, int group,
                              Int4Coefficients* out) {
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
  const float scale = range / 255.0f;
  const __m512 inverse = _mm512_set1_ps(255.0f / range);
  const __m512 eight = _mm512_set1_ps(8.0f * scale);
  auto* bytes = reinterpret_cast<uint8_t*>(out->words[row] + group * (kTileTokens / 4));
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m512 dithered = _mm512_fmadd_ps(products[i], inverse, _mm512_load_ps(kDither.values + 16 * i));
    const __m512i whole = _mm512_cvttps_epi32(dithered);
    _mm_store_si128(reinterpret_cast<__m128i*>(bytes + 16 * i), _mm512_cvtepi32_epi8(whole));
    offset = _mm512_fnmadd_ps(_mm512_cvtepi32_ps(whole), eight, offset);
  }
  out->scale[row][group] = scale;
  out->offset[row][group] = _mm512_reduce_add_ps(offset);
}

struct Int4Blocks {
  static constexpr int kRowsPerPass = 8;

  template <int R>
  static void Keys(const TileSection& section, const uint8_t* vectors, const Int4Coefficients& queries,
                   int first_row, int first_token, float (*logits)[kTileTokens]) {
    __m512i sums[R][2];
    Accumulate<R, false>(vectors, section.reduction / 4, queries.words + first_row, sums);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      const __m512 scale = _mm512_set1_ps(queries.scale[first_row + row][0]);
      const __m512 offset = _mm512_set1_ps(queries.offset[first_row + row][0]);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        _mm512_store_ps(logits[first_row + row] + first_token + 16 * half,
                        _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[row][half]), scale, offset));
      }
    }
  }

  template <int R>
  static void Values(const uint8_t* vectors, const Int4Coefficients& weights, int first_row,
                     int first_channel, AttentionState* state) {
    const int group = first_channel / kInt4GroupLanes;
    __m512i sums[R][2];
    Accumulate<R, true>(vectors, kTileTokens / 4, weights.words + first_row, sums, group * (kTileTokens / 4));
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      const __m512 scale = _mm512_set1_ps(weights.scale[first_row + row][group]);
      const __m512 offset = _mm512_set1_ps(weights.offset[first_row + row][group]);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        float* accumulator = state->accumulator[first_row + row] + first_channel + 16 * half;
        const __m512 base = _mm512_add_ps(_mm512_load_ps(accumulator), offset);
        _mm512_store_ps(accumulator, _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[row][half]), scale, base));
      }
    }
  }

 private:
  // The numbers are both signed and unsigned bytes, so either side may be the factors.
  template <int R, bool kUnsignedFactors>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* vectors, int groups,
                                                               const uint32_t (*words)[kMaxHeadSize / 4],
                                                               __m512i (&sums)[R][2], int first_word = 0) {
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) sums[row][0] = sums[row][1] = _mm512_setzero_si512();
    const __m512i low_bits = _mm512_set1_epi8(0x0f);
    for (int group = 0; group < groups; ++group, vectors += 64) {
      _mm_prefetch(reinterpret_cast<const char*>(vectors + kPrefetchBytes), _MM_HINT_T0);
      const __m512i pairs = LoadOnce(vectors);
      const __m512i left = _mm512_and_si512(pairs, low_bits);
      const __m512i right = _mm512_and_si512(_mm512_srli_epi16(pairs, 4), low_bits);
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        const __m512i factors = _mm512_set1_epi32(static_cast<int>(words[row][first_word + group]));
        DotBytes(sums[row][0], kUnsignedFactors ? factors : left, kUnsignedFactors ? left : factors);
        DotBytes(sums[row][1], kUnsignedFactors ? factors : right, kUnsignedFactors ? right : factors);
      }
    }
  }
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_INT4_BLOCKS_H_
