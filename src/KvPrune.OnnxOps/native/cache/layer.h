#ifndef KVPRUNE_CACHE_LAYER_H_
#define KVPRUNE_CACHE_LAYER_H_

#include <cstdint>
#include <span>

#include "cache/parallel.h"
#include "cache/sequence.h"

namespace kvprune {

// The rotary caches of a node: row p holds position p, [positions, rotary_size / 2]. Null pointers: no
// rotation.
struct RotaryTable {
  const float* cosine = nullptr;
  const float* sine = nullptr;
  int64_t positions = 0;
  int rotary_size = 0;
  bool interleaved = false;

  bool active() const { return cosine != nullptr; }
  void Rotate(float* row, int64_t position) const {
    const int64_t offset = position * (rotary_size / 2);
    if (interleaved)
      RotateInterleaved(row, rotary_size, cosine + offset, sine + offset);
    else
      RotateHalves(row, rotary_size, cosine + offset, sine + offset);
  }
};

// What one node knows of itself.
struct LayerParameters {
  int layer = 0;
  float scale = 0;
  RotaryTable rotary;
  int64_t window = 0;            // the newest tokens that a query sees, its own among them; 0: all
  float softcap = 0;             // 0: none
  const float* sinks = nullptr;  // [query_heads] logits that join every softmax; null: none

  // The oldest position that a query sees.
  int64_t FirstSeen(int64_t position) const {
    return window > 0 && position >= window ? position + 1 - window : 0;
  }
};

// One sequence's new tokens in one layer, before rotation: query and output are [tokens, query_heads,
// head_size], key and value [tokens, kv_heads, head_size].
struct LayerRows {
  Sequence* sequence;
  const float* query;
  const float* key;
  const float* value;
  float* output;
};

// Attention of a prompt's tokens over a dense past without sealed tiles: the runtime's own kernel.
class DensePromptKernel {
 public:
  virtual ~DensePromptKernel() = default;
  // Rotates and writes the keys and values of `tokens` new tokens after `past` rows of `prompt_rows`, and the
  // attention output.
  virtual Status Run(const LayerRows& rows, const PromptRows& prompt_rows, int64_t past, int tokens) = 0;
};

// One prompt step of one sequence in one layer, within a LayerRun; seals the layer when the step ends its
// segment. `dense` may be null: the cache's own kernels then read the whole prompt.
Status RunPromptLayer(const LayerParameters& parameters, const LayerRows& rows, DensePromptKernel* dense,
                      TaskRunner& tasks);

// One decode step of a batch of sequences of any lengths in one layer, within a LayerRun of each.
Status RunDecodeLayer(const LayerParameters& parameters, std::span<const LayerRows> batch, TaskRunner& tasks);

}  // namespace kvprune

#endif  // KVPRUNE_CACHE_LAYER_H_
