#ifndef KVPRUNE_KERNELS_AVX2_BLOCK_KERNELS_H_
#define KVPRUNE_KERNELS_AVX2_BLOCK_KERNELS_H_

#include <immintrin.h>

#include <cstdint>
#include <type_traits>

#include "kernels/avx2/block_reader.h"
#include "kernels/avx2/coefficients.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/kernels.h"

// The inner loops over one block of 32 lanes: the sums of R query rows x W vectors of 8 lanes stay in
// registers over all reduction steps.
namespace kvprune {
namespace {

// Query rows of one pass, and vectors of lanes that they take at a time: as many sums as leave registers for
// data and factors, and enough of them to be independent.
constexpr int kRowsPerPass = 7;

constexpr int LaneVectors(int rows) {
  return rows <= 2 ? 4 : rows <= 6 ? 2 : 1;
}

// The lines of a block that the pass from `lane` on reads ahead: each of its passes takes its part. (Blocks
// that were expanded come from the cache and do not mind.)
template <int W>
class ReadAhead {
 public:
  ReadAhead(const uint8_t* block, int lane, int groups)
      : next_(block + kPrefetchBytes + static_cast<size_t>(lane) * 4 * groups) {}

  // Always inline: gcc takes a function that only prefetches for one without effects, and drops the calls.
  inline __attribute__((always_inline)) void Step() {
    _mm_prefetch(reinterpret_cast<const char*>(next_), _MM_HINT_T1);
    if (W > 2) _mm_prefetch(reinterpret_cast<const char*>(next_ + 64), _MM_HINT_T1);
    next_ += 32 * W;
  }

 private:
  const uint8_t* next_;
};

// The same address, which gcc does not know to be the same: it would keep what it loaded before, or many
// addresses beside it, in registers that the loops need.
template <class T>
inline __attribute__((always_inline)) const T* Again(const T* address) {
  __asm__("" : "+r"(address));
  return address;
}

inline __attribute__((always_inline)) void MultiplyAdd(__m256 vector, __m256 factor, __m256* sum) {
  *sum = _mm256_fmadd_ps(vector, factor, *sum);
}

// Pairs of 16-bit integers.
inline __attribute__((always_inline)) void MultiplyAdd(__m256i vector, __m256 factor, __m256i* sum) {
  *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(vector, _mm256_castps_si256(factor)));
  // Keeps gcc from adding up products first, which costs registers.
  __asm__("" : "+x"(*sum));
}

// *sum(row, v) += factor of the row x data(v), which is asked for once. What there is less of, factors or
// data, stays in registers.
template <int R, int W, class Data, class Sum>
inline __attribute__((always_inline)) void AddProducts(const Data& data, const Coefficients& by,
                                                       int first_row, int word, const Sum& sum) {
  const float* words = Again(by.words[first_row] + word);
  if constexpr (R < W) {
    __m256 factors[R];
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) factors[row] = _mm256_broadcast_ss(words + row * kMaxHeadSize);
#pragma GCC unroll 4
    for (int v = 0; v < W; ++v) {
      const auto vector = data(v);
#pragma GCC unroll 8
      for (int row = 0; row < R; ++row) MultiplyAdd(vector, factors[row], sum(row, v));
    }
  } else {
    decltype(data(0)) vectors[W];
#pragma GCC unroll 4
    for (int v = 0; v < W; ++v) vectors[v] = data(v);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      const __m256 factor = _mm256_broadcast_ss(words + row * kMaxHeadSize);
#pragma GCC unroll 4
      for (int v = 0; v < W; ++v) MultiplyAdd(vectors[v], factor, sum(row, v));
    }
  }
}

template <class Vector, int R, int W, class Data>
inline __attribute__((always_inline)) void AddProducts(const Data& data, const Coefficients& by,
                                                       int first_row, int word, Vector (&sums)[R][W]) {
  AddProducts<R, W>(
      data, by, first_row,
      word, [&](int row, int v) __attribute__((always_inline)) { return &sums[row][v]; });
}

