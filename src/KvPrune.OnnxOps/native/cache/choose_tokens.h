#ifndef KVPRUNE_CACHE_CHOOSE_TOKENS_H_
#define KVPRUNE_CACHE_CHOOSE_TOKENS_H_

#include <cstdint>
#include <vector>

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
  const int32_t* rows(int kv_head) const {
    return evicts(kv_head) ? rows_.data() + kv_head * leaving_ : nullptr;
  }

 private:
  int64_t leaving_;
  std::vector<int64_t> counts_;
  std::vector<int32_t> rows_;  // [kv_heads, leaving], the first of each head's in use; empty: all stay
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_CHOOSE_TOKENS_H_
