#include <algorithm>

#include "kernels/kernels.h"
#include "kernels/section_reader.h"

namespace kvprune {

void UnpackTile(const TileFormat& format, const uint8_t* tile, const uint8_t* key_channels,
                const uint8_t* value_channels, float* keys, float* values) {
  float block[kMaxHeadSize * kBlockLanes];
  const int head_size = format.head_size;

  std::fill_n(keys, kTileTokens * head_size, 0.0f);
  SectionReader key_reader(format.key, tile);
  for (int first = 0; first < kTileTokens; first += kBlockLanes) {
    key_reader.ReadBlock(block);
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const float scale = key_reader.Scale(first + lane);
      for (int step = 0; step < format.key_channels; ++step) {
        keys[(first + lane) * head_size + key_channels[step]] = block[step * kBlockLanes + lane] * scale;
      }
    }
  }

  std::fill_n(values, kTileTokens * head_size, 0.0f);
  SectionReader value_reader(format.value, tile);
  for (int first = 0; first < format.value_channels; first += kBlockLanes) {
    value_reader.ReadBlock(block);
    const int lanes = std::min(kBlockLanes, format.value_channels - first);
    for (int token = 0; token < kTileTokens; ++token) {
      const float scale = value_reader.Scale(token);
      for (int lane = 0; lane < lanes; ++lane) {
        const int channel = value_channels != nullptr ? value_channels[first + lane] : first + lane;
        values[token * head_size + channel] = block[token * kBlockLanes + lane] * scale;
      }
    }
  }
}

}  // namespace kvprune