// Accumulate adds `groups` words of reduction steps to the sums of query rows [first_row, first_row + R).
// Words of one group are 128 bytes from those of the next.
struct Float32Steps {
  static constexpr int kPerWord = 1;
  using Vector = __m256;

  template <int R, int W>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* block, int lane, int groups,
                                                               const Coefficients& by, int first_row,
                                                               Vector (&sums)[R][W]) {
    ReadAhead<W> ahead(block, lane, groups);
    const uint8_t* vectors = block + static_cast<ptrdiff_t>(lane) * 4;
    for (int group = 0; group < groups; ++group, vectors += 128) {
      ahead.Step();
      const auto floats = [&](int v) __attribute__((always_inline)) {
        return _mm256_castsi256_ps(LoadOnce(vectors + 32 * v));
      };
      AddProducts(floats, by, first_row, group, sums);
    }
  }
};

// A bfloat16 is the upper half of a float: the odd step of a word is the word without its lower half, the
// even step the lower half shifted up.
struct BFloat16Steps {
  static constexpr int kPerWord = 2;
  using Vector = __m256;

  template <int R, int W>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* block, int lane, int groups,
                                                               const Coefficients& by, int first_row,
                                                               Vector (&sums)[R][W]) {
    // Up to eight sums are too few for the latency of their additions. Where registers are left the odd steps
    // have sums of their own, of eight half.
    constexpr int kApart = R * W < 8 ? W : R * W == 8 ? W / 2 : 0;
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xffff0000u));
    ReadAhead<W> ahead(block, lane, groups);
    const uint8_t* vectors = block + static_cast<ptrdiff_t>(lane) * 4;
    Vector apart[R][W] = {};
    for (int group = 0; group < groups; ++group, vectors += 128) {
      ahead.Step();
      const auto even = [&](int v) __attribute__((always_inline)) {
        return _mm256_castsi256_ps(_mm256_slli_epi32(Load(vectors + 32 * v), 16));
      };
      AddProducts(even, by, first_row, 2 * group, sums);
      const auto odd = [ upper, again = Again(vectors) ](int v) __attribute__((always_inline)) {
        return _mm256_castsi256_ps(_mm256_and_si256(Load(again + 32 * v), upper));
      };
      AddProducts<R, W>(
          odd, by, first_row, 2 * group + 1, [&](int row, int v) __attribute__((always_inline)) {
            return v < kApart ? &apart[row][v] : &sums[row][v];
          });
    }
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < kApart; ++v) sums[row][v] = _mm256_add_ps(sums[row][v], apart[row][v]);
    }
  }
};

// Products of 16-bit integers, two to a word; the bytes of a word widened in place are its even and its odd
// steps.
struct Int8Steps {
  static constexpr int kPerWord = 4;
  using Vector = __m256i;

  template <int R, int W>
  static inline __attribute__((always_inline)) void Accumulate(const uint8_t* block, int lane, int groups,
                                                               const Coefficients& by, int first_row,
                                                               Vector (&sums)[R][W]) {
    ReadAhead<W> ahead(block, lane, groups);
    const uint8_t* vectors = block + static_cast<ptrdiff_t>(lane) * 4;
    for (int group = 0; group < groups; ++group, vectors += 128) {
      ahead.Step();
      const auto even = [&](int v) __attribute__((always_inline)) {
        return _mm256_srai_epi16(_mm256_slli_epi16(Load(vectors + 32 * v), 8), 8);
      };
      AddProducts(even, by, first_row, 2 * group, sums);
      const auto odd = [again = Again(vectors)](int v) __attribute__((always_inline)) {
        return _mm256_srai_epi16(Load(again + 32 * v), 8);
      };
      AddProducts(odd, by, first_row, 2 * group + 1, sums);
    }
  }
};

// Dense int4 sections, read as int8 with scales per step, which the factors have taken up.
struct Int4Steps : Int8Steps {};

