#include <algorithm>
#include <cstring>

#include "cache/layer.h"
#include "cache/layer_follow.h"
#include "cache/pack_ahead.h"
#include "cache/seal_layer.h"

namespace kvprune {
namespace {

// What sealing needs beside the rows. The queries are kept rotated, as the dense kernel does not give them
// back.
void Collect(const LayerParameters& parameters, const LayerRows& rows, const PromptRows& prompt_rows) {
  const Sequence& sequence = *rows.sequence;
  const ModelShape& shape = sequence.shape();
  const int64_t width = static_cast<int64_t>(shape.query_heads) * shape.head_size;
  const int64_t read = sequence.length() - sequence.segment_start();  // tokens of the segment
  for (int64_t t = std::max<int64_t>(0, prompt_rows.first_observed() - read); t < sequence.step_tokens();
       ++t) {
    float* slot = prompt_rows.ObservedQuery(read + t);
    std::memcpy(slot, rows.query + t * width, static_cast<size_t>(width) * sizeof(float));
    if (!parameters.rotary.active()) continue;
    for (int head = 0; head < shape.query_heads; ++head)
      parameters.rotary.Rotate(slot + static_cast<int64_t>(head) * shape.head_size, sequence.length() + t);
  }
}

void WriteNewRows(const LayerParameters& parameters, const LayerRows& rows, PromptRows& prompt_rows,
                  TaskRunner& tasks) {
  const Sequence& sequence = *rows.sequence;
  const ModelShape& shape = sequence.shape();
  const int64_t past = sequence.dense_rows();
  const size_t row_bytes = static_cast<size_t>(shape.head_size) * sizeof(float);
  tasks.For(static_cast<size_t>(sequence.step_tokens()), [&](size_t t) {
    for (int head = 0; head < shape.kv_heads; ++head) {
      const int64_t source = (static_cast<int64_t>(t) * shape.kv_heads + head) * shape.head_size;
      const int64_t target = (past + static_cast<int64_t>(t)) * shape.head_size;
      float* key = prompt_rows.keys(head) + target;
      std::memcpy(key, rows.key + source, row_bytes);
      std::memcpy(prompt_rows.values(head) + target, rows.value + source, row_bytes);
      if (parameters.rotary.active())
        parameters.rotary.Rotate(key, sequence.length() + static_cast<int64_t>(t));
    }
  });
}

Status SealLayer(int layer, Sequence& sequence, const PromptRows& prompt_rows, TaskRunner& tasks) {
  const std::shared_ptr<MemoryAccount>& account = sequence.manager().account();
  const int64_t dense_rows = sequence.dense_rows() + sequence.step_tokens();
  std::shared_ptr<TileSlab> slab;
  Status status =
      SealPromptRows(account, sequence.shape(), sequence.policy(), prompt_rows, dense_rows, tasks, &slab);
  if (!status.ok()) return status;
  const DenseTail& tail = sequence.FinishSealedLayer(layer, std::move(slab));
  std::shared_ptr<TileSlab> packed;
  status = PackAheadOfPrompt(account, sequence.shape(), sequence.policy(), tail, dense_rows, layer, tasks,
                             &packed);
  if (status.ok()) sequence.KeepPacked(layer, std::move(packed));
  return status;
}

}  // namespace

Status RunPromptLayer(const LayerParameters& parameters, const LayerRows& rows, DensePromptKernel* dense,
                      TaskRunner& tasks) {
  Sequence& sequence = *rows.sequence;
  PromptRows& prompt_rows = sequence.PreparePromptRows(parameters.layer);
  if (!sequence.StepProbes()) Collect(parameters, rows, prompt_rows);
  if (dense != nullptr && sequence.sealed_tokens() == 0) {
    Status status = dense->Run(rows, prompt_rows, sequence.dense_rows(), sequence.step_tokens());
    if (!status.ok()) return status;
  } else {
    WriteNewRows(parameters, rows, prompt_rows, tasks);
    Status status = AttendFollowUp(parameters, rows, prompt_rows, tasks);
    if (!status.ok()) return status;
  }
  return sequence.StepSeals() ? SealLayer(parameters.layer, sequence, prompt_rows, tasks) : Status();
}

}  // namespace kvprune
