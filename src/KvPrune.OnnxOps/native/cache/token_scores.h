#ifndef KVPRUNE_CACHE_TOKEN_SCORES_H_
#define KVPRUNE_CACHE_TOKEN_SCORES_H_

#include <cstdint>

#include "cache/layer_seal.h"
#include "cache/parallel.h"

namespace kvprune {

// The scores by which a layer's policy ranks the rows that leave its window. All are finite.
class TokenScores {
 public:
  Status Compute(const LayerSeal& seal, TaskRunner& tasks);

  // [leaving]
  const float* scores(int kv_head) const { return Array(kv_head); }
  // ||W_O v|| of each row [leaving], where the rest of the budget goes by its product with the score; else
  // null.
  const float* norms(int kv_head) const { return stages_ ? Array(kv_heads_ + kv_head) : nullptr; }

 private:
  float* Array(int index) const { return reinterpret_cast<float*>(buffer_.data()) + index * leaving_; }

  int kv_heads_ = 0;
  int64_t leaving_ = 0;
  bool stages_ = false;
  Buffer buffer_;  // [kv_heads, leaving] scores, then norms
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_TOKEN_SCORES_H_
