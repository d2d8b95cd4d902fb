#include "cache/record_step.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <string>
#include <thread>

#include "pruning/reconstruction.h"

namespace kvprune {
namespace {

constexpr int64_t kBlockTokens = 512;

class StepRecorder {
 public:
  StepRecorder(const LayerParameters& parameters, const LayerRows& rows, const float* past,
               PromptRows& prompt_rows)
      : parameters_(parameters),
        rows_(rows),
        past_(past),
        prompt_rows_(prompt_rows),
        record_(prompt_rows.record()),
        sequence_(*rows.sequence),
        shape_(sequence_.shape()),
        width_(static_cast<int64_t>(shape_.query_heads) * shape_.head_size) {}

  Status Run(TaskRunner& tasks) {
    const PromptNeeds& needs = record_.needs();
    record_.SetRule(
        {shape_.head_size, parameters_.scale, parameters_.softcap, parameters_.window, parameters_.sinks});
    if (sequence_.StepProbes()) return needs.reconstruction ? RecordAttention(tasks) : Status();
    RecordObserved();
    if (needs.Accumulates()) sequence_.SpoilSegment();
    if (needs.expected) RecordStatistics(tasks);
    return needs.accumulated ? RecordAttention(tasks) : Status();
  }

 private:
  // Of the segment's tokens, those of the step begin here.
  int64_t FirstToken() const { return sequence_.length() - sequence_.segment_start(); }

  void CopyRotated(int64_t token, float* queries) const {
    std::memcpy(queries, rows_.query + token * width_, static_cast<size_t>(width_) * sizeof(float));
    if (!parameters_.rotary.active()) return;
    for (int head = 0; head < shape_.query_heads; ++head)
      parameters_.rotary.Rotate(queries + static_cast<int64_t>(head) * shape_.head_size,
                                sequence_.length() + token);
  }

  // The queries are kept rotated, as the runtime's kernel does not give them back.
  void RecordObserved() const {
    if (record_.needs().observed_queries == 0) return;
    const int64_t first = FirstToken();
    for (int64_t t = std::max<int64_t>(0, record_.first_observed() - first); t < sequence_.step_tokens();
         ++t) {
      CopyRotated(t, record_.ObservedQuery(first + t));
      float* past = record_.ObservedPast(first + t);
      if (past_ != nullptr)
        std::copy_n(past_ + t * shape_.query_heads, shape_.query_heads, past);
      else
        std::fill_n(past, shape_.query_heads, -INFINITY);
    }
  }

  void RecordStatistics(TaskRunner& tasks) const {
    const int64_t tokens = sequence_.step_tokens();
    const int64_t first =
        std::clamp<int64_t>(record_.needs().skipped_queries - sequence_.length(), 0, tokens);
    tasks.For(static_cast<size_t>(shape_.query_heads), [&](size_t head) {
      record_.Statistics(static_cast<int>(head))
          .Add(rows_.query + first * width_ + static_cast<int64_t>(head) * shape_.head_size, width_,
               tokens - first);
    });
    if (FirstToken() + tokens < sequence_.segment_tokens()) return;
    const RotaryTable& rotary = parameters_.rotary;
    record_.SetAhead({rotary.cosine, rotary.sine, rotary.positions, rotary.rotary_size, rotary.interleaved},
                     sequence_.length() + tokens);
  }

  // A prompt step's queries add to every row's mass; a probe step's raise the rows' scores. Blocks of queries
  // are rotated at a time: all of a long prompt's would take as much memory as its rows.
  Status RecordAttention(TaskRunner& tasks) const {
    const int64_t tokens = sequence_.step_tokens();
    const int64_t all = sequence_.dense_rows() + tokens;
    const auto threads = static_cast<int64_t>(std::max(1u, std::thread::hardware_concurrency()));
    const int64_t workers = std::min<int64_t>(shape_.kv_heads, threads);
    const int64_t attention = AttentionScratchFloats(all, 2, shape_.head_size);
    const int64_t worker_floats = attention + (sequence_.StepProbes() ? all : 0);
    const int64_t block = std::min(tokens, kBlockTokens);
    Buffer scratch;
    Status status = Buffer::Allocate(
        sequence_.manager().account(), MemoryUse::kScratch,
        (block * width_ + workers * worker_floats) * static_cast<int64_t>(sizeof(float)), &scratch);
    if (!status.ok()) return status;
    auto* queries = reinterpret_cast<float*>(scratch.data());
    for (int64_t first = 0; status.ok() && first < tokens; first += block) {
      const int64_t count = std::min(block, tokens - first);
      tasks.For(static_cast<size_t>(count), [&](size_t t) {
        CopyRotated(first + static_cast<int64_t>(t), queries + static_cast<int64_t>(t) * width_);
      });
      std::atomic<int> next{0};
      status = tasks.Try(static_cast<size_t>(workers), [&](size_t worker) -> Status {
        float* own = queries + block * width_ + static_cast<int64_t>(worker) * worker_floats;
        for (int head = next.fetch_add(1); head < shape_.kv_heads; head = next.fetch_add(1)) {
          const Status result = RecordHead(head, first, count, queries, own, own + attention);
          if (!result.ok())
            return {result.code(), "KV head " + std::to_string(head) + ": " + result.message()};
        }
        return {};
      });
    }
    return status;
  }

  // Of the step's `count` tokens from `first` on, whose rotated queries are in `queries`.
  Status RecordHead(int kv_head, int64_t first, int64_t count, const float* queries, float* scratch,
                    float* most) const {
    const int64_t before = sequence_.dense_rows();
    const int64_t seen = first + count;  // of the step's rows
    const int size = shape_.head_size;
    const int64_t first_head = static_cast<int64_t>(kv_head) * shape_.group();
    const AttentionRule rule = record_.Rule(kv_head);
    const QueryRows own = {
        .rows = queries + first_head * size,
        .stride = width_,
        .count = count,
        .group = shape_.group(),
        .first_position = before + first,
        .past = past_ != nullptr ? past_ + first * shape_.query_heads + first_head : nullptr,
        .past_stride = shape_.query_heads};
    const TokenRows keys = {prompt_rows_.keys(kv_head), size, before + seen, 0};
    if (!sequence_.StepProbes()) {
      SumAttention(own, {&keys, 1}, rule, scratch, record_.Mass(kv_head));
      return {};
    }
    const TokenRows segment = {keys.rows, size, before, 0};
    const TokenRows probe = {keys.rows + before * size, size, seen, before};
    return ReconstructionScores(own, segment, probe, rule, scratch, most, record_.Reconstruction(kv_head));
  }

  const LayerParameters& parameters_;
  const LayerRows& rows_;
  const float* const past_;
  const PromptRows& prompt_rows_;
  PromptRecord& record_;
  Sequence& sequence_;
  const ModelShape& shape_;
  const int64_t width_;  // floats of a token's queries
};

}  // namespace

Status RecordStep(const LayerParameters& parameters, const LayerRows& rows, const float* past,
                  PromptRows& prompt_rows, TaskRunner& tasks) {
  return StepRecorder(parameters, rows, past, prompt_rows).Run(tasks);
}

}  // namespace kvprune
