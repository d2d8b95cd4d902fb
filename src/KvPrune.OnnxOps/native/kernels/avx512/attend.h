#ifndef KVPRUNE_KERNELS_AVX512_ATTEND_H_
#define KVPRUNE_KERNELS_AVX512_ATTEND_H_

#include "kernels/avx512/dense_tile.h"
#include "kernels/avx512/tile_attention.h"

namespace kvprune {
namespace {

inline void AttendTilesBody(const TileFormat& format, const uint8_t* tiles, int64_t tile_count,
                            const float* queries, int query_rows, const RowRange* seen, float softcap,
                            AttentionState* state) {
  TileAttention attention(format, queries, query_rows, softcap, state);
  for (int64_t index = 0; index < tile_count; ++index) {
    attention.Add(tiles + static_cast<size_t>(index) * format.stride, seen, index * kTileTokens);
  }
  attention.Finish();
}

// 64 rows at a time become a dense tile: transposing them costs about a quarter of one pass over it.
inline void AttendDenseBody(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                            float softcap, AttentionState* state) {
  int64_t begin = seen[0].begin, end = seen[0].end;
  for (int row = 1; row < query_rows; ++row) {
    begin = seen[row].begin < begin ? seen[row].begin : begin;
    end = seen[row].end > end ? seen[row].end : end;
  }
  const int head_size = rows.head_size;
  const TileFormat format =
      MakeTileFormat(head_size, head_size, rows.key_storage, head_size, rows.value_storage, head_size);
  const int key_bytes = ElementBits(rows.key_storage) / 8;
  const int value_bytes = ElementBits(rows.value_storage) / 8;
  alignas(64) uint8_t tile[2 * kTileTokens * kMaxHeadSize * 4];
  TileAttention attention(format, queries, query_rows, softcap, state);
  for (int64_t first = begin; first < end; first += kTileTokens) {
    const int row_count = end - first < kTileTokens ? static_cast<int>(end - first) : kTileTokens;
    const size_t offset = static_cast<size_t>(first) * head_size;
    TransposeKeys(static_cast<const uint8_t*>(rows.keys) + offset * key_bytes, row_count,
                  head_size * key_bytes / 4, tile + format.key.value_offset);
    const uint8_t* values = static_cast<const uint8_t*>(rows.values) + offset * value_bytes;
    if (rows.value_storage == Storage::kFloat32) {
      BlockFloatValues(values, row_count, head_size, tile + format.value.value_offset);
    } else {
      BlockHalfWordValues(values, row_count, head_size, tile + format.value.value_offset);
    }
    attention.Add(tile, seen, first);
  }
  attention.Finish();
}

}  // namespace
}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_AVX512_ATTEND_H_
