#include "kernels/tile_format.h"

namespace kvprune {
namespace {

constexpr size_t kVectorBytes = 64;

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Lays `section` out from *offset on; leaves *offset at the next multiple of 64 bytes.
TileSection LayOut(const SectionContent& content, int lanes, int reduction, size_t* offset) {
  const Storage storage = content.storage;
  TileSection section{};
  section.storage = storage;
  section.bitmap = content.nonzeros < kTileTokens * content.channels;
  section.lanes = static_cast<int>(RoundUp(lanes, kBlockLanes));
  section.reduction = static_cast<int>(RoundUp(reduction, Interleave(storage)));
  section.nonzeros = content.nonzeros;
  section.row_nonzeros = content.even || !section.bitmap ? content.nonzeros / kTileTokens : 0;

  const size_t elements = static_cast<size_t>(section.lanes) * section.reduction;
  section.scale_offset = *offset;
  section.mask_offset = section.scale_offset;
  if (section.per_token_scales()) section.mask_offset += kTileTokens * 2;
  if (section.per_step_scales())
    section.mask_offset = section.step_scale_offset(section.lanes + kInt4GroupLanes - 1);
  section.value_offset = section.mask_offset + (section.bitmap ? elements / 8 : 0);
  const size_t stored = section.bitmap ? static_cast<size_t>(section.nonzeros) : elements;
  *offset = RoundUp(section.value_offset + (stored * ElementBits(storage) + 7) / 8, kVectorBytes);
  return section;
}

}  // namespace

TileFormat MakeTileFormat(int head_size, const SectionContent& key, const SectionContent& value) {
  TileFormat format{};
  format.head_size = head_size;
  format.key_channels = key.channels;
  format.value_channels = value.channels;
  format.key = LayOut(key, kTileTokens, key.channels, &format.stride);
  format.value = LayOut(value, value.channels, kTileTokens, &format.stride);
  return format;
}

TileFormat MakeTileFormat(int head_size, int key_channels, Storage key_storage, int key_nonzeros,
                          Storage value_storage, int value_nonzeros) {
  return MakeTileFormat(head_size, {key_storage, key_channels, kTileTokens * key_nonzeros},
                        {value_storage, head_size, kTileTokens * value_nonzeros});
}

TileFormat FloatTileFormat(int head_size, int key_channels, int value_channels) {
  return MakeTileFormat(head_size, {Storage::kFloat32, key_channels, kTileTokens * key_channels},
                        {Storage::kFloat32, value_channels, kTileTokens * value_channels});
}

}  // namespace kvprune
