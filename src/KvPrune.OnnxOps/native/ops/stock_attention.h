#ifndef KVPRUNE_OPS_STOCK_ATTENTION_H_
#define KVPRUNE_OPS_STOCK_ATTENTION_H_

#include "cache/layer.h"
#include "ops/ort.h"

namespace kvprune {

struct NodeAttributes {
  int64_t query_heads;
  int64_t kv_heads;
  int64_t layer;
  int64_t cache_manager;
  bool rotary;
  float scale;  // 0: 1 / sqrt(head_size)
};

// ONNX Runtime's own GroupQueryAttention, run from inside a custom op on the session's threads. It reads a
// prompt at the runtime's speed and leaves the rotated keys and the values in the shared past/present buffer
// that PromptRows is.
class StockAttention {
 public:
  StockAttention(const OrtKernelInfo* info, const NodeAttributes& attributes);

  Status Run(OrtKernelContext* context, const OrtValue* cosine, const OrtValue* sine, const LayerRows& rows,
             const PromptRows& prompt_rows, int64_t past, int tokens) const;

 private:
  Ort::Op op_{nullptr};
};

}  // namespace kvprune

#endif  // KVPRUNE_OPS_STOCK_ATTENTION_H_
