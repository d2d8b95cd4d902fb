#include "cache/pack_rows.h"

#include <algorithm>

#include "kernels/kernels.h"
#include "pruning/element_masks.h"

namespace kvprune {
namespace {

constexpr int kTileElements = kTileTokens * kMaxHeadSize;

// Some channels of 64 rows.
struct Half {
  const float* rows;  // [64, head_size]
  int head_size;
  const uint8_t* channels;  // null: all
  int count;
  int64_t first_token;
};

// The rows with 0 in place of the elements that rank below the row_nonzeros best by weighted magnitude, so
// that the largest magnitudes are those. (A kept 0 may lose its place to another: what is read is the same.)
Status ZeroLosers(const Half& half, const TileSection& section, const float* weights, float* zeroed) {
  float gathered[kTileElements];
  float gathered_weights[kMaxHeadSize];
  uint8_t mask[kTileElements];
  for (int i = 0; i < half.count; ++i) {
    const int channel = half.channels != nullptr ? half.channels[i] : i;
    gathered_weights[i] = weights[channel];
    for (int t = 0; t < kTileTokens; ++t)
      gathered[t * half.count + i] = half.rows[t * half.head_size + channel];
  }
  Status status = PerTokenMask({gathered, half.count, kTileTokens, half.first_token}, half.count,
                               gathered_weights, section.row_nonzeros, mask);
  if (!status.ok()) return status;
  std::copy_n(half.rows, kTileTokens * half.head_size, zeroed);
  for (int t = 0; t < kTileTokens; ++t)
    for (int i = 0; i < half.count; ++i)
      if (mask[t * half.count + i] == 0)
        zeroed[t * half.head_size + (half.channels != nullptr ? half.channels[i] : i)] = 0;
  return {};
}

Status MaskChannels(const Half& half, const TileSection& section, const float* token_weights, uint8_t* mask) {
  constexpr int kGroups = kTileTokens / kChannelGroupTokens;
  return PerChannelMask({half.rows, half.head_size, kTileTokens, half.first_token}, half.head_size,
                        token_weights, section.nonzeros / (kGroups * half.count), mask);
}

}  // namespace

Status PackRows(const PackRules& rules, const float* keys, const float* values, const float* token_weights,
                int64_t first_token, uint8_t* tile) {
  const TileFormat& format = rules.format;
  const int size = format.head_size;
  const Half key_half{keys, size, rules.key_channels, format.key_channels, first_token};
  const Half value_half{values, size, rules.value_channels, format.value_channels, first_token};
  float zeroed_keys[kTileElements];
  float zeroed_values[kTileElements];
  uint8_t key_mask[kTileElements];
  uint8_t value_mask[kTileElements];
  const bool mask_keys = format.key.bitmap && rules.key_pattern == SparsityPattern::kPerChannel;
  const bool mask_values = format.value.bitmap && rules.value_pattern == SparsityPattern::kPerChannel;
  Status status;
  if (mask_keys) {
    status = MaskChannels(key_half, format.key, nullptr, key_mask);
  } else if (format.key.bitmap && rules.key_weights != nullptr) {
    status = ZeroLosers(key_half, format.key, rules.key_weights, zeroed_keys);
    keys = zeroed_keys;
  }
  if (!status.ok()) return status;
  if (mask_values) {
    status = MaskChannels(value_half, format.value, token_weights, value_mask);
  } else if (format.value.bitmap && rules.value_weights != nullptr) {
    status = ZeroLosers(value_half, format.value, rules.value_weights, zeroed_values);
    values = zeroed_values;
  }
  if (!status.ok()) return status;
  if (!mask_keys && !mask_values) {
    Kernels().pack_tile(format, keys, values, static_cast<size_t>(size), rules.key_channels,
                        rules.value_channels, tile);
    return {};
  }
  const bool fits = PackMaskedTile(format, keys, values, static_cast<size_t>(size), rules.key_channels,
                                   rules.value_channels, mask_keys ? key_mask : nullptr,
                                   mask_values ? value_mask : nullptr, tile);
  return fits ? Status() : Status(KVP_INTERNAL_ERROR, "an element mask does not fit its tile");
}

}  // namespace kvprune
