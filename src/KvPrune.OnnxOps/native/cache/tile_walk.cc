#include "cache/tile_walk.h"

#include <algorithm>

namespace kvprune {

void AttendSlabs(const SlabList& slabs, int kv_head, int64_t first, int64_t count, const float* queries,
                 int query_rows, int head_size, const int64_t* first_row, float softcap,
                 AttentionState* state) {
  const KernelTable& kernels = Kernels();
  // Every query row sees the tiles from here on whole.
  const int64_t whole =
      (*std::max_element(first_row, first_row + query_rows) + kTileTokens - 1) / kTileTokens;
  alignas(64) float gathered[kMaxQueryRows * kMaxHeadSize];
  AttentionState fewer;  // of tiles that keep a part of the V channels
  for (size_t i = slabs.Find(kv_head, first); count > 0 && i < slabs.size(); ++i) {
    const TileSlab& slab = *slabs[i].slab;
    const int64_t begin = first - slabs.FirstTile(kv_head, i);
    const int64_t here = std::min(count, slab.tiles(kv_head) - begin);
    if (here == 0) continue;
    const TileFormat& format = slab.format(kv_head);
    const float* slab_queries = queries;
    if (format.key_channels != head_size) {
      const uint8_t* channels = slab.key_channels(kv_head);
      for (int r = 0; r < query_rows; ++r)
        for (int j = 0; j < format.key_channels; ++j)
          gathered[r * format.key_channels + j] = queries[r * head_size + channels[j]];
      slab_queries = gathered;
    }
    const uint8_t* value_channels = slab.value_channels(kv_head);
    AttentionState* into = value_channels != nullptr ? &fewer : state;
    if (value_channels != nullptr) fewer.Reset(query_rows, format.value_channels);
    const int64_t partly = std::clamp<int64_t>(whole - first, 0, here);
    if (partly > 0) {
      RowRange seen[kMaxQueryRows];
      for (int r = 0; r < query_rows; ++r)
        seen[r] = {first_row[r] - first * kTileTokens, partly * kTileTokens};
      kernels.attend_tiles(format, slab.tile(kv_head, begin), partly, slab_queries, query_rows, seen, softcap,
                           into);
    }
    if (partly < here)
      kernels.attend_tiles(format, slab.tile(kv_head, begin + partly), here - partly, slab_queries,
                           query_rows, nullptr, softcap, into);
    if (value_channels != nullptr)
      MergeChannels(fewer, query_rows, head_size, value_channels, format.value_channels, state);
    first += here;
    count -= here;
  }
}

}  // namespace kvprune
