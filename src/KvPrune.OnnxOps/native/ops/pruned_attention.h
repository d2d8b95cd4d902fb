#ifndef KVPRUNE_OPS_PRUNED_ATTENTION_H_
#define KVPRUNE_OPS_PRUNED_ATTENTION_H_

#include <vector>

#include "cache/status.h"
#include "ops/ort.h"
#include "ops/stock_attention.h"

namespace kvprune {

// The node's inputs, by position.
enum PrunedAttentionInput : size_t {
  kQuery,
  kKey,
  kValue,
  kSequenceHandles,
  kTotalSequenceLength,
  kSeqlensK,
  kCosCache,
  kSinCache,
  kHeadSink,
  kInputCount
};

// One PrunedGroupQueryAttention node: GroupQueryAttention whose past and present live in the sequences named
// by its handle input.
class PrunedAttentionKernel {
 public:
  explicit PrunedAttentionKernel(const OrtKernelInfo* info);

  OrtStatusPtr ComputeV2(OrtKernelContext* context);

 private:
  struct Inputs;

  Status Compute(OrtKernelContext* context);
  Status ReadInputs(OrtKernelContext* context, Inputs* inputs) const;
  Status ReadRotary(const Ort::KernelContext& kernel, Inputs* inputs) const;
  Status CheckRow(const Inputs& inputs, int64_t row, Sequence& sequence) const;

  NodeAttributes attributes_;
  const std::vector<float> zero_sinks_;  // what smooth softmax is without a head_sink
  StockAttention stock_;
};

class PrunedAttentionOp : public Ort::CustomOpBase<PrunedAttentionOp, PrunedAttentionKernel, true> {
 public:
  PrunedAttentionOp() { OrtCustomOp::version = kOrtApiVersion; }

  OrtStatusPtr CreateKernelV2(const OrtApi& api, const OrtKernelInfo* info, void** kernel) const;
  const char* GetName() const { return "PrunedGroupQueryAttention"; }
  const char* GetExecutionProviderType() const { return "CPUExecutionProvider"; }
  size_t GetInputTypeCount() const { return kInputCount; }
  ONNXTensorElementDataType GetInputType(size_t index) const;
  OrtCustomOpInputOutputCharacteristic GetInputCharacteristic(size_t index) const;
  size_t GetOutputTypeCount() const { return 1; }
  ONNXTensorElementDataType GetOutputType(size_t) const { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; }
  static OrtStatusPtr InferOutputShape(Ort::ShapeInferContext& context);
};

}  // namespace kvprune

#endif  // KVPRUNE_OPS_PRUNED_ATTENTION_H_
