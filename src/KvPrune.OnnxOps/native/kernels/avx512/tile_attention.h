#ifndef KVPRUNE_KERNELS_AVX512_TILE_ATTENTION_H_
#define KVPRUNE_KERNELS_AVX512_TILE_ATTENTION_H_

#include <immintrin.h>

#include <cstdint>

#include "kernels/avx512/block_kernels.h"
#include "kernels/avx512/block_reader.h"
#include "kernels/avx512/coefficients.h"
#include "kernels/avx512/int4_blocks.h"
#include "kernels/avx512/vector_math.h"
#include "kernels/kernels.h"

namespace kvprune {
namespace {

// Attention of up to kMaxQueryRows queries over tiles of one format, added to `state`.
class TileAttention {
 public:
  TileAttention(const TileFormat& format, const float* queries, int query_rows, float softcap,
                AttentionState* state)
      : format_(format), query_rows_(query_rows), softcap_(softcap), state_(state) {
    const int padded = format.key.reduction;
    if (format.key.per_token_scales()) {
      EncodeInt8Queries(queries, query_rows, format.key_channels, padded, &queries_);
    } else if (format.key.storage == Storage::kBFloat16) {
#if KVPRUNE_NATIVE_BFLOAT16
      EncodeBFloat16Queries(queries, query_rows, format.key_channels, padded, &queries_);
#else
      EncodeFloatRows(queries, query_rows, format.key_channels, padded, &queries_);
#endif
    } else {
      EncodeFloatRows(queries, query_rows, format.key_channels, padded, &queries_);
    }
    for (int row = 0; row < query_rows; ++row) sums_[row] = _mm512_setzero_ps();
  }

  // The tile's tokens are the rows from `first` on, of which query row r sees seen[r]; null: all of them.
  void Add(const uint8_t* tile, const RowRange* seen, int64_t first) {
    ReadKeys(tile);
    if (format_.value.per_step_scales()) LoadValueSteps(tile);
    for (int row = 0; row < query_rows_; ++row) {
      const uint64_t mask = seen == nullptr ? ~uint64_t{0} : SeenTokens(seen[row], first);
      AddLogits(row, mask, tile + format_.value.scale_offset);
    }
    ReadValues(tile);
  }

  // To be called once, after the last tile.
  void Finish() {
    for (int row = 0; row < query_rows_; ++row) state_->sum[row] += _mm512_reduce_add_ps(sums_[row]);
  }

 private:
  void ReadKeys(const uint8_t* tile) {
    BlockReader reader(format_.key, tile, format_.stride, scratch_);
    if (format_.key.per_step_scales()) EncodeInt4Queries(tile);
    for (int token = 0; token < kTileTokens; token += kBlockLanes) {
      const uint8_t* vectors = reader.Next();
      switch (format_.key.storage) {
        case Storage::kFloat32:
          Keys<Float32Blocks>(tile, vectors, token);
          break;
        case Storage::kBFloat16:
          Keys<BFloat16Blocks>(tile, vectors, token);
          break;
        case Storage::kFloat16:
          Keys<Float16Blocks>(tile, vectors, token);
          break;
        case Storage::kInt8:
          Keys<Int8Blocks>(tile, vectors, token);
          break;
        case Storage::kInt4:
          if (format_.key.bitmap)
            Keys<Int8Blocks>(tile, vectors, token);
          else
            Int4Keys(vectors, token);
          break;
      }
    }
  }

  void ReadValues(const uint8_t* tile) {
    BlockReader reader(format_.value, tile, format_.stride, scratch_);
    for (int channel = 0; channel < format_.value.lanes; channel += kBlockLanes) {
      const uint8_t* vectors = reader.Next();
      switch (format_.value.storage) {
        case Storage::kFloat32:
          Values<Float32Blocks>(vectors, channel);
          break;
        case Storage::kBFloat16:
          Values<BFloat16Blocks>(vectors, channel);
          break;
        case Storage::kFloat16:
          Values<Float16Blocks>(vectors, channel);
          break;
        case Storage::kInt8:
          Values<Int8Blocks>(vectors, channel);
          break;
        case Storage::kInt4:
          if (format_.value.bitmap)
            Values<Int8Blocks>(vectors, channel);
          else
            Int4Values(vectors, channel);
          break;
      }
    }
  }

  template <class Blocks>
  void Keys(const uint8_t* tile, const uint8_t* vectors, int token) {
    ForEachPass<Blocks::kRowsPerPass>([&]<int R>(int first) __attribute__((always_inline)) {
      Blocks::template Keys<R>(format_.key, tile, vectors, queries_, first, token, logits_);
    });
  }

  template <class Blocks>
  void Values(const uint8_t* vectors, int channel) {
    ForEachPass<Blocks::kRowsPerPass>([&]<int R>(int first) __attribute__((always_inline)) {
      Blocks::template Values<R>(vectors, weights_, first, channel, state_);
    });
  }

  // The scales are those of the tile's channels, so the queries have to take them up anew.
  void EncodeInt4Queries(const uint8_t* tile) {
    const int count = format_.key.reduction;
    LoadInt4Steps(tile + format_.key.step_scale_offset(0), tile + format_.key.step_zero_offset(0), count,
                  &steps_[0]);
    for (int row = 0; row < query_rows_; ++row) {
      EncodeInt4Query(reinterpret_cast<const float*>(queries_.words[row]), steps_[0], count, row,
                      &int4_factors_);
    }
  }

