#include <algorithm>

#include "kernels/scalar/scalar.h"
#include "kernels/section_reader.h"

namespace kvprune::scalar {

void ExpandTile(const TileFormat& format, const uint8_t* tile, float* expanded) {
  float block[kMaxHeadSize * kBlockLanes];
  SectionReader keys(format.key, tile);
  for (int first = 0; first < kTileTokens; first += kBlockLanes) {
    keys.ReadBlock(block);
    for (int lane = 0; lane < kBlockLanes; ++lane) {
      const float scale = keys.Scale(first + lane);
      for (int step = 0; step < format.key_channels; ++step)
        expanded[step * kBlockLanes + lane] = block[step * kBlockLanes + lane] * scale;
    }
    expanded += format.key_channels * kBlockLanes;
  }
  SectionReader values(format.value, tile);
  for (int first = 0; first < format.value.lanes; first += kBlockLanes) {
    values.ReadBlock(block);
    const int lanes = std::min(kBlockLanes, format.value_channels - first);
    for (int token = 0; token < kTileTokens; ++token) {
      const float scale = values.Scale(token);
      float* row = expanded + token * kBlockLanes;
      for (int lane = 0; lane < lanes; ++lane) row[lane] = block[token * kBlockLanes + lane] * scale;
      std::fill(row + lanes, row + kBlockLanes, 0.0f);  // int4's zero point makes something of the padding
    }
    expanded += kTileTokens * kBlockLanes;
  }
}

void ExpandRows(const float* keys, const float* values, int rows, int head_size, float* expanded) {
  for (int first = 0; first < kTileTokens; first += kBlockLanes)
    for (int step = 0; step < head_size; ++step)
      for (int token = first; token < first + kBlockLanes; ++token)
        *expanded++ = token < rows ? keys[token * head_size + step] : 0.0f;
  for (int first = 0; first < head_size; first += kBlockLanes) {
    const int lanes = std::min(kBlockLanes, head_size - first);
    for (int token = 0; token < kTileTokens; ++token, expanded += kBlockLanes) {
      std::fill_n(expanded, kBlockLanes, 0.0f);
      if (token < rows) std::copy_n(values + token * head_size + first, lanes, expanded);
    }
  }
}

}  // namespace kvprune::scalar
