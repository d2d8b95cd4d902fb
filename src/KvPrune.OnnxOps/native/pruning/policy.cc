#include "pruning/policy.h"

#include <algorithm>
#include <cmath>

namespace kvprune {
namespace {

TileFormat MakeFormat(const Policy& policy, int head_size, int channels) {
  return MakeTileFormat(head_size, channels, policy.key_storage, KeptElements(policy.key_sparsity, channels),
                        policy.value_storage, KeptElements(policy.value_sparsity, head_size));
}

Status NotBuilt(const char* what) {
  return {KVP_UNSUPPORTED, std::string("pruning policy: ") + what + " is not built in this version yet"};
}

}  // namespace

bool Policy::Removes(float LayerSparsity::*sparsity) const {
  if (layers.empty()) return ForLayer(0).*sparsity > 0;
  return std::any_of(layers.begin(), layers.end(),
                     [&](const LayerSparsity& layer) { return layer.*sparsity > 0; });
}

bool Policy::NeedsObservedQueries() const {
  return Removes(&LayerSparsity::key_channels) || Removes(&LayerSparsity::value_channels) ||
         (key_score != KeyScore::kMagnitude && Removes(&LayerSparsity::keys)) ||
         (value_score == ValueScore::kAttention && Removes(&LayerSparsity::values)) ||
         eviction.score == TokenScore::kWindowAttention || output_error > 0;
}

bool Policy::NeedsOutputGram() const {
  return (value_score == ValueScore::kOutputWeight &&
          (Removes(&LayerSparsity::values) || output_error > 0)) ||
         eviction.weigh_by_value || eviction.second_stage;
}

Status CheckBuilt(const Policy& policy) {
  if (policy.value_channel_sparsity > 0) return NotBuilt("removing V channels");
  if (policy.key_pattern != SparsityPattern::kPerToken || policy.value_pattern != SparsityPattern::kPerToken)
    return NotBuilt("the per-channel pattern");
  if (policy.key_score != KeyScore::kMagnitude) return NotBuilt("ranking K by anything but magnitude");
  if (policy.value_score != ValueScore::kMagnitude) return NotBuilt("ranking V by anything but magnitude");
  if (policy.output_error > 0) return NotBuilt("an error budget");
  if (!policy.layers.empty()) return NotBuilt("a sparsity per layer");
  return {};
}

int KeptChannels(float sparsity, int head_size) {
  // Fractions arrive as float: 0.7f of 80 channels must still be 56.
  constexpr double kRounding = 1e-4;
  const double removed = std::floor(static_cast<double>(sparsity) * head_size + kRounding);
  return std::max(1, head_size - static_cast<int>(removed));
}

int KeptElements(float sparsity, int width) {
  return std::max(1, static_cast<int>(std::lround((1.0 - static_cast<double>(sparsity)) * width)));
}

TileFormat PromptTileFormat(const Policy& policy, int head_size) {
  return MakeFormat(policy, head_size, KeptChannels(policy.key_channel_sparsity, head_size));
}

TileFormat GeneratedTileFormat(const Policy& policy, int head_size) {
  return MakeFormat(policy, head_size, head_size);
}

}  // namespace kvprune
