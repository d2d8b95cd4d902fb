#ifndef KVPRUNE_KERNELS_AVX512_BLOCK_KERNELS_H_
#define KVPRUNE_KERNELS_AVX512_BLOCK_KERNELS_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/coefficients.h"
#include "kernels/avx512/vector_math.h"
#include "kernels/kernels.h"

// The inner loops: 32 lanes x R query rows of accumulators stay in registers over all reduction steps.
namespace kvprune {
namespace {

inline __m512 BroadcastFloat(uint32_t word) {
  return _mm512_castsi512_ps(_mm512_set1_epi32(static_cast<int>(word)));
}

// Dense sections are read this far ahead, over the page's end where processors stop by themselves. (Expanded
// bitmap blocks come from the cache and do not mind.)
constexpr int kPrefetchBytes = 4096;

// Always inline: gcc takes a function that only prefetches for one without effects, and drops the calls.
inline __attribute__((always_inline)) void PrefetchGroup(const uint8_t* vectors) {
  _mm_prefetch(reinterpret_cast<const char*>(vectors + kPrefetchBytes), _MM_HINT_T0);
  _mm_prefetch(reinterpret_cast<const char*>(vectors + kPrefetchBytes + 64), _MM_HINT_T0);
}

// Accumulate adds `groups` vectors of reduction steps to the sums [row][half] of query rows
// [first_row, first_row + R).
struct Float32Steps {
  static constexpr int kPerVector = 1;

  template <int R>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* vectors, int groups,
                                                               const Coefficients& by, int first_row,
                                                               __m512 (&sums)[R][2]) {
    for (int group = 0; group < groups; ++group, vectors += 128) {
      PrefetchGroup(vectors);
      const __m512 left = _mm512_castsi512_ps(LoadOnce(vectors));
      const __m512 right = _mm512_castsi512_ps(LoadOnce(vectors + 64));
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        const __m512 factor = BroadcastFloat(by.words[first_row + row][group]);
        sums[row][0] = _mm512_fmadd_ps(left, factor, sums[row][0]);
        sums[row][1] = _mm512_fmadd_ps(right, factor, sums[row][1]);
      }
    }
  }
};

#if KVPRUNE_NATIVE_BFLOAT16
struct BFloat16Steps {
  static constexpr int kPerVector = 2;

  template <int R>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* vectors, int groups,
                                                               const Coefficients& by, int first_row,
                                                               __m512 (&sums)[R][2]) {
    for (int group = 0; group < groups; ++group, vectors += 128) {
      PrefetchGroup(vectors);
      const __m512bh left = reinterpret_cast<__m512bh>(LoadOnce(vectors));
      const __m512bh right = reinterpret_cast<__m512bh>(LoadOnce(vectors + 64));
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        const __m512bh factors =
            reinterpret_cast<__m512bh>(_mm512_set1_epi32(static_cast<int>(by.words[first_row + row][group])));
        sums[row][0] = _mm512_dpbf16_ps(sums[row][0], left, factors);
        sums[row][1] = _mm512_dpbf16_ps(sums[row][1], right, factors);
      }
    }
  }
};
#else
// A bfloat16 is the upper half of a float: the odd step of a word is the word without its lower half, the
// even step the lower half shifted up.
struct BFloat16Steps {
  static constexpr int kPerVector = 2;

  template <int R>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* vectors, int groups,
                                                               const Coefficients& by, int first_row,
                                                               __m512 (&sums)[R][2]) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xffff0000u));
    for (int group = 0; group < groups; ++group, vectors += 128) {
      PrefetchGroup(vectors);
      const __m512i left = LoadOnce(vectors);
      const __m512i right = LoadOnce(vectors + 64);
      const __m512 even_left = _mm512_castsi512_ps(_mm512_slli_epi32(left, 16));
      const __m512 even_right = _mm512_castsi512_ps(_mm512_slli_epi32(right, 16));
      const __m512 odd_left = _mm512_castsi512_ps(_mm512_and_si512(left, upper));
      const __m512 odd_right = _mm512_castsi512_ps(_mm512_and_si512(right, upper));
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        const __m512 even = BroadcastFloat(by.words[first_row + row][2 * group]);
        sums[row][0] = _mm512_fmadd_ps(even_left, even, sums[row][0]);
        sums[row][1] = _mm512_fmadd_ps(even_right, even, sums[row][1]);
      }
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) {
        const __m512 odd = BroadcastFloat(by.words[first_row + row][2 * group + 1]);
        sums[row][0] = _mm512_fmadd_ps(odd_left, odd, sums[row][0]);
        sums[row][1] = _mm512_fmadd_ps(odd_right, odd, sums[row][1]);
      }
    }
  }
};
#endif

