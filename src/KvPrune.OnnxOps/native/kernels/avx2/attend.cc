#include "kernels/avx2/avx2.h"
#include "kernels/avx2/row_attention.h"
#include "kernels/avx2/tile_attention.h"

namespace kvprune::avx2 {

void AttendTiles(const TileFormat& format, const uint8_t* tiles, int64_t tile_count, const float* queries,
                 int query_rows, const RowRange* seen, float softcap, AttentionState* state) {
  TileAttention attention(format, queries, query_rows, softcap, state);
  for (int64_t index = 0; index < tile_count; ++index) {
    attention.Add(tiles + static_cast<size_t>(index) * format.stride, seen, index * kTileTokens);
  }
  attention.Finish();
}

void AttendDense(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                 float softcap, AttentionState* state) {
  int64_t begin = seen[0].begin, end = seen[0].end;
  for (int row = 1; row < query_rows; ++row) {
    begin = Min(begin, seen[row].begin);
    end = Max(end, seen[row].end);
  }
  RowAttention attention(rows, queries, query_rows, softcap, state);
  for (int64_t first = begin; first < end; first += kTileTokens) {
    attention.Add(seen, first, static_cast<int>(Min(end - first, int64_t{kTileTokens})));
  }
  attention.Finish();
}

}  // namespace kvprune::avx2
