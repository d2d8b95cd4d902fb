#include "cache/prompt_rows.h"

namespace kvprune {
namespace {

int64_t RowBytes(const ModelShape& shape, int64_t capacity) {
  const int64_t bytes = 2 * shape.kv_heads * capacity * shape.head_size * static_cast<int64_t>(sizeof(float));
  return (bytes + 63) / 64 * 64;
}

}  // namespace

int64_t PromptRows::Bytes(const ModelShape& shape, const PromptNeeds& needs, int64_t capacity,
                          int64_t segment_tokens) {
  return RowBytes(shape, capacity) + PromptRecord::Bytes(shape, needs, capacity, segment_tokens);
}

Status PromptRows::Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                          const PromptNeeds& needs, int64_t capacity, int64_t segment_tokens,
                          PromptRows* rows) {
  Status status = Buffer::Allocate(account, MemoryUse::kStaging, RowBytes(shape, capacity), &rows->buffer_);
  if (!status.ok()) return status;
  rows->kv_heads_ = shape.kv_heads;
  rows->head_size_ = shape.head_size;
  rows->capacity_ = capacity;
  return PromptRecord::Create(account, shape, needs, capacity, segment_tokens, &rows->record_);
}

}  // namespace kvprune
