#ifndef KVPRUNE_CACHE_PROMPT_RECORD_H_
#define KVPRUNE_CACHE_PROMPT_RECORD_H_

#include <cstdint>

#include "cache/memory.h"
#include "cache/model_shape.h"
#include "pruning/expected_attention.h"
#include "pruning/policy.h"
#include "pruning/query_attention.h"

namespace kvprune {

// What is recorded beside the rows of a prompt segment while it is read, so that policies can seal it.
struct PromptNeeds {
  int observed_queries = 0;  // of the segment's last tokens; all of a shorter segment's
  bool accumulated = false;
  bool reconstruction = false;
  bool expected = false;
  int skipped_queries = 0;  // the sequence's first, which expected attention leaves out

  static PromptNeeds Of(const Policy& policy);
  // Also what `policy` needs.
  void Add(const Policy& policy);
  // Refuses a policy that needs more of a segment of this length than was recorded.
  Status Cover(const Policy& policy, int64_t segment_tokens) const;

  // Whether attention is computed once more, by the layer's rule.
  bool Attends() const { return observed_queries > 0 || accumulated || reconstruction; }
  // Whether every step of the segment adds to what the steps before it left.
  bool Accumulates() const { return accumulated || expected; }
};

// One layer's record. Rows are counted as in PromptRows, from the first one that is not sealed: attention is
// that of dense rows, to which what is sealed contributes one number per query (QueryRows::past).
class PromptRecord {
 public:
  // `capacity`: most dense rows. The record starts empty.
  static Status Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                       const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens,
                       PromptRecord* record);
  static int64_t Bytes(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                       int64_t segment_tokens);

  int64_t bytes() const { return buffer_.bytes(); }
  const PromptNeeds& needs() const { return needs_; }
  // Forgets what was accumulated.
  void Clear();

  // How the layer attends; `rule.sinks` is of all query heads.
  void SetRule(const AttentionRule& rule);
  // The rule of one KV head's group.
  AttentionRule Rule(int kv_head) const;

  // The first token of the segment, counted from its start, whose queries are kept: those from it to the
  // segment's end are. The segment's length when none are.
  int64_t first_observed() const { return first_observed_; }
  // Where the rotated queries [query_heads, head_size] of the segment's `index`-th token, at least
  // first_observed(), are kept, and QueryRows::past of each.
  float* ObservedQuery(int64_t index) const;
  float* ObservedPast(int64_t index) const;
  // Those of one KV head's group and of the last `window` tokens, fewer if the segment is shorter; `window`
  // of them were kept. `first_row`: the row of the segment's first token.
  QueryRows LastQueries(int window, int kv_head, int64_t first_row) const;

  // Attention that each row got from all of the segment's queries, [capacity] per KV head.
  double* Mass(int kv_head) const { return reinterpret_cast<double*>(At(parts_.mass)) + kv_head * capacity_; }
  // The most attention that each row got from a query of a probe step, [capacity] per KV head.
  float* Reconstruction(int kv_head) const { return At(parts_.reconstruction) + kv_head * capacity_; }
  // Of a query head's queries before rotation.
  QueryStatistics Statistics(int query_head) const;
  // The mean rotation of the positions after the segment: cosines and sines, head_size / 2 each.
  float* AheadCosine() const { return At(parts_.ahead); }
  float* AheadSine() const { return At(parts_.ahead) + shape_.head_size / 2; }
  // As an averaged cache of one position.
  RotaryRows Ahead() const;
  void SetAhead(const RotaryRows& rotary, int64_t position);

 private:
  // Offsets in floats.
  struct Parts {
    int64_t mass = 0;
    int64_t statistics = 0;
    int64_t reconstruction = 0;
    int64_t ahead = 0;
    int64_t sinks = 0;
    int64_t past = 0;
    int64_t queries = 0;
    int64_t floats = 0;

    Parts() = default;
    Parts(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens);
  };

  float* At(int64_t offset) const { return reinterpret_cast<float*>(buffer_.data()) + offset; }

  ModelShape shape_ = {};
  PromptNeeds needs_;
  Parts parts_;
  int64_t capacity_ = 0;
  int64_t segment_tokens_ = 0;
  int64_t first_observed_ = 0;
  AttentionRule rule_ = {};  // sinks: whether there are any
  RotaryRows ahead_ = {};    // without its pointers
  Buffer buffer_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_PROMPT_RECORD_H_
