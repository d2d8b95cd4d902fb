#include <algorithm>

#include "kernels/scalar/scalar.h"
#include "kernels/section_reader.h"

namespace kvprune::scalar {
namespace {

// logits[row][token] = queries[row] . key[token]
void Logits(const TileFormat& format, const uint8_t* tile, const float* queries, int query_rows, float* block,
            float logits[][kTileTokens]) {
  SectionReader reader(format.key, tile);
  for (int first = 0; first < kTileTokens; first += kBlockLanes) {
    reader.ReadBlock(block);
    float scales[kBlockLanes];
    for (int lane = 0; lane < kBlockLanes; ++lane) scales[lane] = reader.Scale(first + lane);
    for (int row = 0; row < query_rows; ++row) {
      float sums[kBlockLanes] = {};
      for (int step = 0; step < format.key_channels; ++step) {
        const float query = queries[row * format.key_channels + step];
        for (int lane = 0; lane < kBlockLanes; ++lane) sums[lane] += query * block[step * kBlockLanes + lane];
      }
      for (int lane = 0; lane < kBlockLanes; ++lane) logits[row][first + lane] = sums[lane] * scales[lane];
    }
  }
}

// accumulator[row] += sum over tokens of weights[row][token] * value[token]
void AddValues(const TileFormat& format, const uint8_t* tile, int query_rows, float* block,
               float weights[][kTileTokens], AttentionState* state) {
  SectionReader reader(format.value, tile);
  for (int token = 0; token < kTileTokens; ++token) {
    const float scale = reader.Scale(token);
    for (int row = 0; row < query_rows; ++row) weights[row][token] *= scale;
  }
  for (int first = 0; first < format.value.lanes; first += kBlockLanes) {
    reader.ReadBlock(block);
    for (int row = 0; row < query_rows; ++row) {
      float sums[kBlockLanes];
      std::copy_n(state->accumulator[row] + first, kBlockLanes, sums);
      for (int token = 0; token < kTileTokens; ++token) {
        const float weight = weights[row][token];
        for (int lane = 0; lane < kBlockLanes; ++lane)
          sums[lane] += weight * block[token * kBlockLanes + lane];
      }
      std::copy_n(sums, kBlockLanes, state->accumulator[row] + first);
    }
  }
}

}  // namespace

void AttendTiles(const TileFormat& format, const uint8_t* tiles, int64_t tile_count, const float* queries,
                 int query_rows, const RowRange* seen, float softcap, AttentionState* state) {
  float block[kMaxHeadSize * kBlockLanes];
  float logits[kMaxQueryRows][kTileTokens];
  for (int64_t index = 0; index < tile_count; ++index) {
    const uint8_t* tile = tiles + static_cast<size_t>(index) * format.stride;
    Logits(format, tile, queries, query_rows, block, logits);
    for (int row = 0; row < query_rows; ++row) {
      const int64_t first = index * kTileTokens;
      const RowRange range = seen == nullptr ? RowRange{first, first + kTileTokens} : seen[row];
      const int begin = static_cast<int>(std::clamp<int64_t>(range.begin - first, 0, kTileTokens));
      const int end = static_cast<int>(std::clamp<int64_t>(range.end - first, begin, kTileTokens));
      if (begin < end)
        AddLogits(state, row, format.value_channels, softcap, logits[row] + begin, end - begin);
      std::fill(logits[row], logits[row] + begin, 0.0f);
      std::fill(logits[row] + end, logits[row] + kTileTokens, 0.0f);
    }
    AddValues(format, tile, query_rows, block, logits, state);
  }
}

}  // namespace kvprune::scalar