  void LoadValueSteps(const uint8_t* tile) {
    for (int lane = 0; lane < format_.value.lanes; lane += kInt4GroupLanes) {
      LoadInt4Steps(tile + format_.value.step_scale_offset(lane), tile + format_.value.step_zero_offset(lane),
                    kTileTokens, &steps_[lane / kInt4GroupLanes]);
    }
  }

  void Int4Keys(const uint8_t* vectors, int token) {
    ForEachPass<Int4Blocks::kRowsPerPass>([&]<int R>(int first) __attribute__((always_inline)) {
      Int4Blocks::Keys<R>(format_.key, vectors, int4_factors_, first, token, logits_);
    });
  }

  void Int4Values(const uint8_t* vectors, int channel) {
    ForEachPass<Int4Blocks::kRowsPerPass>([&]<int R>(int first) __attribute__((always_inline)) {
      Int4Blocks::Values<R>(vectors, int4_factors_, first, channel, state_);
    });
  }

  // Calls pass<R>(first) for every kMax query rows, R of them from `first` on: the kernels need R at compile
  // time.
  template <int kMax, class Pass>
  void ForEachPass(const Pass& pass) {
    for (int first = 0; first < query_rows_; first += kMax)
      Choose<kMax>(pass, first, Min(query_rows_ - first, kMax));
  }

  template <int R, class Pass>
  static void Choose(const Pass& pass, int first, int rows) {
    if constexpr (R > 1) {
      if (rows < R) return Choose<R - 1>(pass, first, rows);
    }
    pass.template operator()<R>(first);
  }

  // A bit per token of the tile that begins at row `first`.
  static uint64_t SeenTokens(const RowRange& range, int64_t first) {
    return TokensBefore(range.end - first) & ~TokensBefore(range.begin - first);
  }

  static uint64_t TokensBefore(int64_t token) {
    return token >= kTileTokens ? ~uint64_t{0} : token <= 0 ? 0 : (uint64_t{1} << token) - 1;
  }

  // Turns the logits of the row's tokens `seen` into weights for the value section, raising the running
  // maximum where needed.
  void AddLogits(int row, uint64_t seen, const uint8_t* value_scales) {
    __m512 weights[4];
    if (seen == 0) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) weights[i] = _mm512_setzero_ps();
      return EncodeWeights(row, weights, value_scales);
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) weights[i] = _mm512_load_ps(logits_[row] + 16 * i);
    if (softcap_ > 0) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) weights[i] = Softcap(weights[i], softcap_);
    }
    if (seen != ~uint64_t{0}) {
#pragma GCC unroll 4
      for (int i = 0; i < 4; ++i) {
        weights[i] = _mm512_mask_mov_ps(_mm512_set1_ps(-__builtin_inff()),
                                        static_cast<__mmask16>(seen >> (16 * i)), weights[i]);
      }
    }
    const __m512 largest =
        _mm512_max_ps(_mm512_max_ps(weights[0], weights[1]), _mm512_max_ps(weights[2], weights[3]));
    if (_mm512_cmp_ps_mask(largest, _mm512_set1_ps(state_->max[row]), _CMP_GT_OQ) != 0) {
      RaiseMaximum(row, _mm512_reduce_max_ps(largest));
    }
    const __m512 max = _mm512_set1_ps(state_->max[row]);
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) weights[i] = Exp(_mm512_sub_ps(weights[i], max));
    sums_[row] = _mm512_add_ps(sums_[row], _mm512_add_ps(_mm512_add_ps(weights[0], weights[1]),
                                                         _mm512_add_ps(weights[2], weights[3])));
    EncodeWeights(row, weights, value_scales);
  }

  void RaiseMaximum(int row, float max) {
    const __m512 rescale = Exp(_mm512_set1_ps(state_->max[row] - max));
    state_->max[row] = max;
    state_->sum[row] *= _mm512_cvtss_f32(rescale);
    sums_[row] = _mm512_mul_ps(sums_[row], rescale);
    float* accumulator = state_->accumulator[row];
    for (int channel = 0; channel < format_.value.lanes; channel += 16) {
      _mm512_store_ps(accumulator + channel, _mm512_mul_ps(_mm512_load_ps(accumulator + channel), rescale));
    }
  }

  void EncodeWeights(int row, const __m512 (&weights)[4], const uint8_t* value_scales) {
    if (format_.value.per_token_scales()) return EncodeInt8Weights(weights, value_scales, row, &weights_);
    if (format_.value.per_step_scales()) {
      for (int group = 0; group * kInt4GroupLanes < format_.value.lanes; ++group)
        EncodeInt4Weights(weights, steps_[group], row, group, &int4_factors_);
      return;
    }
#if KVPRUNE_NATIVE_BFLOAT16
    if (format_.value.storage == Storage::kBFloat16) {
      _mm512_store_si512(weights_.words[row], BFloat16Pairs(weights[0], weights[1]));
      _mm512_store_si512(weights_.words[row] + 16, BFloat16Pairs(weights[2], weights[3]));
      return;
    }
#endif
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) _mm512_store_ps(weights_.words[row] + 16 * i, weights[i]);
  }

  const TileFormat& format_;
  const int query_rows_;
  const float softcap_;
  AttentionState* const state_;
  __m512 sums_[kMaxQueryRows];  // of weights, a partial sum per lane
  Coefficients queries_;
  Coefficients weights_;
  Int4Coefficients int4_factors_;  // of the section that is read
  Int4Steps steps_[kMaxInt4Groups];
  alignas(64) float logits_[kMaxQueryRows][kTileTokens];
  alignas(64) uint8_t scratch_[kMaxHeadSize * kBlockLanes * 4];
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_TILE_ATTENTION_H_
