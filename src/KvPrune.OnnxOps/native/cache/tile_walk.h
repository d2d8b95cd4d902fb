#ifndef KVPRUNE_CACHE_TILE_WALK_H_
#define KVPRUNE_CACHE_TILE_WALK_H_

#include <cstdint>

#include "cache/slab_list.h"
#include "kernels/kernels.h"

namespace kvprune {

// Adds tiles [first, first + count) of one KV head, counted over all slabs, to `state`. queries are
// [query_rows, head_size], rotated and scaled; query row r sees the head's rows from first_row[r] on, counted
// over all slabs too (SlabList::RowsBefore).
void AttendSlabs(const SlabList& slabs, int kv_head, int64_t first, int64_t count, const float* queries,
                 int query_rows, int head_size, const int64_t* first_row, float softcap,
                 AttentionState* state);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_TILE_WALK_H_