// logits[row][first_token..+32) of one block of tokens.
template <class Steps, int R>
void KeyBlock(const TileSection& section, const uint8_t* tile, const uint8_t* vectors,
              const Coefficients& queries, int first_row, int first_token, float (*logits)[kTileTokens]) {
  constexpr int kVectors = LaneVectors(R);
  for (int lane = 0; lane < kBlockLanes; lane += 8 * kVectors) {
    typename Steps::Vector sums[R][kVectors] = {};
    Steps::Accumulate(vectors, lane, section.reduction / Steps::kPerWord, queries, first_row, sums);
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const int token = first_token + lane + 8 * v;
      if constexpr (std::is_same_v<Steps, Int4Steps>) {
#pragma GCC unroll 8
        for (int row = 0; row < R; ++row) {
          const __m256 scale = _mm256_broadcast_ss(queries.scale + first_row + row);
          const __m256 offset = _mm256_broadcast_ss(queries.offset + first_row + row);
          _mm256_store_ps(logits[first_row + row] + token,
                          _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[row][v]), scale, offset));
        }
      } else if constexpr (Steps::kPerWord == 4) {
        const __m256 key_scale = WidenBFloat16(tile + section.scale_offset + 2 * token);
#pragma GCC unroll 8
        for (int row = 0; row < R; ++row) {
          const __m256 scale = _mm256_mul_ps(_mm256_broadcast_ss(queries.scale + first_row + row), key_scale);
          _mm256_store_ps(logits[first_row + row] + token,
                          _mm256_mul_ps(_mm256_cvtepi32_ps(sums[row][v]), scale));
        }
      } else {
#pragma GCC unroll 8
        for (int row = 0; row < R; ++row) _mm256_store_ps(logits[first_row + row] + token, sums[row][v]);
      }
    }
  }
}

// accumulator[row][first_channel..+32) += weights x values of one block of channels.
template <class Steps, int R>
void ValueBlock(const uint8_t* vectors, const Coefficients& weights, int first_row, int first_channel,
                AttentionState* state) {
  constexpr int kVectors = LaneVectors(R);
  for (int lane = 0; lane < kBlockLanes; lane += 8 * kVectors) {
    typename Steps::Vector sums[R][kVectors] = {};
    Steps::Accumulate(vectors, lane, kTileTokens / Steps::kPerWord, weights, first_row, sums);
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
      float* accumulator = state->accumulator[first_row + row] + first_channel + lane;
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) {
        __m256 before = _mm256_load_ps(accumulator + 8 * v);
        if constexpr (std::is_same_v<Steps, Int4Steps>)
          before = _mm256_add_ps(before, _mm256_broadcast_ss(weights.offset + first_row + row));
        if constexpr (Steps::kPerWord == 4) {
          const __m256 scale = _mm256_broadcast_ss(weights.scale + first_row + row);
          _mm256_store_ps(accumulator + 8 * v,
                          _mm256_fmadd_ps(_mm256_cvtepi32_ps(sums[row][v]), scale, before));
        } else {
          _mm256_store_ps(accumulator + 8 * v, _mm256_add_ps(before, sums[row][v]));
        }
      }
    }
  }
}

// Calls pass<R>(first) for R query rows from `first` on, as evenly as kRowsPerPass allows: the kernels need R
// at compile time.
template <int R, class Pass>
inline void ChoosePass(const Pass& pass, int first, int rows) {
  if constexpr (R > 1) {
    if (rows < R) return ChoosePass<R - 1>(pass, first, rows);
  }
  pass.template operator()<R>(first);
}

template <class Pass>
inline void ForEachPass(int query_rows, const Pass& pass) {
  const int passes = (query_rows + kRowsPerPass - 1) / kRowsPerPass;
  const int rows = (query_rows + passes - 1) / passes;
  for (int first = 0; first < query_rows; first += rows)
    ChoosePass<kRowsPerPass>(pass, first, Min(query_rows - first, rows));
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_BLOCK_KERNELS_H_
