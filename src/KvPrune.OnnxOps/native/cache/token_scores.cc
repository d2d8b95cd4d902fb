#include "cache/token_scores.h"

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>

#include "pruning/accumulated_attention.h"
#include "pruning/expected_attention.h"
#include "pruning/finite.h"
#include "pruning/kept_tokens.h"
#include "pruning/max_pool.h"
#include "pruning/value_norms.h"
#include "pruning/window_attention.h"

namespace kvprune {
namespace {

// Scores the rows of one KV head after the other in working space of its own.
class HeadScorer {
 public:
  static int64_t ScratchBytes(const LayerSeal& seal) {
    const int64_t size = seal.shape().head_size;
    const int64_t doubles = 2 * seal.dense_rows + size + size * size;
    const int64_t floats =
        AttentionScratchFloats(seal.dense_rows, 1, seal.shape().head_size) + seal.dense_rows;
    return (8 * doubles + 4 * floats + 63) / 64 * 64;
  }

  HeadScorer(const LayerSeal& seal, uint8_t* scratch) : seal_(seal), size_(seal.shape().head_size) {
    first_ = reinterpret_cast<double*>(scratch);
    second_ = first_ + seal.dense_rows;
    mean_ = second_ + seal.dense_rows;
    covariance_ = mean_ + size_;
    all_ = reinterpret_cast<float*>(covariance_ + static_cast<int64_t>(size_) * size_);
    attention_scratch_ = all_ + seal.dense_rows;
  }

  // `norms`, [leaving], is null where they do not count on their own.
  Status Score(int kv_head, float* scores, float* norms) {
    const Eviction& eviction = seal_.policy.eviction;
    Status status = Plain(kv_head, scores);
    if (status.ok() && eviction.weigh_by_value && eviction.score != TokenScore::kExpectedAttention) {
      status = Norms(kv_head, all_);
      for (int64_t t = 0; status.ok() && t < seal_.leaving(); ++t) scores[t] *= all_[t];
      if (status.ok()) status = CheckScores(scores, seal_.leaving(), "the weighed score");
    }
    if (status.ok() && norms != nullptr) status = Norms(kv_head, norms);
    return status;
  }

 private:
  Status Plain(int kv_head, float* scores) {
    const PromptRecord& record = seal_.rows.record();
    const int64_t leaving = seal_.leaving();
    switch (seal_.policy.eviction.score) {
      case TokenScore::kWindowAttention: {
        Status status = WindowAttention(seal_.Observed(kv_head), seal_.Keys(kv_head), record.Rule(kv_head),
                                        attention_scratch_, first_, all_);
        if (status.ok()) MaxPool(all_, leaving, seal_.policy.eviction.pool_kernel, scores);
        return status;
      }
      case TokenScore::kAccumulatedAttention:
        return AccumulatedScores(record.Mass(kv_head), leaving, 0, seal_.segment_row(), seal_.segment_tokens,
                                 seal_.shape().group(), record.Rule(kv_head).window, scores);
      case TokenScore::kExpectedAttention:
        return Expected(kv_head, scores);
      case TokenScore::kReconstruction:
        std::copy_n(record.Reconstruction(kv_head), leaving, scores);
        return {};
      default:
        RecencyScores(leaving, scores);
        return {};
    }
  }

  Status Expected(int kv_head, float* scores) {
    const PromptRecord& record = seal_.rows.record();
    const Eviction& eviction = seal_.policy.eviction;
    const int group = seal_.shape().group();
    std::fill_n(first_, seal_.dense_rows, 0.0);
    for (int head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      record.Statistics(head).Read(mean_, covariance_);
      RotateAhead(record.Ahead(), 0, size_, mean_, covariance_);
      AddExpectedAttention(seal_.Keys(kv_head), size_, record.Rule(kv_head).scale, mean_, covariance_,
                           second_, first_);
    }
    // The method's own norm, unless the output's takes its place: now or in the second stage.
    Status status;
    if (eviction.second_stage)
      std::fill_n(all_, seal_.leaving(), 1.0f);
    else
      status = eviction.weigh_by_value ? Norms(kv_head, all_) : ValueNorms(Values(kv_head), size_, all_);
    return status.ok() ? ExpectedScores(first_, all_, seal_.leaving(), group, scores) : status;
  }

  TokenRows Values(int kv_head) const { return {seal_.rows.values(kv_head), size_, seal_.leaving(), 0}; }

  Status Norms(int kv_head, float* norms) {
    const float* gram = seal_.manager.output_gram().Find(seal_.layer, kv_head);
    if (gram == nullptr)
      return {KVP_INVALID_STATE, "the output projection's Gram matrix, which weighs values, is not set"};
    return OutputNorms(Values(kv_head), size_, gram, second_, norms);
  }

  const LayerSeal& seal_;
  const int size_;
  double* first_;   // [dense_rows]
  double* second_;  // [dense_rows]
  double* mean_;
  double* covariance_;
  float* all_;  // [dense_rows]
  float* attention_scratch_;
};

}  // namespace

Status TokenScores::Compute(const LayerSeal& seal, TaskRunner& tasks) {
  kv_heads_ = seal.shape().kv_heads;
  leaving_ = seal.leaving();
  stages_ = seal.policy.eviction.second_stage;
  const std::shared_ptr<MemoryAccount>& account = seal.manager.account();
  const int64_t floats = (stages_ ? 2 : 1) * kv_heads_ * leaving_;
  Status status =
      Buffer::Allocate(account, MemoryUse::kScratch, floats * static_cast<int64_t>(sizeof(float)), &buffer_);
  if (!status.ok()) return status;
  const int workers =
      std::min(kv_heads_, static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
  const int64_t worker_bytes = HeadScorer::ScratchBytes(seal);
  Buffer scratch;
  status = Buffer::Allocate(account, MemoryUse::kScratch, workers * worker_bytes, &scratch);
  if (!status.ok()) return status;

  std::atomic<int> next{0};
  return tasks.Try(static_cast<size_t>(workers), [&](size_t worker) -> Status {
    HeadScorer scorer(seal, scratch.data() + static_cast<int64_t>(worker) * worker_bytes);
    for (int head = next.fetch_add(1); head < kv_heads_; head = next.fetch_add(1)) {
      const Status result = scorer.Score(head, Array(head), stages_ ? Array(kv_heads_ + head) : nullptr);
      if (!result.ok()) return {result.code(), "KV head " + std::to_string(head) + ": " + result.message()};
    }
    return {};
  });
}

}  // namespace kvprune
