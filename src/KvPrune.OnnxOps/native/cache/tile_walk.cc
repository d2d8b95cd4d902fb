#include "cache/tile_walk.h"

#include <algorithm>

namespace kvprune {

void AttendSlabs(const SlabList& slabs, int kv_head, int64_t first, int64_t count, const float* queries,
                 int query_rows, int head_size, AttentionState* state) {
  const KernelTable& kernels = Kernels();
  alignas(64) float gathered[kMaxQueryRows * kMaxHeadSize];
  for (const auto& slab : slabs) {
    if (count == 0) return;
    if (first >= slab->tiles()) {
      first -= slab->tiles();
      continue;
    }
    const int64_t here = std::min(count, slab->tiles() - first);
    const TileFormat& format = slab->format();
    const float* slab_queries = queries;
    if (format.key_channels != head_size) {
      const uint8_t* channels = slab->channels(kv_head);
      for (int r = 0; r < query_rows; ++r)
        for (int j = 0; j < format.key_channels; ++j)
          gathered[r * format.key_channels + j] = queries[r * head_size + channels[j]];
      slab_queries = gathered;
    }
    kernels.attend_tiles(format, slab->tile(kv_head, first), here, slab_queries, query_rows, state);
    first = 0;
    count -= here;
  }
}

}  // namespace kvprune
