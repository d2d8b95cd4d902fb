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
  bool rotary_interleaved;
  float scale;              // 0: 1 / sqrt(head_size)
  int64_t window;           // local_window_size; -1: none
  float softcap;            // 0: none
  bool smooth_softmax;      // a head sink of zeros
  bool may_have_head_sink;  // the input is named, but may be empty
};

// Inputs of a node as ONNX Runtime holds them, null where it leaves them out.
struct SharedInputs {
  const OrtValue* cosine = nullptr;
  const OrtValue* sine = nullptr;
  const OrtValue* head_sink = nullptr;
};

// ONNX Runtime's own GroupQueryAttention, run from inside a custom op on the session's threads. It reads a
// prompt at the runtime's speed and leaves the rotated keys and the values in the shared past/present buffer
// that PromptRows is.
class StockAttention {
 public:
  StockAttention(const OrtKernelInfo* info, const NodeAttributes& attributes);

  Status Run(OrtKernelContext* context, const SharedInputs& shared, const LayerRows& rows,
             const PromptRows& prompt_rows, int64_t past, int tokens) const;

 private:
  int SliceTokens(const PromptRows& prompt_rows) const;
  Status RunSlice(OrtKernelContext* context, const SharedInputs& shared, const LayerRows& rows,
                  const PromptRows& prompt_rows, int64_t past, int tokens) const;

  int64_t query_heads_;
  bool materializes_;  // the kernel always holds the logits of all heads and tokens at once
  Ort::Op op_{nullptr};
};

}  // namespace kvprune

#endif  // KVPRUNE_OPS_STOCK_ATTENTION_H_
