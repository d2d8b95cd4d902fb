#include "ops/stock_attention.h"

#include <algorithm>
#include <array>
#include <vector>

namespace kvprune {
namespace {

// GroupQueryAttention's inputs, by position.
enum StockInput : size_t {
  kStockQuery,
  kStockKey,
  kStockValue,
  kStockPastKey,
  kStockPastValue,
  kStockSeqlensK,
  kStockTotalLength,
  kStockCosine,
  kStockSine,
  kStockPositionIds,
  kStockAttentionBias,
  kStockHeadSink,
  kStockInputCount
};

}  // namespace

StockAttention::StockAttention(const OrtKernelInfo* info, const NodeAttributes& attributes)
    : query_heads_(attributes.query_heads),
      // Its flash path, which does not, takes none of these.
      materializes_(attributes.softcap > 0 || attributes.smooth_softmax || attributes.may_have_head_sink) {
  std::vector<Ort::OpAttr> owned;
  const auto integer = [&owned](const char* name, int64_t value) {
    owned.emplace_back(name, &value, 1, ORT_OP_ATTR_INT);
  };
  const auto real = [&owned](const char* name, float value) {
    owned.emplace_back(name, &value, 1, ORT_OP_ATTR_FLOAT);
  };
  integer("num_heads", attributes.query_heads);
  integer("kv_num_heads", attributes.kv_heads);
  integer("do_rotary", attributes.rotary ? 1 : 0);
  integer("rotary_interleaved", attributes.rotary_interleaved ? 1 : 0);
  integer("local_window_size", attributes.window);
  integer("smooth_softmax", attributes.smooth_softmax ? 1 : 0);
  real("scale", attributes.scale);
  real("softcap", attributes.softcap);

  // The type constraints T, T_CACHE, T_KV_SCALE and M are all of GroupQueryAttention's, version 1.
  const char* constraints[] = {"T", "T_CACHE", "T_KV_SCALE", "M"};
  const ONNXTensorElementDataType types[] = {
      ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
      ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32};
  op_ = Ort::Op::Create(info, "GroupQueryAttention", "com.microsoft", 1, constraints, types, 4, owned.data(),
                        owned.size(), kStockInputCount, /*output_count=*/3);
}

// A slice bounds what the kernel needs beside the prompt's own rows. Where it holds logits [query_heads,
// tokens, capacity], slices keep them within kLogitsBytes (of one token, if that takes more): large enough
// for matrix products at full speed. Its flash path holds none, but the environment can turn that off.
int StockAttention::SliceTokens(const PromptRows& prompt_rows) const {
  constexpr int64_t kLogitsBytes = int64_t{64} << 20;
  constexpr int kMostTokens = 512;
  if (!materializes_) return kMostTokens;
  const int64_t token_bytes = query_heads_ * prompt_rows.capacity() * static_cast<int64_t>(sizeof(float));
  return static_cast<int>(std::clamp<int64_t>(kLogitsBytes / token_bytes, 1, kMostTokens));
}

Status StockAttention::Run(OrtKernelContext* context, const SharedInputs& shared, const LayerRows& rows,
                           const PromptRows& prompt_rows, int64_t past, int tokens) const {
  const ModelShape& shape = rows.sequence->shape();
  const int64_t query_width = static_cast<int64_t>(shape.query_heads) * shape.head_size;
  const int64_t key_width = static_cast<int64_t>(shape.kv_heads) * shape.head_size;
  const int slice = SliceTokens(prompt_rows);
  for (int done = 0; done < tokens; done += slice) {
    const LayerRows part = {rows.sequence, rows.query + done * query_width, rows.key + done * key_width,
                            rows.value + done * key_width, rows.output + done * query_width};
    Status status = RunSlice(context, shared, part, prompt_rows, past + done, std::min(slice, tokens - done));
    if (!status.ok()) return status;
  }
  return {};
}

Status StockAttention::RunSlice(OrtKernelContext* context, const SharedInputs& shared, const LayerRows& rows,
                                const PromptRows& prompt_rows, int64_t past, int tokens) const {
  const ModelShape& shape = rows.sequence->shape();
  // GroupQueryAttention writes past + tokens rows per head without looking at the present's shape.
  if (past + tokens > prompt_rows.capacity())
    return {KVP_INTERNAL_ERROR, "the prompt rows are smaller than the prompt"};

  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  const auto tensor = [&memory](const float* data, std::array<int64_t, 4> dims, size_t rank) {
    int64_t count = 1;
    for (size_t i = 0; i < rank; ++i) count *= dims[i];
    return Ort::Value::CreateTensor<float>(memory, const_cast<float*>(data), static_cast<size_t>(count),
                                           dims.data(), rank);
  };
  const int64_t query_width = static_cast<int64_t>(shape.query_heads) * shape.head_size;
  const int64_t key_width = static_cast<int64_t>(shape.kv_heads) * shape.head_size;
  const std::array<int64_t, 4> cache_dims = {1, shape.kv_heads, prompt_rows.capacity(), shape.head_size};
  int32_t total = static_cast<int32_t>(past + tokens);
  int32_t last = total - 1;
  const int64_t one = 1;

  const Ort::Value query = tensor(rows.query, {1, tokens, query_width}, 3);
  const Ort::Value key = tensor(rows.key, {1, tokens, key_width}, 3);
  const Ort::Value value = tensor(rows.value, {1, tokens, key_width}, 3);
  const Ort::Value keys = tensor(prompt_rows.keys(0), cache_dims, 4);
  const Ort::Value values = tensor(prompt_rows.values(0), cache_dims, 4);
  const Ort::Value seqlens_k = Ort::Value::CreateTensor<int32_t>(memory, &last, 1, &one, 1);
  const Ort::Value total_length = Ort::Value::CreateTensor<int32_t>(memory, &total, 1, &one, 1);
  const Ort::Value output = tensor(rows.output, {1, tokens, query_width}, 3);

  const OrtValue* inputs[kStockInputCount] = {};
  inputs[kStockQuery] = query;
  inputs[kStockKey] = key;
  inputs[kStockValue] = value;
  inputs[kStockPastKey] = keys;
  inputs[kStockPastValue] = values;
  inputs[kStockSeqlensK] = seqlens_k;
  inputs[kStockTotalLength] = total_length;
  inputs[kStockCosine] = shared.cosine;
  inputs[kStockSine] = shared.sine;
  inputs[kStockHeadSink] = shared.head_sink;
  OrtValue* outputs[] = {const_cast<OrtValue*>(static_cast<const OrtValue*>(output)),
                         const_cast<OrtValue*>(static_cast<const OrtValue*>(keys)),
                         const_cast<OrtValue*>(static_cast<const OrtValue*>(values))};
  OrtStatus* failure = Ort::GetApi().InvokeOp(context, op_, inputs, kStockInputCount, outputs, 3);
  if (failure == nullptr) return {};
  const Ort::Status owned(failure);
  return {KVP_INTERNAL_ERROR, "GroupQueryAttention: " + owned.GetErrorMessage()};
}

}  // namespace kvprune
