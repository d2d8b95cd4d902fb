#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>

#include "kernels/scalar/scalar.h"

namespace kvprune::scalar {
namespace {

constexpr int kVectorLanes = 16;
constexpr size_t kVectorBytes = 64;
constexpr uint32_t kMagnitude = 0x7fffffffu;

// Token rows on their way into a section: stored element bits and which elements are kept.
struct StoredRows {
  uint32_t bits[kTileTokens][kMaxHeadSize];
  uint8_t kept[kTileTokens][kMaxHeadSize];
};

// Marks the `count` largest of `magnitudes` (float bits without sign, so NaN is the largest).
void KeepLargest(const uint32_t* magnitudes, int width, int count, uint8_t* kept) {
  if (count >= width) {
    std::fill_n(kept, width, uint8_t{1});
    return;
  }
  std::fill_n(kept, width, uint8_t{0});
  if (count <= 0) return;
  // The complement of the channel as the low byte makes the lower channel the larger of equals.
  uint64_t ranks[kMaxHeadSize];
  for (int i = 0; i < width; ++i) ranks[i] = uint64_t{magnitudes[i]} << 8 | static_cast<uint64_t>(0xff - i);
  std::nth_element(ranks, ranks + count - 1, ranks + width, std::greater<>());
  for (int i = 0; i < count; ++i) kept[0xff - (ranks[i] & 0xff)] = 1;
}

// The bfloat16 scale of a row whose largest magnitude has these float bits. Rounded up, so no value is
// clamped; never subnormal, so that processors that flush subnormals read the same.
uint16_t Int8Scale(uint32_t max_bits) {
  if (max_bits == 0) return 0;
  if (max_bits >= 0x7f800000u) return static_cast<uint16_t>(max_bits > 0x7f800000u ? 0x7fc0 : 0x7f80);
  const float exact = std::max(std::bit_cast<float>(max_bits) / 127.0f, std::numeric_limits<float>::min());
  return static_cast<uint16_t>((std::bit_cast<uint32_t>(exact) + 0xffffu) >> 16);
}

void StoreInt8Row(const float* row, int width, const uint8_t* kept, uint32_t* bits, uint8_t* scale_at) {
  uint32_t max_bits = 0;
  for (int i = 0; i < width; ++i) {
    if (kept[i]) max_bits = std::max(max_bits, std::bit_cast<uint32_t>(row[i]) & kMagnitude);
  }
  const uint16_t scale_bits = Int8Scale(max_bits);
  std::memcpy(scale_at, &scale_bits, sizeof scale_bits);
  const float scale = BFloat16ToFloat(scale_bits);
  const bool usable = scale > 0 && std::isfinite(scale);
  for (int i = 0; i < width; ++i) {
    bits[i] = usable && kept[i] ? static_cast<uint8_t>(static_cast<int8_t>(std::lrintf(row[i] / scale))) : 0;
  }
}

void StoreRow(const TileSection& section, const float* row, int width, int token, uint8_t* tile,
              StoredRows* rows) {
  uint32_t* bits = rows->bits[token];
  uint8_t* kept = rows->kept[token];
  uint32_t magnitudes[kMaxHeadSize];
  for (int i = 0; i < width; ++i) {
    const uint32_t float_bits = std::bit_cast<uint32_t>(row[i]);
    bits[i] = section.storage == Storage::kBFloat16 ? FloatToBFloat16(row[i]) : float_bits;
    magnitudes[i] = section.storage == Storage::kBFloat16 ? bits[i] & 0x7fffu : float_bits & kMagnitude;
  }
  KeepLargest(magnitudes, width, section.row_nonzeros, kept);
  if (section.storage == Storage::kInt8) {
    StoreInt8Row(row, width, kept, bits, tile + section.scale_offset + token * 2);
  }
  std::fill(bits + width, bits + kMaxHeadSize, 0u);
  std::fill(kept + width, kept + kMaxHeadSize, uint8_t{0});
}

// Writes the section's vectors; `tokens_are_lanes` for K, else the channels are.
void WriteVectors(const TileSection& section, const StoredRows& rows, bool tokens_are_lanes, uint8_t* tile) {
  const int interleave = Interleave(section.storage);
  const size_t bytes = ElementBytes(section.storage);
  uint8_t* masks = tile + section.mask_offset;
  uint8_t* values = tile + section.value_offset;
  for (int block = 0; block < section.lanes; block += kBlockLanes) {
    for (int step = 0; step < section.reduction; step += interleave) {
      for (int half = 0; half < kBlockLanes; half += kVectorLanes) {
        uint64_t mask = 0;
        for (int element = 0; element < kVectorLanes * interleave; ++element) {
          const int lane = block + half + element / interleave;
          const int reduced = step + element % interleave;
          const int token = tokens_are_lanes ? lane : reduced;
          const int channel = tokens_are_lanes ? reduced : lane;
          if (section.bitmap && !rows.kept[token][channel]) continue;
          mask |= uint64_t{1} << element;
          std::memcpy(values, &rows.bits[token][channel], bytes);  // little-endian: the low bytes
          values += bytes;
        }
        if (section.bitmap) {
          std::memcpy(masks, &mask, 2 * interleave);
          masks += 2 * interleave;
        }
      }
    }
  }
  // Equal rows make equal tiles: the gap up to the next multiple of 64 bytes is written too.
  const size_t gap = (kVectorBytes - static_cast<size_t>(values - tile) % kVectorBytes) % kVectorBytes;
  std::memset(values, 0, gap);
}

}  // namespace

void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* channels, uint8_t* tile) {
  StoredRows rows;
  for (int token = 0; token < kTileTokens; ++token) {
    float gathered[kMaxHeadSize];
    for (int i = 0; i < format.key_channels; ++i) gathered[i] = keys[token * row_stride + channels[i]];
    StoreRow(format.key, gathered, format.key_channels, token, tile, &rows);
  }
  WriteVectors(format.key, rows, true, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    StoreRow(format.value, values + token * row_stride, format.head_size, token, tile, &rows);
  }
  WriteVectors(format.value, rows, false, tile);
}

}  // namespace kvprune::scalar
