#include "cache/tile_walk.h"

#include <algorithm>

namespace kvprune {

void AttendSlabs(const SlabList& slabs, int kv_head, int64_t first, int64_t count, const float* queries,
                 int query_rows, int head_size, const int64_t* first_seen, float softcap,
                 AttentionState* state) {
  const KernelTable& kernels = Kernels();
  // Every row sees the tiles from here on whole.
  const int64_t whole =
      (*std::max_element(first_seen, first_seen + query_rows) + kTileTokens - 1) / kTileTokens;
  alignas(64) float gathered[kMaxQueryRows * kMaxHeadSize];
  for (size_t i = slabs.Find(first); count > 0 && i < slabs.size(); ++i) {
    const auto& [slab, slab_start] = slabs[i];
    const int64_t begin = first - slab_start;
    const int64_t here = std::min(count, slab->tiles() - begin);
    const TileFormat& format = slab->format();
    const float* slab_queries = queries;
    if (format.key_channels != head_size) {
      const uint8_t* channels = slab->channels(kv_head);
      for (int r = 0; r < query_rows; ++r)
        for (int j = 0; j < format.key_channels; ++j)
          gathered[r * format.key_channels + j] = queries[r * head_size + channels[j]];
      slab_queries = gathered;
    }
    const int64_t partly = std::clamp<int64_t>(whole - first, 0, here);
    if (partly > 0) {
      RowRange seen[kMaxQueryRows];
      for (int r = 0; r < query_rows; ++r)
        seen[r] = {first_seen[r] - first * kTileTokens, partly * kTileTokens};
      kernels.attend_tiles(format, slab->tile(kv_head, begin), partly, slab_queries, query_rows, seen,
                           softcap, state);
    }
    if (partly < here)
      kernels.attend_tiles(format, slab->tile(kv_head, begin + partly), here - partly, slab_queries,
                           query_rows, nullptr, softcap, state);
    first += here;
    count -= here;
  }
}

}  // namespace kvprune
