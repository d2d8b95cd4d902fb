#define KVPRUNE_NATIVE_BFLOAT16 1

#include "kernels/avx512/attend.h"
#include "kernels/avx512/avx512.h"

namespace kvprune::avx512_bf16 {

void AttendTiles(const TileFormat& format, const uint8_t* tiles, int64_t tile_count, const float* queries,
                 int query_rows, AttentionState* state) {
  AttendTilesBody(format, tiles, tile_count, queries, query_rows, state);
}

void AttendDense(const DenseRows& rows, const int64_t* visible, const float* queries, int query_rows,
                 AttentionState* state) {
  AttendDenseBody(rows, visible, queries, query_rows, state);
}

}  // namespace kvprune::avx512_bf16
