#ifndef KVPRUNE_CACHE_TILE_SLAB_H_
#define KVPRUNE_CACHE_TILE_SLAB_H_

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <vector>

#include "cache/memory.h"
#include "kernels/tile_format.h"

namespace kvprune {

// What one KV head keeps of a slab's tokens: whole tiles of one format.
struct HeadRun {
  TileFormat format;
  int64_t tiles;         // may be 0; span / 64 unless rows were evicted
  bool evicted = false;  // the tiles hold some of the tokens only, those of a bitmap
  // Measured when the format was chosen by an error budget: see kvp_head_info.
  float output_error = std::numeric_limits<float>::quiet_NaN();
};

// Sealed tiles of one layer over a span of tokens, for every KV head a run of its own. Written once, then
// immutable and shared between sequences. Memory: the heads' tiles, over-read pad, then the bitmaps of the
// heads that evicted rows, the K channels of every head, the V channels of those that keep less than all.
class TileSlab {
 public:
  // `heads` holds one run per KV head. Tiles, channels and bitmaps are for the caller to write.
  static Status Create(const std::shared_ptr<MemoryAccount>& account, int64_t tokens,
                       std::span<const HeadRun> heads, std::shared_ptr<TileSlab>* slab);
  static int64_t Bytes(int64_t tokens, std::span<const HeadRun> heads);
  // The same run for every head, of every token.
  static Status Create(const std::shared_ptr<MemoryAccount>& account, const TileFormat& format, int kv_heads,
                       int64_t tiles, std::shared_ptr<TileSlab>* slab);
  static int64_t Bytes(const TileFormat& format, int kv_heads, int64_t tiles);

  // The span, a multiple of 64.
  int64_t tokens() const { return tokens_; }
  int64_t bytes() const { return buffer_.bytes(); }
  int kv_heads() const { return static_cast<int>(heads_.size()); }

  const TileFormat& format(int kv_head) const { return formats_[heads_[kv_head].format]; }
  int64_t tiles(int kv_head) const { return heads_[kv_head].tiles; }
  uint8_t* tile(int kv_head, int64_t index) const {
    return heads_[kv_head].first + index * static_cast<int64_t>(format(kv_head).stride);
  }
  // The K channels that this head's tiles keep, ascending.
  uint8_t* key_channels(int kv_head) const { return heads_[kv_head].key_channels; }
  // The V channels, ascending; null: all of them.
  uint8_t* value_channels(int kv_head) const { return heads_[kv_head].value_channels; }
  // One bit per token of the span, the lowest first: set for the rows that the head's tiles hold, in order.
  // Null: all of them.
  uint64_t* kept(int kv_head) const { return heads_[kv_head].kept; }

  float output_error(int kv_head) const { return heads_[kv_head].output_error; }
  // Of one head's tiles, bitmap and channels.
  int64_t HeadBytes(int kv_head) const;

  // How many rows of the head's tiles are of the span's first `count` tokens.
  int64_t RowsBefore(int kv_head, int64_t count) const;

 private:
  struct Head {
    uint8_t* first;  // tile
    uint8_t* key_channels;
    uint8_t* value_channels;
    uint64_t* kept;
    int64_t tiles;
    int format;  // of formats_
    float output_error;
  };

  TileSlab() = default;
  void LayOut(std::span<const HeadRun> heads);

  int64_t tokens_ = 0;
  std::vector<TileFormat> formats_;  // the heads' different ones
  std::vector<Head> heads_;
  Buffer buffer_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_TILE_SLAB_H_