// Blocks of a section whose sums are floats.
template <class Steps>
struct FloatBlocks {
  static constexpr int kRowsPerPass = 8;

  // logits[row][first_token..+32) of one block of tokens.
  template <int R>
  static void Keys(const TileSection& section, const uint8_t* /*tile*/, const uint8_t* vectors,
                   const Coefficients& queries, int first_row, int first_token,
                   float (*logits)[kTileTokens]) {
    __m512 sums[R][2];
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) sums[row][0] = sums[row][1] = _mm512_setzero_ps();
    Steps::template Accumulate<R>(vectors, section.reduction / Steps::kPerVector, queries, first_row, sums);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      _mm512_store_ps(logits[first_row + row] + first_token, sums[row][0]);
      _mm512_store_ps(logits[first_row + row] + first_token + 16, sums[row][1]);
    }
  }

  // accumulator[row][first_channel..+32) += weights x values of one block of channels.
  template <int R>
  static void Values(const uint8_t* vectors, const Coefficients& weights, int first_row, int first_channel,
                     AttentionState* state) {
    __m512 sums[R][2];
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      sums[row][0] = _mm512_load_ps(state->accumulator[first_row + row] + first_channel);
      sums[row][1] = _mm512_load_ps(state->accumulator[first_row + row] + first_channel + 16);
    }
    Steps::template Accumulate<R>(vectors, kTileTokens / Steps::kPerVector, weights, first_row, sums);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      _mm512_store_ps(state->accumulator[first_row + row] + first_channel, sums[row][0]);
      _mm512_store_ps(state->accumulator[first_row + row] + first_channel + 16, sums[row][1]);
    }
  }
};

using Float32Blocks = FloatBlocks<Float32Steps>;
using BFloat16Blocks = FloatBlocks<BFloat16Steps>;

// Eight lanes of a float16 vector are 16 floats in a row, even and odd steps side by side. They meet pairs of
// factors and are summed as they lie, so that nothing has to be sorted before the conversion; the two sums of
// a lane come together at the end.
struct Float16Blocks {
  static constexpr int kRowsPerPass = 4;  // four accumulators

  template <int R>
  static void Keys(const TileSection& section, const uint8_t* /*tile*/, const uint8_t* vectors,
                   const Coefficients& queries, int first_row, int first_token,
                   float (*logits)[kTileTokens]) {
    __m512 sums[R][4];
    Accumulate<R>(vectors, section.reduction / 2, queries, first_row, sums);
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      _mm512_store_ps(logits[first_row + row] + first_token, AddPairs(sums[row][0], sums[row][1]));
      _mm512_store_ps(logits[first_row + row] + first_token + 16, AddPairs(sums[row][2], sums[row][3]));
    }
  }

  template <int R>
  static void Values(const uint8_t* vectors, const Coefficients& weights, int first_row, int first_channel,
                     AttentionState* state) {
    __m512 sums[R][4];
    Accumulate<R>(vectors, kTileTokens / 2, weights, first_row, sums);
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      float* accumulator = state->accumulator[first_row + row] + first_channel;
      _mm512_store_ps(accumulator,
                      _mm512_add_ps(_mm512_load_ps(accumulator), AddPairs(sums[row][0], sums[row][1])));
      _mm512_store_ps(accumulator + 16,
                      _mm512_add_ps(_mm512_load_ps(accumulator + 16), AddPairs(sums[row][2], sums[row][3])));
    }
  }

 private:
  template <int R>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* vectors, int groups,
                                                               const Coefficients& by, int first_row,
                                                               __m512 (&sums)[R][4]) {
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row)
      sums[row][0] = sums[row][1] = sums[row][2] = sums[row][3] = _mm512_setzero_ps();
    for (int group = 0; group < groups; ++group, vectors += 128) {
      PrefetchGroup(vectors);
      __m512 parts[4];
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        parts[i] = _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(vectors + 32 * i)));
        __asm__("" : "+v"(parts[i]));  // once for all rows
      }
#pragma GCC unroll 4
      for (int row = 0; row < R; ++row) {
        uint64_t pair;
        __builtin_memcpy(&pair, &by.words[first_row + row][2 * group], 8);
        const __m512 factors = _mm512_castsi512_ps(_mm512_set1_epi64(static_cast<int64_t>(pair)));
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) sums[row][i] = _mm512_fmadd_ps(parts[i], factors, sums[row][i]);
      }
    }
  }

  // 16 sums of neighbours.
  static __m512 AddPairs(__m512 low, __m512 high) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
    return _mm512_add_ps(_mm512_permutex2var_ps(low, even, high), _mm512_permutex2var_ps(low, odd, high));
  }
};

