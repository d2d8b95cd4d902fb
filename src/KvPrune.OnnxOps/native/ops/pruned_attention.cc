#include "ops/pruned_attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include "cache/finite.h"
#include "cache/handle_table.h"

namespace kvprune {
namespace {

class OrtTaskRunner final : public TaskRunner {
 public:
  explicit OrtTaskRunner(OrtKernelContext* context) : context_(context) {}

 protected:
  void Run(size_t count, void (*task)(void*, size_t), void* user) override {
    Ort::KernelContext(context_).ParallelFor(task, count, 0, user);
  }

 private:
  OrtKernelContext* context_;
};

class StockPromptKernel final : public DensePromptKernel {
 public:
  StockPromptKernel(const StockAttention& stock, OrtKernelContext* context, const SharedInputs& shared)
      : stock_(stock), context_(context), shared_(shared) {}

  Status Run(const LayerRows& rows, const PromptRows& prompt_rows, int64_t past, int tokens) override {
    return stock_.Run(context_, shared_, rows, prompt_rows, past, tokens);
  }

 private:
  const StockAttention& stock_;
  OrtKernelContext* context_;
  const SharedInputs& shared_;
};

NodeAttributes ReadAttributes(const OrtKernelInfo* info) {
  const Ort::ConstKernelInfo node(info);
  NodeAttributes attributes;
  attributes.query_heads = node.GetAttribute<int64_t>("num_heads");
  attributes.kv_heads = node.GetAttribute<int64_t>("kv_num_heads");
  attributes.layer = node.GetAttribute<int64_t>("layer");
  attributes.cache_manager = node.GetAttribute<int64_t>("cache_manager");
  attributes.rotary = node.GetAttribute<int64_t>("do_rotary") == 1;
  attributes.rotary_interleaved = node.GetAttribute<int64_t>("rotary_interleaved") == 1;
  attributes.scale = node.GetAttribute<float>("scale");
  attributes.window = node.GetAttribute<int64_t>("local_window_size");
  attributes.softcap = node.GetAttribute<float>("softcap");
  // GroupQueryAttention's -1 is off, too.
  attributes.smooth_softmax = node.GetAttribute<int64_t>("smooth_softmax") == 1;
  attributes.may_have_head_sink = node.GetInputCount() > kHeadSink;
  if (attributes.query_heads < 1 || attributes.kv_heads < 1 || attributes.layer < 0 ||
      attributes.layer > INT32_MAX)
    throw std::invalid_argument(
        "PrunedGroupQueryAttention: num_heads, kv_num_heads or layer is out of range");
  if (attributes.window != -1 && (attributes.window < 1 || attributes.window > INT32_MAX))
    throw std::invalid_argument(
        "PrunedGroupQueryAttention: local_window_size is neither -1 nor a number of tokens");
  // The reciprocal of a smaller cap is no float.
  if (attributes.softcap != 0 && !(attributes.softcap >= 1e-30f && std::isfinite(attributes.softcap)))
    throw std::invalid_argument("PrunedGroupQueryAttention: softcap is neither 0 nor at least 1e-30");
  return attributes;
}

// The managed side reads the code back from the message.
constexpr char kOutOfMemory[] = "kvprune status 4: PrunedGroupQueryAttention: out of memory";
static_assert(KVP_OUT_OF_MEMORY == 4);

OrtStatusPtr ToOrtStatus(const Status& status, int64_t layer) {
  if (status.ok()) return nullptr;
  const std::string message = "kvprune status " + std::to_string(status.code()) +
                              ": PrunedGroupQueryAttention of layer " + std::to_string(layer) + ": " +
                              status.message();
  return Ort::Status(message.c_str(), ORT_FAIL).release();
}

// Nothing is thrown through the runtime's C callbacks.
template <typename Function>
OrtStatusPtr Guard(const Function& function) {
  try {
    return function();
  } catch (const std::bad_alloc&) {
    return Ort::GetApi().CreateStatus(ORT_FAIL, kOutOfMemory);
  } catch (const std::exception& error) {
    return Ort::GetApi().CreateStatus(ORT_FAIL, error.what());
  } catch (...) {
    return Ort::GetApi().CreateStatus(ORT_FAIL, "PrunedGroupQueryAttention failed unexpectedly");
  }
}

Status Invalid(std::string message) {
  return {KVP_INVALID_ARGUMENT, std::move(message)};
}

std::vector<int64_t> Dimensions(const Ort::ConstValue& value) {
  return value.GetTensorTypeAndShapeInfo().GetShape();
}

}  // namespace

struct PrunedAttentionKernel::Inputs {
  int64_t batch;
  int64_t tokens;  // per row, padding included
  int64_t head_size;
  const float* query;
  const float* key;
  const float* value;
  const int64_t* handles;
  const int32_t* seqlens_k;
  int64_t total_length;
  SharedInputs shared;
  RotaryTable rotary;
  const float* sinks = nullptr;
};

PrunedAttentionKernel::PrunedAttentionKernel(const OrtKernelInfo* info)
    : attributes_(ReadAttributes(info)),
      zero_sinks_(attributes_.smooth_softmax ? attributes_.query_heads : 0),
      stock_(info, attributes_) {}

OrtStatusPtr PrunedAttentionKernel::ComputeV2(OrtKernelContext* context) {
  return Guard([&] { return ToOrtStatus(Compute(context), attributes_.layer); });
}

Status PrunedAttentionKernel::ReadInputs(OrtKernelContext* context, Inputs* inputs) const {
  const Ort::KernelContext kernel(context);
  const auto query = kernel.GetInput(kQuery);
  const auto key = kernel.GetInput(kKey);
  const auto value = kernel.GetInput(kValue);
  const auto handles = kernel.GetInput(kSequenceHandles);
  const auto total = kernel.GetInput(kTotalSequenceLength);
  const auto seqlens_k = kernel.GetInput(kSeqlensK);

  // A graph input that was not fed arrives as a value without a tensor.
  if (!handles.HasValue() || !handles.IsTensor()) return Invalid("sequence_handles was not fed");
  const std::vector<int64_t> query_dims = Dimensions(query);
  if (query_dims.size() != 3 || query_dims[2] % attributes_.query_heads != 0)
    return Invalid("query must be [batch, tokens, num_heads * head_size]");
  inputs->batch = query_dims[0];
  inputs->tokens = query_dims[1];
  inputs->head_size = query_dims[2] / attributes_.query_heads;
  const std::vector<int64_t> key_dims = {inputs->batch, inputs->tokens,
                                         attributes_.kv_heads * inputs->head_size};
  if (Dimensions(key) != key_dims || Dimensions(value) != key_dims)
    return Invalid(
        "key and value must be [batch, tokens, kv_num_heads * head_size] of the query's batch and tokens");
  if (handles.GetTensorTypeAndShapeInfo().GetElementCount() != static_cast<size_t>(inputs->batch))
    return Invalid("sequence_handles must hold one handle per row of the batch of " +
                   std::to_string(inputs->batch));
  if (seqlens_k.GetTensorTypeAndShapeInfo().GetElementCount() != static_cast<size_t>(inputs->batch))
    return Invalid("seqlens_k must hold one length per row of the batch of " + std::to_string(inputs->batch));
  if (total.GetTensorTypeAndShapeInfo().GetElementCount() != 1)
    return Invalid("total_sequence_length must be one number");

  inputs->query = query.GetTensorData<float>();
  inputs->key = key.GetTensorData<float>();
  inputs->value = value.GetTensorData<float>();
  inputs->handles = handles.GetTensorData<int64_t>();
  inputs->seqlens_k = seqlens_k.GetTensorData<int32_t>();
  inputs->total_length = *total.GetTensorData<int32_t>();
  if (attributes_.smooth_softmax) inputs->sinks = zero_sinks_.data();
  // A node may name its last inputs and leave them empty.
  const auto sink = attributes_.may_have_head_sink ? kernel.GetInput(kHeadSink) : Ort::ConstValue{nullptr};
  inputs->shared.head_sink = sink;
  if (inputs->shared.head_sink != nullptr) {
    if (Dimensions(sink) != std::vector<int64_t>{attributes_.query_heads})
      return Invalid("head_sink must be [num_heads]");
    inputs->sinks = sink.GetTensorData<float>();
  }
  return attributes_.rotary ? ReadRotary(kernel, inputs) : Status();
}

Status PrunedAttentionKernel::ReadRotary(const Ort::KernelContext& kernel, Inputs* inputs) const {
  const auto cosine = kernel.GetInput(kCosCache);
  const auto sine = kernel.GetInput(kSinCache);
  inputs->shared.cosine = cosine;
  inputs->shared.sine = sine;
  if (inputs->shared.cosine == nullptr || inputs->shared.sine == nullptr)
    return Invalid("do_rotary needs cos_cache and sin_cache");
  const std::vector<int64_t> rotary_dims = Dimensions(cosine);
  if (rotary_dims.size() != 2 || Dimensions(sine) != rotary_dims || rotary_dims[1] * 2 > inputs->head_size)
    return Invalid("cos_cache and sin_cache must both be [positions, rotary_size / 2] within the head size");
  inputs->rotary = {cosine.GetTensorData<float>(), sine.GetTensorData<float>(), rotary_dims[0],
                    static_cast<int>(rotary_dims[1] * 2), attributes_.rotary_interleaved};
  return {};
}

// The sequence's lengths are the truth; the graph's must say the same.
Status PrunedAttentionKernel::CheckRow(const Inputs& inputs, int64_t row, Sequence& sequence) const {
  const std::string where = "row " + std::to_string(row) + ": ";
  const ModelShape& shape = sequence.shape();
  if (shape.query_heads != attributes_.query_heads || shape.kv_heads != attributes_.kv_heads ||
      shape.head_size != inputs.head_size)
    return Invalid(where + "the sequence's heads are " + std::to_string(shape.query_heads) + "/" +
                   std::to_string(shape.kv_heads) + "/" + std::to_string(shape.head_size) + ", the node's " +
                   std::to_string(attributes_.query_heads) + "/" + std::to_string(attributes_.kv_heads) +
                   "/" + std::to_string(inputs.head_size));
  const int64_t length = sequence.length();
  const int64_t tokens = sequence.step_tokens();
  const int64_t valid = static_cast<int64_t>(inputs.seqlens_k[row]) + 1;
  if (valid != length + tokens || inputs.total_length < valid)
    return {KVP_LENGTH_MISMATCH, where + "the graph's length is " + std::to_string(valid) + " (of " +
                                     std::to_string(inputs.total_length) + "), but the sequence holds " +
                                     std::to_string(length) + " tokens and its step adds " +
                                     std::to_string(tokens)};
  // Only a first prompt may be padded; rows with a past share their call with nobody unless they are one
  // token.
  const bool may_pad = length == 0 && sequence.StepIsPrompt();
  const bool fits = tokens == inputs.tokens || (may_pad && tokens < inputs.tokens);
  if (!fits || (inputs.batch > 1 && inputs.tokens > 1 && length > 0))
    return {KVP_LENGTH_MISMATCH, where + "a batch of " + std::to_string(inputs.tokens) +
                                     " tokens per row does not fit a step of " + std::to_string(tokens) +
                                     " after " + std::to_string(length)};
  if (inputs.rotary.active() && length + tokens > inputs.rotary.positions)
    return {KVP_LENGTH_MISMATCH, where + "position " + std::to_string(length + tokens - 1) +
                                     " is beyond the rotary cache's " +
                                     std::to_string(inputs.rotary.positions) + " positions"};
  const auto check = [&](const char* what, const float* rows, int64_t heads) {
    const int64_t width = heads * inputs.head_size;
    return CheckFinite(what, rows + row * inputs.tokens * width, tokens, width,
                       static_cast<int>(attributes_.layer), length);
  };
  Status status = check("key", inputs.key, attributes_.kv_heads);
  if (status.ok()) status = check("value", inputs.value, attributes_.kv_heads);
  if (status.ok()) status = check("query", inputs.query, attributes_.query_heads);
  return status.ok() ? status : Status(status.code(), where + status.message());
}

Status PrunedAttentionKernel::Compute(OrtKernelContext* context) {
  Inputs inputs;
  Status status = ReadInputs(context, &inputs);
  if (!status.ok()) return status;

  std::vector<std::shared_ptr<Sequence>> sequences(inputs.batch);
  std::vector<LayerRun> runs(inputs.batch);
  for (int64_t row = 0; row < inputs.batch; ++row) {
    sequences[row] = HandleTable::Instance().Find(inputs.handles[row]);
    if (!sequences[row])
      return {KVP_STALE_HANDLE, "row " + std::to_string(row) + ": sequence handle " +
                                    std::to_string(inputs.handles[row]) + " was released or never issued"};
    for (int64_t other = 0; other < row; ++other)
      if (sequences[other] == sequences[row])
        return Invalid("rows " + std::to_string(other) + " and " + std::to_string(row) +
                       " name the same sequence");
    if (sequences[row]->manager().id() != attributes_.cache_manager)
      return Invalid("row " + std::to_string(row) +
                     ": the sequence belongs to another model's cache manager");
    status = LayerRun::Begin(*sequences[row], static_cast<int>(attributes_.layer), &runs[row]);
    if (status.ok()) status = CheckRow(inputs, row, *sequences[row]);
    if (!status.ok()) return status;
  }

  const int64_t query_width = attributes_.query_heads * inputs.head_size;
  const int64_t key_width = attributes_.kv_heads * inputs.head_size;
  const std::vector<int64_t> output_dims = {inputs.batch, inputs.tokens, query_width};
  float* output = Ort::KernelContext(context).GetOutput(0, output_dims).GetTensorMutableData<float>();

  const LayerParameters parameters = {
      static_cast<int>(attributes_.layer),
      attributes_.scale != 0.0f ? attributes_.scale : 1.0f / std::sqrt(static_cast<float>(inputs.head_size)),
      inputs.rotary,
      std::max<int64_t>(0, attributes_.window),
      attributes_.softcap,
      inputs.sinks};
  OrtTaskRunner tasks(context);
  StockPromptKernel stock(stock_, context, inputs.shared);

  std::vector<LayerRows> decode;
  for (int64_t row = 0; row < inputs.batch; ++row) {
    const int64_t token = row * inputs.tokens;
    const LayerRows rows = {sequences[row].get(), inputs.query + token * query_width,
                            inputs.key + token * key_width, inputs.value + token * key_width,
                            output + token * query_width};
    if (!rows.sequence->StepIsPrompt()) {
      decode.push_back(rows);
      continue;
    }
    status = RunPromptLayer(parameters, rows, &stock, tasks);
    if (!status.ok()) return status;
    const int64_t padding = inputs.tokens - rows.sequence->step_tokens();
    std::memset(rows.output + rows.sequence->step_tokens() * query_width, 0,
                padding * query_width * sizeof(float));
  }
  if (!decode.empty()) status = RunDecodeLayer(parameters, decode, tasks);
  if (!status.ok()) return status;
  for (LayerRun& run : runs) run.Complete();
  return {};
}

OrtStatusPtr PrunedAttentionOp::CreateKernelV2(const OrtApi&, const OrtKernelInfo* info,
                                               void** kernel) const {
  return Guard([&]() -> OrtStatusPtr {
    *kernel = new PrunedAttentionKernel(info);
    return nullptr;
  });
}

ONNXTensorElementDataType PrunedAttentionOp::GetInputType(size_t index) const {
  switch (index) {
    case kSequenceHandles:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64;
    case kTotalSequenceLength:
    case kSeqlensK:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32;
    default:
      return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
  }
}

OrtCustomOpInputOutputCharacteristic PrunedAttentionOp::GetInputCharacteristic(size_t index) const {
  return index >= kCosCache ? INPUT_OUTPUT_OPTIONAL : INPUT_OUTPUT_REQUIRED;
}

OrtStatusPtr PrunedAttentionOp::InferOutputShape(Ort::ShapeInferContext& context) {
  const Ort::ShapeInferContext::Shape query = context.GetInputShape(kQuery);
  // No dimensions mean that the query's shape is not known yet, not that it is a scalar.
  return query.empty() ? nullptr : context.SetOutputShape(0, query).release();
}

}  // namespace kvprune
