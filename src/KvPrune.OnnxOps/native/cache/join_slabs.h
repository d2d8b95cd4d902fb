#ifndef KVPRUNE_CACHE_JOIN_SLABS_H_
#define KVPRUNE_CACHE_JOIN_SLABS_H_

#include <cstdint>
#include <memory>
#include <span>

#include "cache/parallel.h"
#include "cache/slab_list.h"

namespace kvprune {

// Rows of one KV head that are dropped, ascending and counted over all slabs.
using DroppedRows = std::span<const int32_t>;

// Whether the tiles of one layer's two slabs can be in one: every head has the same format and channels.
bool CanJoin(const TileSlab& first, const TileSlab& second);

// From the entry `first` on: how many entries have slabs that can all be in one.
size_t JoinableFrom(const SlabList& slabs, size_t first);

// Makes one slab of the `count` entries from `first` on, which can be joined, without the rows of them that
// `dropped` holds for each head, 64 or a multiple of it; none where it is empty. What stays is copied as it
// is stored.
Status JoinSlabs(const std::shared_ptr<MemoryAccount>& account, const SlabList& slabs, size_t first,
                 size_t count, std::span<const DroppedRows> dropped, TaskRunner& tasks,
                 std::shared_ptr<TileSlab>* slab);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_JOIN_SLABS_H_
