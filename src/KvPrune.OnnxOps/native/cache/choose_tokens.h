#ifndef KVPRUNE_CACHE_CHOOSE_TOKENS_H_
#define KVPRUNE_CACHE_CHOOSE_TOKENS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "cache/layer_seal.h"
#include "cache/parallel.h"

namespace kvprune {

// Which of the rows that leave a layer's window each KV head keeps: whole tiles of them.
class KeptTokens {
 public:
  // All of them in every head.
  KeptTokens(int kv_heads, int64_t leaving) : leaving_(leaving), counts_(kv_heads, leaving) {}

  int64_t leaving() const { return leaving_; }
  // A multiple of 64.
  int64_t count(int kv_head) const { return counts_[kv_head]; }
  bool evicts(int kv_head) const { return counts_[kv_head] < leaving_; }
  // The head's kept rows, ascending, counted from the first row that leaves; null where all stay.
  int32_t* rows(int kv_head) const {
    return evicts(kv_head) ? reinterpret_cast<int32_t*>(rows_.data()) + kv_head * leaving_ : nullptr;
  }

  void SetCount(int kv_head, int64_t count) { counts_[kv_head] = count; }
  // Makes room for the rows of heads that evict some.
  Status Allocate(const std::shared_ptr<MemoryAccount>& account);

 private:
  int64_t leaving_;
  std::vector<int64_t> counts_;
  Buffer rows_;  // [kv_heads, leaving], the first count(head) in use
};

// Chooses by the policy's eviction the rows that stay in `layers`, which have one policy and as many rows:
// one layer, or for global budgets all of them. `kept` takes one for each.
Status ChooseTokens(std::span<const LayerSeal> layers, TaskRunner& tasks, std::vector<KeptTokens>* kept);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_CHOOSE_TOKENS_H_
