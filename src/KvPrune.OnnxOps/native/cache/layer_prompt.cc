#include <algorithm>
#include <cstring>

#include "cache/layer.h"
#include "cache/layer_follow.h"
#include "cache/pack_ahead.h"
#include "pruning/think.h"

namespace kvprune {
namespace {

// ThinK scores with rotated queries, which the dense kernel does not give back.
void ObserveQueries(const LayerParameters& parameters, const LayerRows& rows, PromptRows& prompt_rows) {
  const Sequence& sequence = *rows.sequence;
  const ModelShape& shape = sequence.shape();
  const int tokens = sequence.step_tokens();
  const int64_t width = prompt_rows.observed_stride();
  for (int t = std::max(0, tokens - prompt_rows.observation_window()); t < tokens; ++t) {
    const int64_t position = sequence.length() + t;
    float* slot = prompt_rows.ObservedQuery(position - sequence.segment_start());
    std::memcpy(slot, rows.query + t * width, static_cast<size_t>(width) * sizeof(float));
    if (!parameters.rotary.active()) continue;
    for (int head = 0; head < shape.query_heads; ++head)
      parameters.rotary.Rotate(slot + static_cast<int64_t>(head) * shape.head_size, position);
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

void ChooseChannels(const Sequence& sequence, const PromptRows& prompt_rows, int kv_head,
                    const TileSlab& slab) {
  const ModelShape& shape = sequence.shape();
  uint8_t* channels = slab.key_channels(kv_head);
  if (!sequence.policy().IsQueryAware()) {
    for (int j = 0; j < shape.head_size; ++j) channels[j] = static_cast<uint8_t>(j);
    return;
  }
  const int64_t segment_tokens = sequence.length() + sequence.step_tokens() - sequence.segment_start();
  const int observed = static_cast<int>(std::min<int64_t>(segment_tokens, prompt_rows.observation_window()));
  SelectThinkChannels(
      prompt_rows.observed() + static_cast<int64_t>(kv_head) * shape.group() * shape.head_size, observed,
      prompt_rows.observed_stride(), shape.group(), prompt_rows.keys(kv_head), slab.tokens(), shape.head_size,
      slab.format(kv_head).key_channels, channels);
}

Status SealLayer(const LayerParameters& parameters, Sequence& sequence, const PromptRows& prompt_rows,
                 TaskRunner& tasks) {
  const ModelShape& shape = sequence.shape();
  std::shared_ptr<TileSlab> slab;
  Status status = sequence.CreatePromptSlab(&slab);
  if (!status.ok()) return status;
  if (slab) {
    tasks.For(static_cast<size_t>(shape.kv_heads),
              [&](size_t head) { ChooseChannels(sequence, prompt_rows, static_cast<int>(head), *slab); });
    const int64_t tiles = slab->tokens() / kTileTokens;
    const int64_t tile_floats = static_cast<int64_t>(kTileTokens) * shape.head_size;
    tasks.For(static_cast<size_t>(shape.kv_heads * tiles), [&](size_t index) {
      const int head = static_cast<int>(static_cast<int64_t>(index) / tiles);
      const int64_t tile = static_cast<int64_t>(index) % tiles;
      Kernels().pack_tile(slab->format(head), prompt_rows.keys(head) + tile * tile_floats,
                          prompt_rows.values(head) + tile * tile_floats, shape.head_size,
                          slab->key_channels(head), slab->value_channels(head), slab->tile(head, tile));
    });
  }
  const DenseTail& tail = sequence.FinishSealedLayer(parameters.layer, std::move(slab));
  status = sequence.PackAheadOfPrompt(parameters.layer);
  const TileSlab* packed = sequence.StepPacks(parameters.layer);
  if (!status.ok() || packed == nullptr) return status;
  tasks.For(static_cast<size_t>(shape.kv_heads),
            [&](size_t head) { PackTailTile(tail, parameters.layer, static_cast<int>(head), *packed); });
  return {};
}

}  // namespace

Status RunPromptLayer(const LayerParameters& parameters, const LayerRows& rows, DensePromptKernel* dense,
                      TaskRunner& tasks) {
  Sequence& sequence = *rows.sequence;
  PromptRows& prompt_rows = sequence.PreparePromptRows(parameters.layer);
  if (prompt_rows.observation_window() > 0) ObserveQueries(parameters, rows, prompt_rows);
  if (dense != nullptr && sequence.sealed_tokens() == 0) {
    Status status = dense->Run(rows, prompt_rows, sequence.dense_rows(), sequence.step_tokens());
    if (!status.ok()) return status;
  } else {
    WriteNewRows(parameters, rows, prompt_rows, tasks);
    Status status = AttendFollowUp(parameters, rows, prompt_rows, tasks);
    if (!status.ok()) return status;
  }
  return sequence.StepSeals() ? SealLayer(parameters, sequence, prompt_rows, tasks) : Status();
}

}  // namespace kvprune
