#ifndef KVPRUNE_KERNELS_AVX2_AVX2_H_
#define KVPRUNE_KERNELS_AVX2_AVX2_H_

#include "kernels/kernels.h"

// The files of this folder are compiled with AVX2, FMA and F16C switched on. They use no function template or
// inline function of the standard library or of shared headers: the linker keeps one copy of those, and it
// might keep one that other processors cannot run.

// For processors with AVX2, FMA and F16C (Haswell, Zen and later).
namespace kvprune::avx2 {

void AttendTiles(const TileFormat& format, const uint8_t* tiles, int64_t tile_count, const float* queries,
                 int query_rows, const RowRange* seen, float softcap, AttentionState* state);
void AttendDense(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                 float softcap, AttentionState* state);
void ExpandTile(const TileFormat& format, const uint8_t* tile, float* expanded);
void ExpandRows(const float* keys, const float* values, int rows, int head_size, float* expanded);
void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* key_channels, const uint8_t* value_channels, uint8_t* tile);

extern const ScoreKernels kScores;

}  // namespace kvprune::avx2

#endif  // KVPRUNE_KERNELS_AVX2_AVX2_H_
