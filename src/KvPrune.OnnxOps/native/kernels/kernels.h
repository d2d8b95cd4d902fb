#ifndef KVPRUNE_KERNELS_KERNELS_H_
#define KVPRUNE_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/tile_format.h"

namespace kvprune {

// Query rows of one KV head handled in one pass over its tiles (query group x tokens).
inline constexpr int kMaxQueryRows = 8;

// Running softmax of up to kMaxQueryRows query rows: out = accumulator / sum, logits relative to max.
// All plain float, natural exponent. Reset() before the first rows.
struct AttentionState {
  float max[kMaxQueryRows];
  float sum[kMaxQueryRows];
  alignas(64) float accumulator[kMaxQueryRows][kMaxHeadSize];

  void Reset(int rows, int head_size);
};

// Rows of one KV head stored plainly, row-major [rows, head_size], either float or bfloat16.
struct DenseRows {
  const void* keys;
  const void* values;
  Storage key_storage;    // kFloat32 or kBFloat16
  Storage value_storage;  // kFloat32 or kBFloat16
  int head_size;
};

// One implementation of every kernel for one instruction set. All functions are re-entrant, allocate
// nothing and never fail on valid arguments.
struct KernelTable {
  const char* name;

  // Adds `tile_count` tiles to `state`. `queries` is [query_rows, format.key_channels]: already rotated,
  // multiplied by the attention scale, and gathered to the tiles' kept channels.
  void (*attend_tiles)(const TileFormat& format, const uint8_t* tiles, int64_t tile_count,
                       const float* queries, int query_rows, AttentionState* state);

  // Adds dense rows to `state`: query row r sees rows [0, visible[r]). `queries` is [query_rows, head_size],
  // rotated and scaled. Rows that one query row sees and another does not weigh 0 for the latter, so an
  // infinite or NaN value in them may reach it.
  void (*attend_dense)(const DenseRows& rows, const int64_t* visible, const float* queries, int query_rows,
                       AttentionState* state);

  // Packs 64 token rows into one tile: gathers `channels` (key_channels ascending indices), keeps the
  // row_nonzeros largest magnitudes of each row where a section is a bitmap (ties: the lower channel;
  // bfloat16 sections compare the rounded values; NaN counts as the largest, so it stays visible), rounds or
  // quantises. An int8 row's scale is its largest magnitude / 127, rounded up; a row with infinities or NaN
  // reads as NaN. `keys` and `values` are [64, head_size] with `row_stride` floats between rows.
  void (*pack_tile)(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
                    const uint8_t* channels, uint8_t* tile);
};

// The kernels in use: the best ones this CPU runs unless UseKernels chose others.
const KernelTable& Kernels();
// Chooses by name ("scalar", "avx512", "avx512_bf16"), null for the best. False when unknown or not supported
// by this CPU; the choice is then unchanged.
bool UseKernels(const char* name);

// from joins into: both cover disjoint rows for the same queries.
void MergeAttention(const AttentionState& from, int query_rows, int head_size, AttentionState* into);
// output[r] = accumulator / sum for r in [0, query_rows); rows that saw nothing give zeros.
void FinishAttention(const AttentionState& state, int query_rows, int head_size, float* const* output);

// Half-split rotary embedding (channel j pairs with j + rotary_size/2), in place on one head's row.
// cosine and sine are this position's row of the cache, [rotary_size/2].
void RotateHalves(float* row, int rotary_size, const float* cosine, const float* sine);

// The inverse of pack_tile's rounding: writes 64 rows [64, head_size], removed entries 0. Reference quality,
// any instruction set.
void UnpackTile(const TileFormat& format, const uint8_t* tile, const uint8_t* channels, float* keys,
                float* values);

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_KERNELS_H_
