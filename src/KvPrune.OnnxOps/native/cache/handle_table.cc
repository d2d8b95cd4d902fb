#include "cache/handle_table.h"

namespace kvprune {

HandleTable& HandleTable::Instance() {
  // Never destroyed: sequences may be released while the process shuts down.
  static HandleTable& table = *new HandleTable();
  return table;
}

int64_t HandleTable::Add(std::shared_ptr<Sequence> sequence) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    if (slots_.size() == slots_.capacity()) slots_.reserve(2 * slots_.size() + 1);
    free_.reserve(slots_.capacity());  // Remove must not allocate
    slots_.emplace_back();
    free_.push_back(static_cast<uint32_t>(slots_.size() - 1));
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  slots_[index].sequence = std::move(sequence);
  return static_cast<int64_t>(slots_[index].generation) << 32 | index;
}

HandleTable::Slot* HandleTable::Locate(int64_t handle) {
  const uint64_t index = static_cast<uint64_t>(handle) & 0xffffffffu;
  const uint64_t generation = static_cast<uint64_t>(handle) >> 32;
  if (index >= slots_.size()) return nullptr;
  Slot& slot = slots_[index];
  return slot.sequence && slot.generation == generation ? &slot : nullptr;
}

std::shared_ptr<Sequence> HandleTable::Find(int64_t handle) {
  const std::lock_guard lock(mutex_);
  const Slot* slot = Locate(handle);
  return slot ? slot->sequence : nullptr;
}

std::shared_ptr<Sequence> HandleTable::Remove(int64_t handle) {
  const std::lock_guard lock(mutex_);
  Slot* slot = Locate(handle);
  if (slot == nullptr) return nullptr;
  // A slot whose generations are used up stays out of use: handles are positive and never come back.
  constexpr uint32_t kLastGeneration = 0x7fffffffu;
  if (slot->generation < kLastGeneration) {
    ++slot->generation;
    free_.push_back(static_cast<uint32_t>(slot - slots_.data()));
  }
  return std::move(slot->sequence);
}

}  // namespace kvprune
