#ifndef KVPRUNE_CACHE_SCORE_STEP_H_
#define KVPRUNE_CACHE_SCORE_STEP_H_

#include <cstdint>

#include "cache/dense_tail.h"
#include "cache/slab_list.h"

namespace kvprune {

// One token's queries of a KV head's group, [group, head_size], rotated and scaled, after they have attended.
struct AttendedQueries {
  const float* rows;
  const float* log_sums;  // of each, the logarithm of the sum of e^logit over all that joined its softmax
  int group;
  float softcap;
};

// log(e^a + e^b)
float LogAdd(float a, float b);

// The attention that one token's queries give to rows of their KV head, summed over the group: logits are
// computed once more, in float, over what the tiles read as.
class StepScorer {
 public:
  StepScorer(const SlabList& slabs, int kv_head, int head_size, const AttendedQueries& queries)
      : slabs_(slabs), kv_head_(kv_head), head_size_(head_size), queries_(queries) {}

  // Writes mass[row] of the rows of tiles [first, first + count) of the head, counted over all slabs.
  void WriteTiles(int64_t first, int64_t count, float* mass) const;
  // Writes mass[row] of the tail's first `rows` rows, which follow the sealed ones.
  void WriteTail(const DenseTail& tail, int layer, int64_t rows, float* mass) const;

 private:
  // Up to kMaxQueryRows of the queries: they write where `first` is 0, and add elsewhere.
  struct Block {
    int first;
    int count;
  };

  template <class Visit>
  void ForEachBlock(const Visit& visit) const;
  // Of 64 rows: keys are [2, channels, 32], lanes are rows, and queries [block.count, channels].
  void WriteTile(const float* keys, int channels, const float* queries, const Block& block,
                 float* mass) const;

  const SlabList& slabs_;
  const int kv_head_;
  const int head_size_;
  const AttendedQueries queries_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_SCORE_STEP_H_
