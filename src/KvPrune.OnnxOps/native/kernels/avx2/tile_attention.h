#ifndef KVPRUNE_KERNELS_AVX2_TILE_ATTENTION_H_
#define KVPRUNE_KERNELS_AVX2_TILE_ATTENTION_H_

#include <cstdint>
#include <type_traits>

#include "kernels/avx2/block_kernels.h"
#include "kernels/avx2/block_reader.h"
#include "kernels/avx2/coefficients.h"
#include "kernels/avx2/softmax.h"
#include "kernels/kernels.h"

namespace kvprune {
namespace {

// Attention of up to kMaxQueryRows queries over tiles of one format, added to `state`.
class TileAttention {
 public:
  TileAttention(const TileFormat& format, const float* queries, int query_rows, float softcap,
                AttentionState* state)
      : format_(format),
        query_rows_(query_rows),
        state_(state),
        softmax_(query_rows, format.value.lanes, softcap, state) {
    for (int row = 0; row < query_rows; ++row, queries += format.key_channels) {
      if (format.key.per_token_scales()) {
        EncodeInt8Query(queries, format.key_channels, row, &queries_);
      } else {
        CopyPadded(queries, format.key_channels, queries_.words[row]);
      }
    }
  }

  // The tile's tokens are the rows from `first` on, of which query row r sees seen[r]; null: all of them.
  void Add(const uint8_t* tile, const RowRange* seen, int64_t first) {
    switch (format_.key.storage) {
      case Storage::kFloat32:
        ReadKeys<Float32Steps>(tile);
        break;
      case Storage::kBFloat16:
        ReadKeys<BFloat16Steps>(tile);
        break;
      case Storage::kFloat16:
        ReadKeys<Float32Steps>(tile);
        break;
      case Storage::kInt8:
        ReadKeys<Int8Steps>(tile);
        break;
      case Storage::kInt4:
        if (format_.key.bitmap)
          ReadKeys<Int8Steps>(tile);
        else
          ReadKeys<Int4Steps>(tile);
        break;
    }
    const bool int8_values = format_.value.per_token_scales();
    const bool int4_values = format_.value.per_step_scales();
    for (int row = 0; row < query_rows_; ++row) {
      float* weights = int8_values || int4_values ? logits_[row] : weights_.words[row];
      const SeenTokens shown = seen == nullptr ? SeenTokens{0, kTileTokens} : SeenOf(seen[row], first);
      softmax_.Weigh(row, shown, logits_[row], weights);
      if (int8_values) EncodeInt8Weights(weights, tile + format_.value.scale_offset, row, &weights_);
    }
    switch (format_.value.storage) {
      case Storage::kFloat32:
        return ReadValues<Float32Steps>(tile);
      case Storage::kBFloat16:
        return ReadValues<BFloat16Steps>(tile);
      case Storage::kFloat16:
        return ReadValues<Float32Steps>(tile);
      case Storage::kInt8:
        return ReadValues<Int8Steps>(tile);
      case Storage::kInt4:
        return int4_values ? ReadValues<Int4Steps>(tile) : ReadValues<Int8Steps>(tile);
    }
  }

  // To be called once, after the last tile.
  void Finish() { softmax_.Finish(); }

 private:
  template <class Steps>
  void ReadKeys(const uint8_t* tile) {
    BlockReader reader(format_.key, tile, format_.stride, scratch_);
    // Int4: the scales are those of the tile's channels, so the queries have to take them up anew.
    constexpr bool kInt4 = std::is_same_v<Steps, Int4Steps>;
    for (int row = 0; kInt4 && row < query_rows_; ++row) {
      EncodeInt4Factors(queries_.words[row], tile + format_.key.step_scale_offset(0),
                        tile + format_.key.step_zero_offset(0), format_.key.reduction, row, &int4_queries_);
    }
    const Coefficients& queries = kInt4 ? int4_queries_ : queries_;
    for (int token = 0; token < kTileTokens; token += kBlockLanes) {
      const uint8_t* vectors = reader.Next();
      ForEachPass(
          query_rows_, [&]<int R>(int first) __attribute__((always_inline)) {
            KeyBlock<Steps, R>(format_.key, tile, vectors, queries, first, token, logits_);
          });
    }
  }

  template <class Steps>
  void ReadValues(const uint8_t* tile) {
    BlockReader reader(format_.value, tile, format_.stride, scratch_);
    for (int channel = 0; channel < format_.value.lanes; channel += kBlockLanes) {
      const uint8_t* vectors = reader.Next();
      if (std::is_same_v<Steps, Int4Steps> && channel % kInt4GroupLanes == 0) {
        for (int row = 0; row < query_rows_; ++row) {
          EncodeInt4Factors(logits_[row], tile + format_.value.step_scale_offset(channel),
                            tile + format_.value.step_zero_offset(channel), kTileTokens, row, &weights_);
        }
      }
      ForEachPass(
          query_rows_, [&]<int R>(int first) __attribute__((always_inline)) {
            ValueBlock<Steps, R>(vectors, weights_, first, channel, state_);
          });
    }
  }

  const TileFormat& format_;
  const int query_rows_;
  AttentionState* const state_;
  Softmax softmax_;
  Coefficients queries_;
  Coefficients int4_queries_;  // of the tile that is read
  Coefficients weights_;
  alignas(32) float logits_[kMaxQueryRows][kTileTokens];  // the weights of integer values, afterwards
  alignas(64) uint8_t scratch_[kMaxHeadSize * kBlockLanes * 4];
};

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX2_TILE_ATTENTION_H_
