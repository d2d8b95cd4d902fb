#include "kernels/tile_format.h"

namespace kvprune {
namespace {

constexpr size_t kVectorBytes = 64;

size_t RoundUp(size_t value, size_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// Lays `section` out from *offset on; leaves *offset at the next multiple of 64 bytes.
TileSection LayOut(Storage storage, int lanes, int reduction, int row_width, int row_nonzeros,
                   size_t* offset) {
  TileSection section{};
  section.storage = storage;
  section.bitmap = row_nonzeros < row_width;
  section.lanes = static_cast<int>(RoundUp(lanes, kBlockLanes));
  section.reduction = static_cast<int>(RoundUp(reduction, Interleave(storage)));
  section.row_nonzeros = row_nonzeros;

  const size_t elements = static_cast<size_t>(section.lanes) * section.reduction;
  section.scale_offset = *offset;
  section.mask_offset = section.scale_offset;
  if (section.per_token_scales()) section.mask_offset += kTileTokens * 2;
  if (section.per_step_scales())
    section.mask_offset = section.step_scale_offset(section.lanes + kInt4GroupLanes - 1);
  section.value_offset = section.mask_offset + (section.bitmap ? elements / 8 : 0);
  const size_t stored = section.bitmap ? static_cast<size_t>(kTileTokens) * row_nonzeros : elements;
  *offset = RoundUp(section.value_offset + stored * ElementBits(storage) / 8, kVectorBytes);
  return section;
}

}  // namespace

TileFormat MakeTileFormat(int head_size, int key_channels, Storage key_storage, int key_nonzeros,
                          Storage value_storage, int value_nonzeros) {
  TileFormat format{};
  format.head_size = head_size;
  format.key_channels = key_channels;
  format.key = LayOut(key_storage, kTileTokens, key_channels, key_channels, key_nonzeros, &format.stride);
  format.value = LayOut(value_storage, head_size, kTileTokens, head_size, value_nonzeros, &format.stride);
  return format;
}

TileFormat FloatTileFormat(int head_size, int key_channels) {
  return MakeTileFormat(head_size, key_channels, Storage::kFloat32, key_channels, Storage::kFloat32,
                        head_size);
}

}  // namespace kvprune
