#ifndef KVPRUNE_CACHE_ROW_SCORES_H_
#define KVPRUNE_CACHE_ROW_SCORES_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cache/choose_tokens.h"
#include "cache/join_slabs.h"
#include "cache/layer_seal.h"
#include "cache/memory.h"

namespace kvprune {

// What ranks one layer's rows for eviction while decoding, H2O's accumulated attention (arXiv 2306.14048,
// section 4): of each row that a head stores, the sealed ones and then those in the tail, the attention that
// it got, summed over queries and the group, and how many query tokens could have given it some. Counted are
// the queries of the segments that were read while the row was not sealed and those of the tokens generated
// since, also of such that a rewind within the tail dropped. H2O counts all later ones: here the queries of a
// later prompt are not computed against sealed rows.
class RowScores {
 public:
  // Of heads with so many sealed rows each, all 0, with room for another tile of them and a full tail.
  static Status Create(const std::shared_ptr<MemoryAccount>& account, std::span<const int64_t> sealed_rows,
                       int tail_capacity, std::shared_ptr<RowScores>* scores);
  static int64_t Bytes(std::span<const int64_t> sealed_rows, int tail_capacity);
  Status Copy(const std::shared_ptr<MemoryAccount>& account, std::shared_ptr<RowScores>* copy) const;

  // A layer's at the end of a prompt: those of rows sealed before as they are in `before`, which may be null
  // for none.
  static Status OfPrompt(const LayerSeal& seal, const KeptTokens& kept, const RowScores* before,
                         std::shared_ptr<RowScores>* scores);
  // The same ones without those of dropped rows, per head. `sealed_rows`: before; `tail_rows` follow them.
  Status Without(const std::shared_ptr<MemoryAccount>& account, std::span<const DroppedRows> dropped,
                 std::span<const int64_t> sealed_rows, int64_t tail_rows, int tail_capacity,
                 std::shared_ptr<RowScores>* scores) const;

  int64_t bytes() const { return buffer_.bytes(); }
  // Whether there is room as after Create.
  bool HasRoom(std::span<const int64_t> sealed_rows, int tail_capacity) const;

  float* mass(int kv_head) const { return Array(kv_head, 0); }
  float* exposure(int kv_head) const { return Array(kv_head, 1); }
  // The mean attention of those that saw the row; 0 where nobody did.
  float Score(int kv_head, int64_t row, int group) const;

  // Where a decode step writes the attention of its query token to each row.
  float* step(int kv_head) const { return Array(kv_head, 2); }
  // Of those rows the step's token sees [first, end), its own the last.
  void SetSeen(int kv_head, int64_t first, int64_t end);
  // Adds the step's attention.
  void AddStep();

 private:
  struct Head {
    int64_t offset;    // of its arrays, in floats
    int64_t capacity;  // rows
    int64_t first_seen;
    int64_t seen_end;
  };

  RowScores() = default;
  float* Array(int kv_head, int index) const {
    const Head& head = heads_[static_cast<size_t>(kv_head)];
    return reinterpret_cast<float*>(buffer_.data()) + head.offset + index * head.capacity;
  }

  std::vector<Head> heads_;
  Buffer buffer_;  // per head: mass, exposure, step [capacity] each
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_ROW_SCORES_H_
