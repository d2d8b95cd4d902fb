#ifndef KVPRUNE_KERNELS_SCALAR_SCALAR_H_
#define KVPRUNE_KERNELS_SCALAR_SCALAR_H_

#include "kernels/kernels.h"

// Portable kernels: plain loops over lanes that compilers vectorise for the baseline instruction set.
namespace kvprune::scalar {

void AttendTiles(const TileFormat& format, const uint8_t* tiles, int64_t tile_count, const float* queries,
                 int query_rows, const RowRange* seen, float softcap, AttentionState* state);
void AttendDense(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                 float softcap, AttentionState* state);
void ExpandTile(const TileFormat& format, const uint8_t* tile, float* expanded);
void ExpandRows(const float* keys, const float* values, int rows, int head_size, float* expanded);
void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* key_channels, const uint8_t* value_channels, uint8_t* tile);

// Turns `count` logits of one row, capped where softcap is above 0, into softmax weights relative to
// state->max, after raising that maximum and rescaling what the row has so far.
void AddLogits(AttentionState* state, int row, int channels, float softcap, float* logits, int count);

extern const ScoreKernels kScores;

}  // namespace kvprune::scalar

#endif  // KVPRUNE_KERNELS_SCALAR_SCALAR_H_
