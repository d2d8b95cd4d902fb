#ifndef KVPRUNE_KERNELS_KERNELS_H_
#define KVPRUNE_KERNELS_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "kernels/bfloat16.h"
#include "kernels/float16.h"
#include "kernels/score_kernels.h"
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

// Rows of one KV head stored plainly, row-major [rows, head_size], as floating-point numbers.
struct DenseRows {
  const void* keys;
  const void* values;
  Storage key_storage;    // kFloat32, kBFloat16 or kFloat16
  Storage value_storage;  // kFloat32, kBFloat16 or kFloat16
  int head_size;
};

// The rows [begin, end) of a run of rows.
struct RowRange {
  int64_t begin;
  int64_t end;
};

// One implementation of every kernel for one instruction set. All functions are re-entrant, allocate
// nothing and never fail on valid arguments.
struct KernelTable {
  const char* name;

  // Adds `tile_count` tiles to `state`. `queries` is [query_rows, format.key_channels]: already rotated,
  // multiplied by the attention scale, and gathered to the tiles' kept channels. Query row r sees the rows
  // seen[r] of the tiles' tile_count * 64, all of them where `seen` is null. A softcap above 0 turns each
  // logit x into softcap * tanh(x / softcap) (arXiv 2408.00118, section 2). The accumulators' channels are
  // the tiles' kept ones: where these are fewer than the head's, `state` has been reset to value_channels and
  // covers tiles of the same V channels only (MergeChannels brings it into another).
  void (*attend_tiles)(const TileFormat& format, const uint8_t* tiles, int64_t tile_count,
                       const float* queries, int query_rows, const RowRange* seen, float softcap,
                       AttentionState* state);

  // Adds dense rows to `state`: query row r sees the rows seen[r]. `queries` is [query_rows, head_size],
  // rotated and scaled; softcap as above. Rows that one query row sees and another does not, and rows of a
  // tile of which a part is seen, weigh 0 where they are not seen, so an infinite or NaN value in them may
  // reach the output.
  void (*attend_dense)(const DenseRows& rows, const RowRange* seen, const float* queries, int query_rows,
                       float softcap, AttentionState* state);

  // Writes a tile as the dense float one (FloatTileFormat) that reads the same: removed elements 0, int8
  // scaled. `expanded` is aligned to 64 bytes.
  void (*expand_tile)(const TileFormat& format, const uint8_t* tile, float* expanded);

  // The same of 1 to 64 float rows [rows, head_size]; missing rows are zeros.
  void (*expand_rows)(const float* keys, const float* values, int rows, int head_size, float* expanded);

  // Packs 64 token rows into one tile: gathers `key_channels` and `value_channels` (ascending indices, as
  // many as the format keeps; value_channels may be null where that is all), keeps the row_nonzeros largest
  // magnitudes of each row where a section is a bitmap (ties: the lower channel; 16-bit sections compare the
  // rounded values; NaN counts as the largest, so it stays visible), rounds to nearest even or quantises.
  // `keys` and `values` are [64, head_size] with `row_stride` floats between rows.
  //
  // float16: 65520 and more becomes infinite.
  // int8, and int4 bitmaps with 7 in place of 127: a row's scale is its largest magnitude / 127 rounded up to
  // bfloat16, so that nothing is clipped; a row with infinities or NaN reads as NaN.
  // int4: a group (K: one channel of the tile's tokens, V: 64 channels of one token) has its least value
  // rounded down to bfloat16 as zero and (largest - zero) / 15 rounded up as scale, and every value is off by
  // at most half a scale. A group with infinities, NaN or a range beyond float's reads as NaN.
  // Scales and zeros are 0 or normal numbers, so that processors that flush subnormals read the same.
  void (*pack_tile)(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
                    const uint8_t* key_channels, const uint8_t* value_channels, uint8_t* tile);

  // What the scores of tokens and channels are made of.
  const ScoreKernels* scores;
};

// The kernels in use: the best ones this CPU runs unless UseKernels chose others.
const KernelTable& Kernels();
// Chooses by name ("scalar", "avx2", "avx512", "avx512_bf16"), null for the best. False when unknown or not
// supported by this CPU; the choice is then unchanged.
bool UseKernels(const char* name);

// from joins into: both cover disjoint rows for the same queries.
void MergeAttention(const AttentionState& from, int query_rows, int head_size, AttentionState* into);
// The same where `from` has only `count` channels, which are channels[0..count) of `into`.
void MergeChannels(const AttentionState& from, int query_rows, int head_size, const uint8_t* channels,
                   int count, AttentionState* into);
// The logarithm of the sum of e^logit over what query row r has seen; minus infinity for nothing.
float LogSum(const AttentionState& state, int row);
// output[r] = accumulator / sum for r in [0, query_rows); rows that saw nothing give zeros. `sinks`, where
// not null, is one logit per query row that joins the softmax with a value of zeros (arXiv 2309.17453).
void FinishAttention(const AttentionState& state, int query_rows, int head_size, const float* sinks,
                     float* const* output);

// Rotary embedding of the first rotary_size channels, in place on one head's row: channel j pairs with
// j + rotary_size/2, or 2j with 2j + 1. cosine and sine are this position's row of the cache,
// [rotary_size/2].
void RotateHalves(float* row, int rotary_size, const float* cosine, const float* sine);
void RotateInterleaved(float* row, int rotary_size, const float* cosine, const float* sine);

// pack_tile with the elements to keep given: masks are [64, head_size] bytes, not 0 for what stays, and not
// looked at where the section is no bitmap; null: as pack_tile chooses. Any instruction set. False, with a
// tile that reads as nothing sensible, where a mask does not set exactly the section's `nonzeros` elements of
// the kept channels.
[[nodiscard]] bool PackMaskedTile(const TileFormat& format, const float* keys, const float* values,
                                  size_t row_stride, const uint8_t* key_channels,
                                  const uint8_t* value_channels, const uint8_t* key_mask,
                                  const uint8_t* value_mask, uint8_t* tile);

// The inverse of pack_tile's rounding: writes 64 rows [64, head_size], removed entries 0. Reference quality,
// any instruction set.
void UnpackTile(const TileFormat& format, const uint8_t* tile, const uint8_t* key_channels,
                const uint8_t* value_channels, float* keys, float* values);

}  // namespace kvprune

#endif  // KVPRUNE_KERNELS_KERNELS_H_
