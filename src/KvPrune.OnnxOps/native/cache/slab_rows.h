#ifndef KVPRUNE_CACHE_SLAB_ROWS_H_
#define KVPRUNE_CACHE_SLAB_ROWS_H_

#include <cstdint>

#include "cache/slab_list.h"

namespace kvprune {

// The rows of one head's first `tokens` tokens, all of them sealed, as attention reads them: keys and values
// are [tokens, head_size], 0 for what was removed.
void ReadSlabs(const SlabList& slabs, int kv_head, int head_size, int64_t tokens, float* keys, float* values);

// kept[t] = 1 where the head has token t's row, else 0.
void ReadKeptTokens(const SlabList& slabs, int kv_head, int64_t tokens, uint8_t* kept);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SLAB_ROWS_H_
