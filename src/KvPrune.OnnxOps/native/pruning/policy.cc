#include "pruning/policy.h"

#include <algorithm>
#include <cmath>

#include "pruning/element_masks.h"

namespace kvprune {
namespace {

SectionContent Content(const EntrySetting& setting, SparsityPattern pattern, int head_size) {
  const int channels = KeptChannels(setting.channels, head_size);
  const int elements = pattern == SparsityPattern::kPerToken
                           ? kTileTokens * KeptElements(setting.elements, channels)
                           : kTileTokens / kChannelGroupTokens *
                                 KeptElements(setting.elements, kChannelGroupTokens) * channels;
  return {setting.storage, channels, elements, pattern == SparsityPattern::kPerToken};
}

// Under an error budget nothing is measured for the rows of generated tokens, so they keep 8 bits.
Storage GeneratedStorage(const Policy& policy, Storage storage) {
  return policy.output_error > 0 && storage == Storage::kInt4 ? Storage::kInt8 : storage;
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

int KeptChannels(float sparsity, int head_size) {
  // Fractions arrive as float: 0.7f of 80 channels must still be 56.
  constexpr double kRounding = 1e-4;
  const double removed = std::floor(static_cast<double>(sparsity) * head_size + kRounding);
  return std::max(1, head_size - static_cast<int>(removed));
}

int KeptElements(float sparsity, int width) {
  return std::max(1, static_cast<int>(std::lround((1.0 - static_cast<double>(sparsity)) * width)));
}

TileFormat MakeFormat(const Policy& policy, const EntrySetting& key, const EntrySetting& value,
                      int head_size) {
  return MakeTileFormat(head_size, Content(key, policy.key_pattern, head_size),
                        Content(value, policy.value_pattern, head_size));
}

EntrySetting PromptKeySetting(const Policy& policy, int layer) {
  if (policy.output_error > 0) return {FinestStorage(policy.key_storage), 0, 0};
  const LayerSparsity sparsity = policy.ForLayer(layer);
  return {policy.key_storage, sparsity.key_channels, sparsity.keys};
}

EntrySetting PromptValueSetting(const Policy& policy, int layer) {
  if (policy.output_error > 0) return {FinestStorage(policy.value_storage), 0, 0};
  const LayerSparsity sparsity = policy.ForLayer(layer);
  return {policy.value_storage, sparsity.value_channels, sparsity.values};
}

TileFormat PromptTileFormat(const Policy& policy, int layer, int head_size) {
  return MakeFormat(policy, PromptKeySetting(policy, layer), PromptValueSetting(policy, layer), head_size);
}

TileFormat GeneratedTileFormat(const Policy& policy, int layer, int head_size) {
  const LayerSparsity sparsity = policy.ForLayer(layer);
  return MakeFormat(policy, {GeneratedStorage(policy, policy.key_storage), 0, sparsity.keys},
                    {GeneratedStorage(policy, policy.value_storage), 0, sparsity.values}, head_size);
}

Storage FinestStorage(Storage storage) {
  return storage == Storage::kInt8 || storage == Storage::kInt4 ? Storage::kBFloat16 : storage;
}

}  // namespace kvprune
