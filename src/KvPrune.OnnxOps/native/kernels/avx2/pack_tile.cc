#include "kernels/avx2/avx2.h"
#include "kernels/avx2/bitmap_writer.h"
#include "kernels/avx2/dense_tile.h"
#include "kernels/avx2/stored_rows.h"
#include "kernels/scalar/scalar.h"

namespace kvprune::avx2 {
namespace {

void PackKeys(const TileSection& section, const StoredRows& rows, uint8_t* scratch, uint8_t* tile) {
  uint8_t* dense = section.bitmap ? scratch : tile + section.value_offset;
  switch (section.storage) {
    case Storage::kFloat32:
      TransposeKeys(rows.elements, rows.row_bytes, section.reduction, dense);
      if (section.bitmap) WriteKeyBitmap<1>(section, rows, dense, tile);
      return;
    case Storage::kBFloat16:
      TransposeKeys(rows.elements, rows.row_bytes, section.reduction / 2, dense);
      if (section.bitmap) WriteKeyBitmap<2>(section, rows, dense, tile);
      return;
    case Storage::kInt8:
      TransposeKeys(rows.elements, rows.row_bytes, section.reduction / 4, dense);
      if (section.bitmap) WriteKeyBitmap<4>(section, rows, dense, tile);
      return;
    default:
      __builtin_unreachable();
  }
}

void PackValues(const TileSection& section, const StoredRows& rows, uint8_t* scratch, uint8_t* tile) {
  uint8_t* dense = section.bitmap ? scratch : tile + section.value_offset;
  switch (section.storage) {
    case Storage::kFloat32:
      BlockFloatValues(rows.elements, rows.row_bytes, section.lanes, dense);
      if (section.bitmap) WriteValueBitmap<1>(section, rows, dense, tile);
      return;
    case Storage::kBFloat16:
      BlockBFloat16Values(rows.elements, rows.row_bytes, section.lanes, dense);
      if (section.bitmap) WriteValueBitmap<2>(section, rows, dense, tile);
      return;
    case Storage::kInt8:
      BlockInt8Values(rows.elements, rows.row_bytes, section.lanes, dense);
      if (section.bitmap) WriteValueBitmap<4>(section, rows, dense, tile);
      return;
    default:
      __builtin_unreachable();
  }
}

}  // namespace

void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* key_channels, const uint8_t* value_channels, uint8_t* tile) {
  // Only prompts have tiles of fewer V channels, and packing is a small part of reading one.
  if (!IsFast(format.key.storage) || !IsFast(format.value.storage) ||
      format.value_channels != format.head_size)
    return scalar::PackTile(format, keys, values, row_stride, key_channels, value_channels, tile);
  StoredRows rows;
  alignas(64) uint8_t scratch[kTileTokens * kMaxHeadSize * 4];
  alignas(32) float row[kMaxHeadSize] = {};

  rows.Begin(format.key, format.key_channels, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    const float* from = keys + token * row_stride;
    for (int i = 0; i < format.key_channels; ++i) row[i] = from[key_channels[i]];
    rows.Add(token, row);
  }
  PackKeys(format.key, rows, scratch, tile);

  rows.Begin(format.value, format.head_size, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    // At least as wide as the keys, so what they left is overwritten.
    __builtin_memcpy(row, values + token * row_stride, static_cast<size_t>(format.head_size) * sizeof(float));
    rows.Add(token, row);
  }
  PackValues(format.value, rows, scratch, tile);
}

}  // namespace kvprune::avx2
