#include "pruning/policy.h"

#include <algorithm>
#include <cmath>
#include <string>

namespace kvprune {
namespace {

Status Invalid(const char* name, double value, const char* rule) {
  return {KVP_INVALID_ARGUMENT,
          std::string("pruning policy: ") + name + " is " + std::to_string(value) + ", but " + rule};
}

bool IsStorage(int32_t storage) {
  return storage >= KVP_STORAGE_FLOAT32 && storage <= KVP_STORAGE_INT4;
}

// Written so that NaN is no fraction.
bool IsFraction(float value) {
  return value >= 0.0f && value < 1.0f;
}

TileFormat MakeFormat(const Policy& policy, int head_size, int channels) {
  return MakeTileFormat(head_size, channels, policy.key_storage, KeptElements(policy.key_sparsity, channels),
                        policy.value_storage, KeptElements(policy.value_sparsity, head_size));
}

}  // namespace

Status MakePolicy(const kvp_policy& source, const ModelShape& shape, Policy* policy) {
  constexpr int kLongestWindow = 1 << 20;
  if (!IsStorage(source.key_storage))
    return Invalid("key_storage", source.key_storage, "must name a storage");
  if (!IsStorage(source.value_storage))
    return Invalid("value_storage", source.value_storage, "must name a storage");
  if (!IsFraction(source.key_channel_sparsity))
    return Invalid("key_channel_sparsity", source.key_channel_sparsity, "must be in [0, 1)");
  if (!IsFraction(source.key_sparsity))
    return Invalid("key_sparsity", source.key_sparsity, "must be in [0, 1)");
  if (!IsFraction(source.value_sparsity))
    return Invalid("value_sparsity", source.value_sparsity, "must be in [0, 1)");
  if (source.recent_window < 0 || source.recent_window > kLongestWindow)
    return Invalid("recent_window", source.recent_window, "must be in [0, 1048576]");
  if (source.observation_window < 1 || source.observation_window > kLongestWindow)
    return Invalid("observation_window", source.observation_window, "must be in [1, 1048576]");
  *policy = {static_cast<Storage>(source.key_storage),
             static_cast<Storage>(source.value_storage),
             source.key_channel_sparsity,
             source.key_sparsity,
             source.value_sparsity,
             static_cast<int>(std::min<int64_t>(source.recent_window, shape.max_tokens)),
             source.observation_window};
  return {};
}

int KeptChannels(const Policy& policy, int head_size) {
  // Fractions arrive as float: 0.7f of 80 channels must still be 56.
  constexpr double kRounding = 1e-4;
  const double removed = std::floor(static_cast<double>(policy.key_channel_sparsity) * head_size + kRounding);
  return std::max(1, head_size - static_cast<int>(removed));
}

int KeptElements(float sparsity, int width) {
  return std::max(1, static_cast<int>(std::lround((1.0 - static_cast<double>(sparsity)) * width)));
}

TileFormat PromptTileFormat(const Policy& policy, int head_size) {
  return MakeFormat(policy, head_size, KeptChannels(policy, head_size));
}

TileFormat GeneratedTileFormat(const Policy& policy, int head_size) {
  return MakeFormat(policy, head_size, head_size);
}

}  // namespace kvprune
