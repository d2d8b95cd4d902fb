#ifndef KVPRUNE_CACHE_HEAD_ERROR_H_
#define KVPRUNE_CACHE_HEAD_ERROR_H_

#include <cstdint>
#include <memory>
#include <span>

#include "cache/memory.h"
#include "cache/seal_head.h"
#include "kernels/kernels.h"

namespace kvprune {

// What sealing a KV head's rows does to attention: with o the outputs of the observed queries of all heads of
// the group over the rows as they are, and o' those over the tiles that they would become and the rows that
// stay dense, ||o' - o|| / ||o|| (Frobenius). Queries see what attention shows them: what was sealed before,
// the rows up to their own within the layer's window, the sinks. Evicted rows are missing in o' only.
class HeadError {
 public:
  // No setting that is measured takes more than `tile_bytes` for a tile.
  Status Prepare(const std::shared_ptr<MemoryAccount>& account, int kv_head, const HeadSource& source,
                 size_t tile_bytes);
  // Under the settings that `sealing`, whose source it is, uses now. It removes no V channels.
  Status Measure(const HeadSealing& sealing, double* error);

 private:
  struct Block {
    int64_t first;  // of all query rows
    int count;
    RowRange seen[kMaxQueryRows];  // of the kept rows
    AttentionState around;         // of all but the kept rows
    AttentionState state;
  };

  void AttendDense(int kv_head, Block* block) const;
  void AttendPast(int kv_head, const float* queries, Block* block) const;
  int64_t RowOf(const Block& block, int query) const {
    return source_.observed.Position((block.first + query) / source_.observed.group);
  }
  void AttendTile(const TileFormat& format, int64_t index, const float* queries, Block* block) const;
  // [count, head_size]
  void Finish(const Block& block, float* outputs) const;

  HeadSource source_{};
  int64_t rows_ = 0;  // queries of all heads
  Buffer scratch_;
  std::span<Block> blocks_;
  float* queries_ = nullptr;   // [rows, head_size], scaled
  float* gathered_ = nullptr;  // [rows, key channels]
  float* exact_ = nullptr;     // [rows, head_size]
  uint8_t* tile_ = nullptr;
  uint8_t* expanded_ = nullptr;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_HEAD_ERROR_H_
