#include <algorithm>
#include <cstring>

#include "cache/layer.h"
#include "cache/layer_follow.h"
#include "cache/pack_ahead.h"
#include "cache/record_step.h"
#include "cache/seal_layer.h"

namespace kvprune {
namespace {

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
  const int64_t dense_rows = sequence.dense_rows() + sequence.step_tokens();
  std::shared_ptr<TileSlab> slab;
  const LayerSeal seal = {sequence.manager(),
                          sequence.policy(),
                          layer,
                          prompt_rows,
                          sequence.slabs(layer),
                          sequence.sealed_tokens(),
                          dense_rows,
                          sequence.length() + sequence.step_tokens() - sequence.segment_start()};
  std::vector<KeptTokens> kept;
  Status status;
  if (seal.policy.NeedsDeferredSegment())  // what such a policy compares is not there at a layer's end
    kept.emplace_back(seal.shape().kv_heads, seal.leaving());
  else
    status = ChooseTokens({&seal, 1}, tasks, &kept);
  if (status.ok()) status = SealPromptRows(seal, kept[0], tasks, &slab);
  if (!status.ok()) return status;
  if (seal.policy.ScoresWhileDecoding()) {
    std::shared_ptr<RowScores> scores;
    status = RowScores::OfPrompt(seal, kept[0], sequence.scores(layer), &scores);
    if (!status.ok()) return status;
    sequence.ReplaceScores(layer, std::move(scores));
  }
  const DenseTail& tail = sequence.FinishSealedLayer(layer, std::move(slab));
  std::shared_ptr<TileSlab> packed;
  status = PackAheadOfPrompt(seal.manager, seal.policy, tail, seal.sealed_tokens + seal.leaving(),
                             seal.sealed_tokens + dense_rows, layer, tasks, &packed);
  if (status.ok()) sequence.KeepPacked(layer, std::move(packed));
  return status;
}

// Where attention is to be recorded over rows of which some are sealed.
Status AllocatePast(const Sequence& sequence, const PromptRecord& record, Buffer* past) {
  if (sequence.sealed_tokens() == 0 || !record.needs().Attends()) return {};
  const int64_t floats = static_cast<int64_t>(sequence.step_tokens()) * sequence.shape().query_heads;
  return Buffer::Allocate(sequence.manager().account(), MemoryUse::kScratch,
                          floats * static_cast<int64_t>(sizeof(float)), past);
}

}  // namespace

Status RunPromptLayer(const LayerParameters& parameters, const LayerRows& rows, DensePromptKernel* dense,
                      TaskRunner& tasks) {
  Sequence& sequence = *rows.sequence;
  PromptRows& prompt_rows = sequence.PreparePromptRows(parameters.layer);
  Buffer past;  // QueryRows::past of every query head and token
  if (dense != nullptr && sequence.sealed_tokens() == 0) {
    Status status = dense->Run(rows, prompt_rows, sequence.dense_rows(), sequence.step_tokens());
    if (!status.ok()) return status;
  } else {
    WriteNewRows(parameters, rows, prompt_rows, tasks);
    Status status = AllocatePast(sequence, prompt_rows.record(), &past);
    if (!status.ok()) return status;
    status = AttendFollowUp(parameters, rows, prompt_rows, tasks, reinterpret_cast<float*>(past.data()));
    if (!status.ok()) return status;
  }
  Status status =
      RecordStep(parameters, rows, reinterpret_cast<const float*>(past.data()), prompt_rows, tasks);
  if (!status.ok()) return status;
  past.Free();
  return sequence.StepSeals() ? SealLayer(parameters.layer, sequence, prompt_rows, tasks) : Status();
}

}  // namespace kvprune
