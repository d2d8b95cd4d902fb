#ifndef KVPRUNE_CACHE_DECODE_UPKEEP_H_
#define KVPRUNE_CACHE_DECODE_UPKEEP_H_

#include "cache/parallel.h"
#include "cache/sequence.h"

namespace kvprune {

// One-tile slabs of generated tokens that become one: attention walks a slab at a time.
inline constexpr size_t kJoinedSlabs = 16;

// What a decode step does to the sealed rows of `layer` before its token attends, within a LayerRun: where
// the layer packs, slabs of generated tokens are joined; where it evicts, rows are dropped. All of it is the
// step's until it is committed.
Status TendSlabs(Sequence& sequence, int layer, TaskRunner& tasks);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_DECODE_UPKEEP_H_
