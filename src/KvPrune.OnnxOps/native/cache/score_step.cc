#include "cache/score_step.h"

#include <algorithm>
#include <cmath>

#include "kernels/kernels.h"

namespace kvprune {
namespace {

constexpr int kTileFloats = kTileTokens * kMaxHeadSize;

// So that expanding leaves V alone.
TileFormat KeysOnly(TileFormat format) {
  format.value.lanes = 0;
  return format;
}

}  // namespace

float LogAdd(float a, float b) {
  const float most = std::max(a, b);
  if (std::isinf(most)) return most;
  return most + std::log1p(std::exp(std::min(a, b) - most));
}

template <class Visit>
void StepScorer::ForEachBlock(const Visit& visit) const {
  for (int first = 0; first < queries_.group; first += kMaxQueryRows)
    visit(Block{first, std::min(kMaxQueryRows, queries_.group - first)});
}

void StepScorer::WriteTile(const float* keys, int channels, const float* queries, const Block& block,
                           float* mass) const {
  const ScoreKernels& kernels = *Kernels().scores;
  const float* log_sums = queries_.log_sums + block.first;
  const float softcap = queries_.softcap;
  for (int lane = 0; lane < kTileTokens; lane += kPanelLanes) {
    float panel[kMaxQueryRows * kPanelLanes];
    float max[kPanelLanes];
    float sum[kPanelLanes];
    kernels.multiply(queries, channels, block.count, channels, keys + lane * channels, kPanelLanes, panel);
    for (int q = 0; q < block.count; ++q)
      for (int i = 0; i < kPanelLanes; ++i) {
        float& logit = panel[q * kPanelLanes + i];
        if (softcap > 0) logit = softcap * std::tanh(logit / softcap);
        // No more than the whole attention, also where this logit was rounded otherwise than that of the sum.
        // (NaN stays.)
        logit -= log_sums[q];
        logit = logit > 0 ? 0 : logit;
      }
    std::fill_n(max, kPanelLanes, 0.0f);
    kernels.exponentials(panel, block.count, nullptr, nullptr, 0, max, sum);
    for (int i = 0; i < kPanelLanes; ++i)
      mass[lane + i] = block.first == 0 ? sum[i] : mass[lane + i] + sum[i];
  }
}

void StepScorer::WriteTiles(int64_t first, int64_t count, float* mass) const {
  alignas(64) float keys[kTileFloats];
  float gathered[kMaxQueryRows * kMaxHeadSize];
  for (size_t i = slabs_.Find(kv_head_, first); count > 0 && i < slabs_.size(); ++i) {
    const TileSlab& slab = *slabs_[i].slab;
    const int64_t begin = first - slabs_.FirstTile(kv_head_, i);
    const int64_t here = std::min(count, slab.tiles(kv_head_) - begin);
    if (here == 0) continue;
    const TileFormat format = KeysOnly(slab.format(kv_head_));
    const uint8_t* channels = slab.key_channels(kv_head_);
    ForEachBlock([&](const Block& block) {
      for (int q = 0; q < block.count; ++q)
        for (int j = 0; j < format.key_channels; ++j)
          gathered[q * format.key_channels + j] = queries_.rows[(block.first + q) * head_size_ + channels[j]];
      for (int64_t tile = 0; tile < here; ++tile) {
        Kernels().expand_tile(format, slab.tile(kv_head_, begin + tile), keys);
        WriteTile(keys, format.key_channels, gathered, block, mass + (first + tile) * kTileTokens);
      }
    });
    first += here;
    count -= here;
  }
}

void StepScorer::WriteTail(const DenseTail& tail, int layer, int64_t rows, float* mass) const {
  alignas(64) float keys[2 * kTileFloats];
  float plain[kTileFloats];
  mass += slabs_.Tiles(kv_head_) * kTileTokens;
  for (int64_t first = 0; first < rows; first += kTileTokens) {
    const auto count = static_cast<int>(std::min<int64_t>(kTileTokens, rows - first));
    tail.ReadKeys(layer, kv_head_, static_cast<int>(first), count, plain);
    Kernels().expand_rows(plain, plain, count, head_size_, keys);  // K's part is what counts
    float part[kTileTokens];
    ForEachBlock([&](const Block& block) {
      WriteTile(keys, head_size_, queries_.rows + block.first * head_size_, block, part);
    });
    std::copy_n(part, count, mass + first);
  }
}

}  // namespace kvprune
