#ifndef KVPRUNE_TESTS_CACHE_MODEL_FIXTURE_H_
#define KVPRUNE_TESTS_CACHE_MODEL_FIXTURE_H_

#include <cmath>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <utility>
#include <vector>

#include "cache/layer.h"
#include "cache/manager.h"
#include "cache/sequence.h"

namespace kvprune::test {

inline constexpr ModelShape kShape = {2, 4, 2, 32, 8192};

Policy ExactPolicy();
// ThinK and per-token pruning in int8: every stage of sealing at once.
Policy MixedPolicy();

// Stands for the runtime's kernel where only the cache counts: writes the rows, unrotated, and no output.
class RowsOnlyKernel final : public DensePromptKernel {
 public:
  Status Run(const LayerRows& rows, const PromptRows& prompt_rows, int64_t past, int tokens) override;
};

// A model without weights: query, key and value of a token depend on its layer, position and `seed` only, so
// that any history of steps that ends at the same length must leave the same cache.
class ToyModel {
 public:
  explicit ToyModel(uint32_t seed = 1, float rope_theta = 0, int64_t window = 0)
      : seed_(seed), rope_theta_(rope_theta), window_(window) {}

  // Runs every layer of the begun step on `sequence`; returns the outputs [layers][tokens * query width].
  std::vector<std::vector<float>> RunLayers(Sequence& sequence, TaskRunner& tasks) const;

  // Prompts over nothing sealed go to `kernel` instead of the cache's own kernels, which take scratch.
  void UsePromptKernel(DensePromptKernel* kernel) { prompt_kernel_ = kernel; }

  // Begin, run, commit.
  std::vector<std::vector<float>> Step(Sequence& sequence, int tokens) const;
  // A whole segment in chunks (0: one), ending compressed.
  std::vector<std::vector<float>> Prompt(Sequence& sequence, int tokens, int chunk = 0) const;
  void Decode(Sequence& sequence, int steps) const;

  // The rotated row of one head at a position, as the cache should hold it before pruning.
  std::vector<float> Key(int layer, int64_t position, int kv_head) const;
  std::vector<float> Value(int layer, int64_t position, int kv_head) const;
  std::vector<float> Query(int layer, int64_t position, int head) const;

  // How many of `length` tokens the newest one sees.
  int64_t Seen(int64_t length) const { return window_ > 0 && window_ < length ? window_ : length; }

  // Caps logits, and lets one logit per query head join every softmax.
  void UseSoftcapAndSinks(float softcap, std::vector<float> sinks) {
    softcap_ = softcap;
    sinks_ = std::move(sinks);
  }
  float softcap() const { return softcap_; }
  // Minus infinity where there is none.
  double Sink(int head) const { return sinks_.empty() ? -INFINITY : sinks_[head]; }

  // Softmax attention in double over the given rows [count, head_size].
  static std::vector<double> Attend(const std::vector<float>& query, const float* keys, const float* values,
                                    int64_t count, double softcap = 0, double sink = -INFINITY);

 private:
  std::vector<float> Row(int kind, int layer, int64_t position, int head) const;
  void Rotate(std::vector<float>& row, int64_t position) const;

  uint32_t seed_;
  float rope_theta_;
  DensePromptKernel* prompt_kernel_ = nullptr;
  int64_t window_;  // newest tokens that a query sees; 0: all
  float softcap_ = 0;
  std::vector<float> sinks_;
};

// The rows that attention reads, pruned entries 0.
struct ReadBack {
  std::vector<float> keys;
  std::vector<float> values;
  std::vector<uint8_t> kept;  // per token
};
// Without the rows of tokens that the head evicted, and of those before `first_seen`.
ReadBack SeenRows(const ReadBack& rows, int64_t first_seen);
ReadBack Read(Sequence& sequence, int layer, int kv_head);

std::shared_ptr<Manager> NewManager(int64_t byte_limit = 0);
std::shared_ptr<Sequence> NewSequence(const std::shared_ptr<Manager>& manager, const Policy& policy);
int64_t BytesInUse(const Manager& manager);

// Equal rows in every layer and head, bit by bit.
void ExpectSameCache(Sequence& actual, Sequence& expected);
// Decodes one token and compares its output with double-precision attention over the rows that the cache held
// before it and its own.
void ExpectDecodeMatchesRows(const ToyModel& model, Sequence& sequence, double tolerance);
// Reads a segment of `tokens` tokens and compares the outputs of those in `checked` with double-precision
// attention over the rows that the cache held before it, and causally the segment's own.
void ExpectPromptMatchesRows(const ToyModel& model, Sequence& sequence, int tokens, int chunk,
                             std::initializer_list<int> checked);

}  // namespace kvprune::test

#endif  // KVPRUNE_TESTS_CACHE_MODEL_FIXTURE_H_
