#ifndef KVPRUNE_KERNELS_AVX2_ROW_ATTENTION_H_
#define KVPRUNE_KERNELS_AVX2_ROW_ATTENTION_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/block_kernels.h"
#include "kernels/avx2/softmax.h"
#include "kernels/avx2/vector_math.h"
#include "kernels/kernels.h"

namespace kvprune {
namespace {

struct BFloat16 {
  uint16_t bits;
};

struct Float16 {
  uint16_t bits;
};

inline __m256 LoadValues(const float* from) {
  return _mm256_loadu_ps(from);
}

inline __m256 LoadValues(const BFloat16* from) {
  return WidenBFloat16(from);
}

inline __m256 LoadValues(const Float16* from) {
  return _mm256_cvtph_ps(LoadHalf(from));
}

// Lane i of the result is the sum of the lanes of rows[i].
inline __m256 SumEach(const __m256 (&rows)[8]) {
  const __m256 low = _mm256_hadd_ps(_mm256_hadd_ps(rows[0], rows[1]), _mm256_hadd_ps(rows[2], rows[3]));
  const __m256 high = _mm256_hadd_ps(_mm256_hadd_ps(rows[4], rows[5]), _mm256_hadd_ps(rows[6], rows[7]));
  return _mm256_add_ps(_mm256_permute2f128_ps(low, high, 0x20), _mm256_permute2f128_ps(low, high, 0x31));
}

// Attention of up to kMaxQueryRows queries over row-major rows, added to `state`. Channels are the lanes of
// both products: what sums across lanes cost is less than transposing the keys.
class RowAttention {
 public:
  RowAttention(const DenseRows& rows, const float* queries, int query_rows, float softcap,
               AttentionState* state)
      : rows_(rows),
        queries_(queries),
        state_(state),
        head_size_(rows.head_size),
        query_rows_(query_rows),
        softmax_(query_rows, rows.head_size, softcap, state) {}

  // Up to 64 rows from `first` on, of which query row r sees seen[r].
  void Add(const RowRange* seen, int64_t first, int count) {
    const int64_t offset = first * head_size_;
    const float* keys = widened_;
    if (rows_.key_storage == Storage::kFloat32) {
      keys = static_cast<const float*>(rows_.keys) + offset;
    } else if (rows_.key_storage == Storage::kBFloat16) {
      Widen(static_cast<const BFloat16*>(rows_.keys) + offset, count);
    } else {
      Widen(static_cast<const Float16*>(rows_.keys) + offset, count);
    }
    for (int row = 0; row < query_rows_; ++row) {
      const SeenTokens shown = SeenOf(seen[row], first);
      for (int token = shown.begin / 8 * 8; token < shown.end; token += 8) {
        _mm256_store_ps(weights_.words[row] + token,
                        Logits(queries_ + static_cast<ptrdiff_t>(row) * head_size_, keys, token, count));
      }
      softmax_.Weigh(row, shown, weights_.words[row], weights_.words[row]);
    }
    ForEachPass(
        query_rows_, [&]<int R>(int first_row) __attribute__((always_inline)) {
          if (rows_.value_storage == Storage::kFloat32) {
            AddRows<R>(static_cast<const float*>(rows_.values) + offset, count, first_row);
          } else if (rows_.value_storage == Storage::kBFloat16) {
            AddRows<R>(static_cast<const BFloat16*>(rows_.values) + offset, count, first_row);
          } else {
            AddRows<R>(static_cast<const Float16*>(rows_.values) + offset, count, first_row);
          }
        });
  }

  // To be called once, after the last rows.
  void Finish() { softmax_.Finish(); }

 private:
  template <class Element>
  void Widen(const Element* keys, int count) {
    for (int i = 0; i < count * head_size_; i += 8) _mm256_store_ps(widened_ + i, LoadValues(keys + i));
  }

  // Of 8 tokens; beyond the last row they repeat it.
  __m256 Logits(const float* query, const float* keys, int token, int count) const {
    const float* key[8];
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i)
      key[i] = keys + static_cast<ptrdiff_t>(Min(token + i, count - 1)) * head_size_;
    __m256 sums[8] = {};
    for (int channel = 0; channel < head_size_; channel += 8) {
      const __m256 factors = _mm256_loadu_ps(query + channel);
#pragma GCC unroll 8
      for (int i = 0; i < 8; ++i)
        sums[i] = _mm256_fmadd_ps(factors, _mm256_loadu_ps(key[i] + channel), sums[i]);
    }
    return SumEach(sums);
  }

  template <int R, class Element>
  void AddRows(const Element* values, int count, int first_row) {
    constexpr int kVectors = LaneVectors(R);
    int channel = 0;
    for (; channel + 8 * kVectors <= head_size_; channel += 8 * kVectors)
      AddChannels<R, kVectors>(values + channel, count, first_row, channel);
    for (; channel < head_size_; channel += 8) AddChannels<R, 1>(values + channel, count, first_row, channel);
  }

  template <int R, int W, class Element>
  void AddChannels(const Element* values, int count, int first_row, int channel) {
    __m256 sums[R][W];
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < W; ++v)
        sums[row][v] = _mm256_load_ps(state_->accumulator[first_row + row] + channel + 8 * v);
    }
    for (int token = 0; token < count; ++token, values += head_size_) {
      const auto data = [&](int v) __attribute__((always_inline)) {
        return LoadValues(values + 8 * v);
      };
      AddProducts(data, weights_, first_row, token, sums);
    }
#pragma GCC unroll 8
    for (int row = 0; row < R; ++row) {
#pragma GCC unroll 4
      for (int v = 0; v < W; ++v)
        _mm256_store_ps(state_->accumulator[first_row + row] + channel + 8 * v, sums[row][v]);
    }
  }

  const DenseRows& rows_;
  const float* const queries_;
  AttentionState* const state_;
  const int head_size_;
  const int query_rows_;
  Softmax softmax_;
  Coefficients weights_;  // the logits first
  alignas(32) float widened_[kTileTokens * kMaxHeadSize];
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_ROW_ATTENTION_H_
