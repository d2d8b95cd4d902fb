#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <functional>

#include "kernels/scalar/quantise.h"
#include "kernels/scalar/scalar.h"

namespace kvprune::scalar {
namespace {

constexpr int kVectorLanes = 16;
constexpr size_t kVectorBytes = 64;

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

// `mask`, where not null, says which elements to keep.
void StoreRow(const TileSection& section, const float* row, const uint8_t* mask, int width, int token,
              uint8_t* tile, StoredRows* rows) {
  uint32_t* bits = rows->bits[token];
  uint8_t* kept = rows->kept[token];
  uint32_t magnitudes[kMaxHeadSize];
  for (int i = 0; i < width; ++i) {
    bits[i] = section.storage == Storage::kBFloat16  ? FloatToBFloat16(row[i])
              : section.storage == Storage::kFloat16 ? FloatToFloat16(row[i])
                                                     : std::bit_cast<uint32_t>(row[i]);
    magnitudes[i] = bits[i] & (ElementBits(section.storage) == 16 ? 0x7fffu : 0x7fffffffu);
  }
  if (mask != nullptr)
    std::copy_n(mask, width, kept);
  else
    KeepLargest(magnitudes, width, section.row_nonzeros, kept);
  if (section.per_token_scales()) {
    QuantiseRow(section.storage, row, width, kept, bits, tile + section.scale_offset + token * 2);
  }
  std::fill(bits + width, bits + kMaxHeadSize, 0u);
  std::fill(kept + width, kept + kMaxHeadSize, uint8_t{0});
}

// Appends elements of 4 to 32 bits.
class ValueWriter {
 public:
  ValueWriter(Storage storage, uint8_t* to) : bits_(ElementBits(storage)), to_(to) {}

  void Write(uint32_t element) {
    if (bits_ >= 8) {
      std::memcpy(to_, &element, bits_ / 8);  // little-endian: the low bytes
      to_ += bits_ / 8;
    } else if (half_) {
      *to_++ |= static_cast<uint8_t>(element << 4);
      half_ = false;
    } else {
      *to_ = static_cast<uint8_t>(element);
      half_ = true;
    }
  }

  // Behind the last element.
  uint8_t* end() const { return to_ + (half_ ? 1 : 0); }

 private:
  const int bits_;
  uint8_t* to_;
  bool half_ = false;
};

// Writes the section's vectors; `tokens_are_lanes` for K, else the channels are.
void WriteVectors(const TileSection& section, const StoredRows& rows, bool tokens_are_lanes, uint8_t* tile) {
  const int interleave = Interleave(section.storage);
  uint8_t* masks = tile + section.mask_offset;
  ValueWriter values(section.storage, tile + section.value_offset);
  // The halves of a dense int4 group alternate, so that they share bytes.
  const bool both_halves = section.per_step_scales();
  const int vector_elements = kVectorLanes * interleave;
  for (int block = 0; block < section.lanes; block += kBlockLanes) {
    for (int step = 0; step < section.reduction; step += interleave) {
      uint64_t half_masks[2] = {};
      for (int i = 0; i < 2 * vector_elements; ++i) {
        const int half = both_halves ? i % 2 : i / vector_elements;
        const int element = both_halves ? i / 2 : i % vector_elements;
        const int lane = block + half * kVectorLanes + element / interleave;
        const int reduced = step + element % interleave;
        const int token = tokens_are_lanes ? lane : reduced;
        const int channel = tokens_are_lanes ? reduced : lane;
        if (section.bitmap && !rows.kept[token][channel]) continue;
        half_masks[half] |= uint64_t{1} << element;
        values.Write(rows.bits[token][channel]);
      }
      for (int half = 0; section.bitmap && half < 2; ++half, masks += 2 * interleave)
        std::memcpy(masks, &half_masks[half], 2 * interleave);
    }
  }
  // Equal rows make equal tiles: the gap up to the next multiple of 64 bytes is written too.
  const size_t gap = (kVectorBytes - static_cast<size_t>(values.end() - tile) % kVectorBytes) % kVectorBytes;
  std::memset(values.end(), 0, gap);
}

// Some channels of 64 rows, and which of their elements are kept.
struct Source {
  const float* rows;
  size_t row_stride;
  const uint8_t* channels;  // null: the first ones
  int count;
  const uint8_t* mask;  // [64, head_size]; null: the largest of each row
};

// False where the mask does not fit the section.
bool WriteSection(const TileFormat& format, const TileSection& section, bool tokens_are_lanes,
                  const Source& source, uint8_t* tile) {
  const bool masked = section.bitmap && source.mask != nullptr;
  StoredRows rows;
  int kept = 0;
  for (int token = 0; token < kTileTokens; ++token) {
    float gathered[kMaxHeadSize];
    uint8_t mask[kMaxHeadSize];
    const float* row = source.rows + static_cast<size_t>(token) * source.row_stride;
    for (int i = 0; i < source.count; ++i) {
      const int channel = source.channels != nullptr ? source.channels[i] : i;
      gathered[i] = row[channel];
      if (masked) {
        mask[i] = source.mask[token * format.head_size + channel] != 0 ? 1 : 0;
        kept += mask[i];
      }
    }
    StoreRow(section, gathered, masked ? mask : nullptr, source.count, token, tile, &rows);
  }
  if (masked && kept != section.nonzeros) return false;
  if (section.per_step_scales()) QuantiseGroups(section, tokens_are_lanes, source.count, &rows, tile);
  WriteVectors(section, rows, tokens_are_lanes, tile);
  return true;
}

}  // namespace

void PackTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
              const uint8_t* key_channels, const uint8_t* value_channels, uint8_t* tile) {
  WriteSection(format, format.key, true, {keys, row_stride, key_channels, format.key_channels, nullptr},
               tile);
  WriteSection(format, format.value, false,
               {values, row_stride, value_channels, format.value_channels, nullptr}, tile);
}

}  // namespace kvprune::scalar

namespace kvprune {

bool PackMaskedTile(const TileFormat& format, const float* keys, const float* values, size_t row_stride,
                    const uint8_t* key_channels, const uint8_t* value_channels, const uint8_t* key_mask,
                    const uint8_t* value_mask, uint8_t* tile) {
  return scalar::WriteSection(format, format.key, true,
                              {keys, row_stride, key_channels, format.key_channels, key_mask}, tile) &&
         scalar::WriteSection(format, format.value, false,
                              {values, row_stride, value_channels, format.value_channels, value_mask}, tile);
}

}  // namespace kvprune
