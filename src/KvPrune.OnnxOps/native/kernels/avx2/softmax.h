#ifndef KVPRUNE_KERNELS_AVX2_SOFTMAX_H_
#define KVPRUNE_KERNELS_AVX2_SOFTMAX_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx2/vector_math.h"
#include "kernels/kernels.h"

namespace kvprune {
namespace {

// Tokens [begin, end) of 64.
struct SeenTokens {
  int begin;
  int end;
};

// What `range` covers of the 64 rows from `first` on.
inline SeenTokens SeenOf(const RowRange& range, int64_t first) {
  return {static_cast<int>(Max(0, Min(range.begin - first, int64_t{kTileTokens}))),
          static_cast<int>(Max(0, Min(range.end - first, int64_t{kTileTokens})))};
}

// The running softmax of `state`, 64 tokens at a time.
class Softmax {
 public:
  Softmax(int query_rows, int lanes, float softcap, AttentionState* state)
      : query_rows_(query_rows), lanes_(lanes), softcap_(softcap), state_(state) {
    for (int row = 0; row < query_rows; ++row) sums_[row] = _mm256_setzero_ps();
  }

  // Turns the logits of 64 tokens into weights relative to the row's maximum, raising that where needed;
  // tokens outside `seen` weigh 0. Both arrays are aligned and may be the same.
  void Weigh(int row, const SeenTokens& seen, const float* logits, float* weights) {
    __m256 vectors[kVectors];
    if (seen.begin >= seen.end) {
      for (int i = 0; i < kVectors; ++i) _mm256_store_ps(weights + 8 * i, _mm256_setzero_ps());
      return;
    }
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) vectors[i] = _mm256_load_ps(logits + 8 * i);
    if (softcap_ > 0) {
#pragma GCC unroll 8
      for (int i = 0; i < kVectors; ++i) vectors[i] = Softcap(vectors[i], softcap_);
    }
    if (seen.end - seen.begin < kTileTokens) Hide(seen, vectors);
    __m256 largest = vectors[0];
#pragma GCC unroll 8
    for (int i = 1; i < kVectors; ++i) largest = _mm256_max_ps(largest, vectors[i]);
    if (_mm256_movemask_ps(_mm256_cmp_ps(largest, _mm256_set1_ps(state_->max[row]), _CMP_GT_OQ)) != 0) {
      RaiseMaximum(row, _mm256_cvtss_f32(MaxAcross(largest)));
    }
    const __m256 max = _mm256_set1_ps(state_->max[row]);
    __m256 sum = _mm256_setzero_ps();
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      vectors[i] = Exp(_mm256_sub_ps(vectors[i], max));
      _mm256_store_ps(weights + 8 * i, vectors[i]);
      sum = _mm256_add_ps(sum, vectors[i]);
    }
    sums_[row] = _mm256_add_ps(sums_[row], sum);
  }

  // To be called once, after the last tokens.
  void Finish() {
    for (int row = 0; row < query_rows_; ++row) state_->sum[row] += _mm256_cvtss_f32(SumAcross(sums_[row]));
  }

 private:
  static constexpr int kVectors = kTileTokens / 8;

  static void Hide(const SeenTokens& seen, __m256 (&logits)[kVectors]) {
    const __m256i begin = _mm256_set1_epi32(seen.begin), end = _mm256_set1_epi32(seen.end);
    __m256i token = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
#pragma GCC unroll 8
    for (int i = 0; i < kVectors; ++i) {
      const __m256i shown =
          _mm256_andnot_si256(_mm256_cmpgt_epi32(begin, token), _mm256_cmpgt_epi32(end, token));
      logits[i] = _mm256_blendv_ps(_mm256_set1_ps(-__builtin_inff()), logits[i], _mm256_castsi256_ps(shown));
      token = _mm256_add_epi32(token, _mm256_set1_epi32(8));
    }
  }

  void RaiseMaximum(int row, float max) {
    const __m256 rescale = Exp(_mm256_set1_ps(state_->max[row] - max));
    state_->max[row] = max;
    state_->sum[row] *= _mm256_cvtss_f32(rescale);
    sums_[row] = _mm256_mul_ps(sums_[row], rescale);
    float* accumulator = state_->accumulator[row];
    for (int channel = 0; channel < lanes_; channel += 8) {
      _mm256_store_ps(accumulator + channel, _mm256_mul_ps(_mm256_load_ps(accumulator + channel), rescale));
    }
  }

  const int query_rows_;
  const int lanes_;  // of the accumulators
  const float softcap_;
  AttentionState* const state_;
  __m256 sums_[kMaxQueryRows];  // of weights, a partial sum per lane
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_SOFTMAX_H_
