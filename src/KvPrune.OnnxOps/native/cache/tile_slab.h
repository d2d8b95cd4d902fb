#ifndef KVPRUNE_CACHE_TILE_SLAB_H_
#define KVPRUNE_CACHE_TILE_SLAB_H_

#include <cstdint>
#include <memory>

#include "cache/memory.h"
#include "kernels/tile_format.h"

namespace kvprune {

// Sealed tiles of one layer: the same run of tokens for every KV head. Written once, then immutable and
// shared between sequences. Memory: [kv_heads, tiles] tiles, over-read pad, [kv_heads, key_channels] indices.
class TileSlab {
 public:
  static Status Create(const std::shared_ptr<MemoryAccount>& account, const TileFormat& format, int kv_heads,
                       int64_t tiles, std::shared_ptr<TileSlab>* slab);
  static int64_t Bytes(const TileFormat& format, int kv_heads, int64_t tiles);

  const TileFormat& format() const { return format_; }
  int64_t tiles() const { return tiles_; }
  int64_t tokens() const { return tiles_ * kTileTokens; }
  int64_t bytes() const { return buffer_.bytes(); }

  uint8_t* tile(int kv_head, int64_t index) const {
    return buffer_.data() + (kv_head * tiles_ + index) * static_cast<int64_t>(format_.stride);
  }
  // The K channels that this head's tiles keep, ascending.
  uint8_t* channels(int kv_head) const {
    return buffer_.data() + ChannelsOffset(format_, kv_heads_, tiles_) +
           static_cast<int64_t>(kv_head) * format_.key_channels;
  }

 private:
  TileSlab() = default;
  static int64_t ChannelsOffset(const TileFormat& format, int kv_heads, int64_t tiles);

  TileFormat format_;
  int kv_heads_ = 0;
  int64_t tiles_ = 0;
  Buffer buffer_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_TILE_SLAB_H_
