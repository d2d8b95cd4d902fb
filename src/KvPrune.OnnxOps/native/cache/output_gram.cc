#include "cache/output_gram.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

namespace kvprune {

OutputGram::OutputGram(const ModelShape& shape, std::shared_ptr<MemoryAccount> account)
    : shape_(shape), account_(std::move(account)), buffers_(shape.layers), layers_(shape.layers) {}

Status OutputGram::Set(int layer, const float* gram, int64_t count) {
  if (layer < 0 || layer >= shape_.layers)
    return {KVP_INVALID_ARGUMENT,
            "layer " + std::to_string(layer) + " is not one of the model's " + std::to_string(shape_.layers)};
  const int64_t floats = shape_.kv_heads * HeadFloats();
  if (count != floats)
    return {KVP_INVALID_ARGUMENT, "the Gram matrices of a layer have " + std::to_string(floats) +
                                      " entries, not " + std::to_string(count)};
  if (!std::all_of(gram, gram + count, [](float entry) { return std::isfinite(entry); }))
    return {KVP_INVALID_ARGUMENT,
            "the Gram matrices of layer " + std::to_string(layer) + " hold an entry that is not finite"};
  const std::lock_guard lock(mutex_);
  if (layers_[layer].load(std::memory_order_relaxed) != nullptr)
    return {KVP_INVALID_STATE, "layer " + std::to_string(layer) + " has its Gram matrices already"};
  Status status = Buffer::Allocate(account_, MemoryUse::kWeights,
                                   floats * static_cast<int64_t>(sizeof(float)), &buffers_[layer]);
  if (!status.ok()) return status;
  float* copy = reinterpret_cast<float*>(buffers_[layer].data());
  std::copy_n(gram, count, copy);
  layers_[layer].store(copy, std::memory_order_release);
  return {};
}

Status OutputGram::RequireAll() const {
  for (int layer = 0; layer < shape_.layers; ++layer)
    if (Find(layer, 0) == nullptr)
      return {KVP_INVALID_STATE, "the policy weighs values by the output projection, which layer " +
                                     std::to_string(layer) + " was not given"};
  return {};
}

}  // namespace kvprune
