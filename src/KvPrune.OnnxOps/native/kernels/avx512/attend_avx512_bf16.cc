#define KVPRUNE_NATIVE_BFLOAT16 1

#include "kernels/avx512/attend.h"
#include "kernels/avx512/avx512.h"

namespace kvprune::avx512_bf16 {

void AttendTiles(const TileFormat& format, const uint8_t* tiles, int64_t tile_count, const float* queries,
                 int query_rows, const RowRange* seen, float softcap, AttentionState* state) {
  AttendTilesBody(format, tiles, tile_count, queries, query_rows, seen, softcap, state);
}

void AttendDense(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                 float softcap, AttentionState* state) {
  AttendDenseBody(rows, seen, queries, query_rows, softcap, state);
}

}  // namespace kvprune::avx512_bf16
