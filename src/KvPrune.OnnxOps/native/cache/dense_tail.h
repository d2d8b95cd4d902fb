#ifndef KVPRUNE_CACHE_DENSE_TAIL_H_
#define KVPRUNE_CACHE_DENSE_TAIL_H_

#include <cstdint>
#include <memory>

#include "cache/memory.h"
#include "cache/model_shape.h"
#include "kernels/kernels.h"
#include "pruning/policy.h"

namespace kvprune {

// The newest rows of every layer and KV head, unpruned: [layers, kv_heads, capacity, head_size] for K, then
// for V, in the policy's storage where that is floating-point and in bfloat16 otherwise. Rows that a
// checkpoint refers to never change.
class DenseTail {
 public:
  static Status Create(const std::shared_ptr<MemoryAccount>& account, const ModelShape& shape,
                       const Policy& policy, std::shared_ptr<DenseTail>* tail);
  static int64_t Bytes(const ModelShape& shape, const Policy& policy);

  int64_t bytes() const { return buffer_.bytes(); }
  DenseRows Rows(int layer, int kv_head) const;

  void Write(int layer, int kv_head, int row, const float* key, const float* value);
  void Read(int layer, int kv_head, int row, int count, float* keys, float* values) const;
  void ReadKeys(int layer, int kv_head, int row, int count, float* keys) const;
  // Copies rows [first, first + count) of every layer and head of `source` to row 0 and up; source may be
  // *this.
  void CopyFrom(const DenseTail& source, int first, int count);

 private:
  DenseTail() = default;
  uint8_t* Head(int layer, int kv_head, bool value) const;

  ModelShape shape_ = {};
  Storage key_storage_ = Storage::kFloat32;
  Storage value_storage_ = Storage::kFloat32;
  int capacity_ = 0;
  Buffer buffer_;
};

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_DENSE_TAIL_H_