// sums += four products of unsigned and signed bytes per word. As assembly because gcc 12 copies the sums
// back and forth around the intrinsic.
inline void DotBytes(__m512i& sums, __m512i unsigned_bytes, __m512i signed_bytes) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sums) : "v"(unsigned_bytes), "v"(signed_bytes));
}

// Integer dot products, four steps to a word. Queries and weights have two bytes each: with one, the rounding
// is about 1 % of the output.
struct Int8Blocks {
  static constexpr int kRowsPerPass = 4;  // two accumulators per half

  template <int R>
  static void Keys(const TileSection& section, const uint8_t* tile, const uint8_t* vectors,
                   const Coefficients& queries, int first_row, int first_token,
                   float (*logits)[kTileTokens]) {
    __m512i high[R][2], low[R][2];
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row)
      high[row][0] = high[row][1] = low[row][0] = low[row][1] = _mm512_setzero_si512();
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80));
    for (int group = 0; group < section.reduction / 4; ++group, vectors += 128) {
      PrefetchGroup(vectors);
      // The instruction multiplies unsigned by signed bytes: keys go in as key + 128.
      const __m512i left = _mm512_xor_si512(LoadOnce(vectors), sign);
      const __m512i right = _mm512_xor_si512(LoadOnce(vectors + 64), sign);
#pragma GCC unroll 4
      for (int row = 0; row < R; ++row) {
        const __m512i upper = _mm512_set1_epi32(static_cast<int>(queries.words[first_row + row][group]));
        const __m512i lower = _mm512_set1_epi32(static_cast<int>(queries.low_words[first_row + row][group]));
        DotBytes(high[row][0], left, upper);
        DotBytes(high[row][1], right, upper);
        DotBytes(low[row][0], left, lower);
        DotBytes(low[row][1], right, lower);
      }
    }
    const uint8_t* scales = tile + section.scale_offset + 2 * first_token;
    const __m512 key_scales[2] = {WidenBFloat16(scales), WidenBFloat16(scales + 32)};
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      const __m512i offset = _mm512_set1_epi32(queries.offset[first_row + row]);
      const __m512 scale = _mm512_set1_ps(queries.scale[first_row + row]);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(high[row][half], 7), low[row][half]);
        const __m512 products = _mm512_cvtepi32_ps(_mm512_sub_epi32(whole, offset));
        _mm512_store_ps(logits[first_row + row] + first_token + 16 * half,
                        _mm512_mul_ps(_mm512_mul_ps(products, scale), key_scales[half]));
      }
    }
  }

  template <int R>
  static void Values(const uint8_t* vectors, const Coefficients& weights, int first_row, int first_channel,
                     AttentionState* state) {
    __m512i high[R][2], low[R][2];
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row)
      high[row][0] = high[row][1] = low[row][0] = low[row][1] = _mm512_setzero_si512();
    for (int group = 0; group < kTileTokens / 4; ++group, vectors += 128) {
      PrefetchGroup(vectors);
      const __m512i left = LoadOnce(vectors);
      const __m512i right = LoadOnce(vectors + 64);
#pragma GCC unroll 4
      for (int row = 0; row < R; ++row) {
        const __m512i upper = _mm512_set1_epi32(static_cast<int>(weights.words[first_row + row][group]));
        const __m512i lower = _mm512_set1_epi32(static_cast<int>(weights.low_words[first_row + row][group]));
        DotBytes(high[row][0], upper, left);
        DotBytes(high[row][1], upper, right);
        DotBytes(low[row][0], lower, left);
        DotBytes(low[row][1], lower, right);
      }
    }
#pragma GCC unroll 4
    for (int row = 0; row < R; ++row) {
      const __m512 scale = _mm512_set1_ps(weights.scale[first_row + row]);
#pragma GCC unroll 2
      for (int half = 0; half < 2; ++half) {
        float* accumulator = state->accumulator[first_row + row] + first_channel + 16 * half;
        const __m512i whole = _mm512_add_epi32(_mm512_slli_epi32(high[row][half], 8), low[row][half]);
        _mm512_store_ps(accumulator,
                        _mm512_fmadd_ps(_mm512_cvtepi32_ps(whole), scale, _mm512_load_ps(accumulator)));
      }
    }
  }
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_BLOCK_KERNELS_H_
