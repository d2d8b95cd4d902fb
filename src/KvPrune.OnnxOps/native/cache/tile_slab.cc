#include "cache/tile_slab.h"

#include <cstring>

namespace kvprune {

int64_t TileSlab::ChannelsOffset(const TileFormat& format, int kv_heads, int64_t tiles) {
  return kv_heads * tiles * static_cast<int64_t>(format.stride) + static_cast<int64_t>(kOverreadBytes);
}

int64_t TileSlab::Bytes(const TileFormat& format, int kv_heads, int64_t tiles) {
  const int64_t bytes =
      ChannelsOffset(format, kv_heads, tiles) + static_cast<int64_t>(kv_heads) * format.key_channels;
  return (bytes + 63) / 64 * 64;
}

Status TileSlab::Create(const std::shared_ptr<MemoryAccount>& account, const TileFormat& format, int kv_heads,
                        int64_t tiles, std::shared_ptr<TileSlab>* slab) {
  std::shared_ptr<TileSlab> made(new TileSlab());
  made->format_ = format;
  made->kv_heads_ = kv_heads;
  made->tiles_ = tiles;
  Status status =
      Buffer::Allocate(account, MemoryUse::kSealed, Bytes(format, kv_heads, tiles), &made->buffer_);
  if (!status.ok()) return status;
  std::memset(made->buffer_.data() + ChannelsOffset(format, kv_heads, tiles) - kOverreadBytes, 0,
              kOverreadBytes);
  *slab = std::move(made);
  return {};
}

}  // namespace kvprune
