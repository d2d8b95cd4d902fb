#include "cache/dense_tail.h"

#include <cstring>

namespace kvprune {
namespace {

void StoreRow(const float* row, int size, Storage storage, uint8_t* target) {
  if (storage == Storage::kFloat32) {
    std::memcpy(target, row, static_cast<size_t>(size) * sizeof(float));
    return;
  }
  auto* out = reinterpret_cast<uint16_t*>(target);
  for (int i = 0; i < size; ++i)
    out[i] = storage == Storage::kFloat16 ? FloatToFloat16(row[i]) : FloatToBFloat16(row[i]);
}

void LoadRows(const uint8_t* source, int64_t size, Storage storage, float* rows) {
  if (storage == Storage::kFloat32) {
    std::memcpy(rows, source, static_cast<size_t>(size) * sizeof(float));
    return;
  }
  const auto* in = reinterpret_cast<const uint16_t*>(source);
  for (int64_t i = 0; i < size; ++i)
    rows[i] = storage == Storage::kFloat16 ? Float16ToFloat(in[i]) : BFloat16ToFloat(in[i]);
}

int64_t HalfBytes(const ModelShape& shape, int capacity, Storage storage) {
  return static_cast<int64_t>(shape.layers) * shape.kv_heads * capacity * shape.head_size *
         static_cast<int64_t>(ElementBytes(storage));
}

}  // namespace

int64_t DenseTail::Bytes(const ModelShape& shape, const Policy& policy) {
  const int64_t bytes = HalfBytes(shape, policy.TailCapacity(), policy.TailKeyStorage()) +
                        HalfBytes(shape, policy.TailCapacity(), policy.TailValueStorage());
  return (bytes + 63) / 64 * 64;
}

Status DenseTail::Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                         const Policy& policy, std::shared_ptr<DenseTail>* tail) {
  std::shared_ptr<DenseTail> made(new DenseTail());
  made->shape_ = shape;
  made->key_storage_ = policy.TailKeyStorage();
  made->value_storage_ = policy.TailValueStorage();
  made->capacity_ = policy.TailCapacity();
  Status status = Buffer::Allocate(account, MemoryUse::kTail, Bytes(shape, policy), &made->buffer_);
  if (!status.ok()) return status;
  *tail = std::move(made);
  return {};
}

uint8_t* DenseTail::Head(int layer, int kv_head, bool value) const {
  const Storage storage = value ? value_storage_ : key_storage_;
  const int64_t head = static_cast<int64_t>(layer) * shape_.kv_heads + kv_head;
  const int64_t half = value ? HalfBytes(shape_, capacity_, key_storage_) : 0;
  return buffer_.data() + half +
         head * capacity_ * shape_.head_size * static_cast<int64_t>(ElementBytes(storage));
}

DenseRows DenseTail::Rows(int layer, int kv_head) const {
  return {Head(layer, kv_head, false), Head(layer, kv_head, true), key_storage_, value_storage_,
          shape_.head_size};
}

void DenseTail::Write(int layer, int kv_head, int row, const float* key, const float* value) {
  const size_t offset = static_cast<size_t>(row) * shape_.head_size;
  StoreRow(key, shape_.head_size, key_storage_,
           Head(layer, kv_head, false) + offset * ElementBytes(key_storage_));
  StoreRow(value, shape_.head_size, value_storage_,
           Head(layer, kv_head, true) + offset * ElementBytes(value_storage_));
}

void DenseTail::ReadKeys(int layer, int kv_head, int row, int count, float* keys) const {
  const size_t offset = static_cast<size_t>(row) * shape_.head_size;
  LoadRows(Head(layer, kv_head, false) + offset * ElementBytes(key_storage_),
           static_cast<int64_t>(count) * shape_.head_size, key_storage_, keys);
}

void DenseTail::Read(int layer, int kv_head, int row, int count, float* keys, float* values) const {
  const size_t offset = static_cast<size_t>(row) * shape_.head_size;
  const int64_t size = static_cast<int64_t>(count) * shape_.head_size;
  ReadKeys(layer, kv_head, row, count, keys);
  LoadRows(Head(layer, kv_head, true) + offset * ElementBytes(value_storage_), size, value_storage_, values);
}

void DenseTail::CopyFrom(const DenseTail& source, int first, int count) {
  for (const bool value : {false, true}) {
    const size_t row_bytes = shape_.head_size * ElementBytes(value ? value_storage_ : key_storage_);
    for (int layer = 0; layer < shape_.layers; ++layer)
      for (int head = 0; head < shape_.kv_heads; ++head)
        std::memmove(Head(layer, head, value), source.Head(layer, head, value) + first * row_bytes,
                     count * row_bytes);
  }
}

}  // namespace kvprune
