#include "cache/tile_slab.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace kvprune {
namespace {

// Where a slab's parts begin.
struct Parts {
  int64_t pad = 0;
  int64_t kept = 0;
  int64_t key_channels = 0;
  int64_t value_channels = 0;
  int64_t end = 0;
  int64_t bytes = 0;
};

bool RemovesValueChannels(const TileFormat& format) {
  return format.value_channels != format.head_size;
}

Parts PartsOf(int64_t tokens, std::span<const HeadRun> heads) {
  Parts parts;
  int64_t kept = 0, keys = 0, values = 0;
  for (const HeadRun& head : heads) {
    parts.pad += head.tiles * static_cast<int64_t>(head.format.stride);
    if (head.evicted) kept += tokens / 8;
    keys += head.format.key_channels;
    if (RemovesValueChannels(head.format)) values += head.format.value_channels;
  }
  parts.kept = parts.pad + static_cast<int64_t>(kOverreadBytes);
  parts.key_channels = parts.kept + kept;
  parts.value_channels = parts.key_channels + keys;
  parts.end = parts.value_channels + values;
  parts.bytes = (parts.end + 63) / 64 * 64;
  return parts;
}

}  // namespace

int64_t TileSlab::Bytes(int64_t tokens, std::span<const HeadRun> heads) {
  return PartsOf(tokens, heads).bytes;
}

int64_t TileSlab::Bytes(const TileFormat& format, int kv_heads, int64_t tiles) {
  return Bytes(tiles * kTileTokens, std::vector<HeadRun>(kv_heads, {format, tiles}));
}

Status TileSlab::Create(const std::shared_ptr<MemoryAccount>& account, const TileFormat& format, int kv_heads,
                        int64_t tiles, std::shared_ptr<TileSlab>* slab) {
  return Create(account, tiles * kTileTokens, std::vector<HeadRun>(kv_heads, {format, tiles}), slab);
}

Status TileSlab::Create(const std::shared_ptr<MemoryAccount>& account, int64_t tokens,
                        std::span<const HeadRun> heads, std::shared_ptr<TileSlab>* slab) {
  std::shared_ptr<TileSlab> made(new TileSlab());
  made->tokens_ = tokens;
  Status status = Buffer::Allocate(account, MemoryUse::kSealed, Bytes(tokens, heads), &made->buffer_);
  if (!status.ok()) return status;
  made->LayOut(heads);
  *slab = std::move(made);
  return {};
}

void TileSlab::LayOut(std::span<const HeadRun> heads) {
  const Parts parts = PartsOf(tokens_, heads);
  std::memset(buffer_.data() + parts.pad, 0, kOverreadBytes);
  uint8_t* tiles = buffer_.data();
  uint8_t* kept = buffer_.data() + parts.kept;
  uint8_t* keys = buffer_.data() + parts.key_channels;
  uint8_t* values = buffer_.data() + parts.value_channels;
  heads_.reserve(heads.size());
  for (const HeadRun& run : heads) {
    auto format = std::find(formats_.begin(), formats_.end(), run.format);
    if (format == formats_.end()) format = formats_.insert(format, run.format);
    const bool fewer_values = RemovesValueChannels(run.format);
    heads_.push_back({tiles, keys, fewer_values ? values : nullptr,
                      run.evicted ? reinterpret_cast<uint64_t*>(kept) : nullptr, run.tiles,
                      static_cast<int>(format - formats_.begin()), run.output_error});
    tiles += run.tiles * static_cast<int64_t>(run.format.stride);
    if (run.evicted) kept += tokens_ / 8;
    keys += run.format.key_channels;
    if (fewer_values) values += run.format.value_channels;
  }
}

int64_t TileSlab::HeadBytes(int kv_head) const {
  const HeadRun run{format(kv_head), tiles(kv_head), kept(kv_head) != nullptr};
  const Parts parts = PartsOf(tokens_, {&run, 1});
  return parts.pad + parts.end - parts.kept;
}

int64_t TileSlab::RowsBefore(int kv_head, int64_t count) const {
  const uint64_t* kept = heads_[kv_head].kept;
  if (kept == nullptr) return count;
  int64_t rows = 0;
  for (; count >= 64; count -= 64) rows += std::popcount(*kept++);
  if (count > 0) rows += std::popcount(*kept & ((uint64_t{1} << count) - 1));
  return rows;
}

}  // namespace kvprune
