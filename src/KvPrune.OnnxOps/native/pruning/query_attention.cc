#include "pruning/query_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace kvprune {
namespace {

constexpr int kPanelRows = 64;
constexpr int64_t kPanelFloats = static_cast<int64_t>(kPanelRows) * kPanelLanes;

// Attention of up to kPanelLanes query rows (token x group) to all spans. A panel holds e^(logit - max) with
// the maximum that was known when it was computed, so every panel keeps that as well.
class QueryBlock {
 public:
  QueryBlock(std::span<const TokenRows> spans, const AttentionRule& rule, float* scratch)
      : spans_(spans),
        rule_(rule),
        kernels_(*Kernels().scores),
        transposed_(scratch),
        panels_(scratch + static_cast<int64_t>(rule.head_size) * kPanelLanes) {}

  void Attend(const QueryRows& queries, int64_t first_row, int rows) {
    Load(queries, first_row, rows);
    int64_t panel = 0;
    for (const TokenRows& span : spans_) {
      const Range range = Seen(span);
      for (int64_t token = range.begin; token < range.end; token += kPanelRows, ++panel)
        AttendPanel(span, token, std::min<int64_t>(kPanelRows, range.end - token), panel);
    }
    for (int lane = 0; lane < rows; ++lane) {
      const int64_t token = (first_row + lane) / queries.group;
      const int64_t head = (first_row + lane) % queries.group;
      if (rule_.sinks != nullptr) Join(lane, rule_.sinks[head]);
      if (queries.past != nullptr) Join(lane, queries.past[token * queries.past_stride + head]);
    }
  }

  // visit(panel, rows, factors, token): of `rows` tokens from the `token`-th of all spans on, the attention
  // of a lane is its entry of the panel times its factor.
  template <class Visit>
  void ForEachPanel(const Visit& visit) const {
    int64_t panel = 0;
    int64_t offset = 0;
    for (const TokenRows& span : spans_) {
      const Range range = Seen(span);
      for (int64_t token = range.begin; token < range.end; token += kPanelRows, ++panel) {
        float factors[kPanelLanes];
        const float* max = PanelMax(panel);
        for (int lane = 0; lane < kPanelLanes; ++lane)
          factors[lane] = lane >= rows_ || sum_[lane] == 0
                              ? 0.0f
                              : static_cast<float>(std::exp(static_cast<double>(max[lane]) -
                                                            static_cast<double>(max_[lane])) /
                                                   sum_[lane]);
        visit(Panel(panel), static_cast<int>(std::min<int64_t>(kPanelRows, range.end - token)), factors,
              offset + token);
      }
      offset += span.count;
    }
  }

 private:
  struct Range {
    int64_t begin;
    int64_t end;
  };

  float* Panel(int64_t index) const { return panels_ + index * (kPanelFloats + kPanelLanes); }
  float* PanelMax(int64_t index) const { return Panel(index) + kPanelFloats; }

  // Lanes are queries, scaled: [head_size, kPanelLanes]. Lanes without one see nothing.
  void Load(const QueryRows& queries, int64_t first_row, int rows) {
    std::fill_n(transposed_, static_cast<int64_t>(rule_.head_size) * kPanelLanes, 0.0f);
    rows_ = rows;
    first_ = std::numeric_limits<int64_t>::max();
    end_ = 0;
    all_first_ = 0;
    all_end_ = std::numeric_limits<int64_t>::max();
    for (int lane = 0; lane < kPanelLanes; ++lane) {
      max_[lane] = -std::numeric_limits<float>::infinity();
      sum_[lane] = 0;
      first_seen_[lane] = seen_end_[lane] = 0;
      if (lane >= rows) continue;
      const int64_t token = (first_row + lane) / queries.group;
      const int64_t head = (first_row + lane) % queries.group;
      const float* query = queries.rows + token * queries.stride + head * rule_.head_size;
      for (int j = 0; j < rule_.head_size; ++j) transposed_[j * kPanelLanes + lane] = query[j] * rule_.scale;
      const int64_t position = queries.Position(token);
      first_seen_[lane] = rule_.FirstSeen(position);
      seen_end_[lane] = position + 1;
      first_ = std::min(first_, first_seen_[lane]);
      end_ = std::max(end_, seen_end_[lane]);
      all_first_ = std::max(all_first_, first_seen_[lane]);
      all_end_ = std::min(all_end_, seen_end_[lane]);
    }
  }

  // A logit without a row joins the softmax.
  void Join(int lane, float logit) {
    if (std::isinf(logit) && logit < 0) return;
    const float max = std::max(max_[lane], logit);
    sum_[lane] = sum_[lane] * std::exp(static_cast<double>(max_[lane]) - max) +
                 std::exp(static_cast<double>(logit) - max);
    max_[lane] = max;
  }

  // Rows of the span that some lane sees.
  Range Seen(const TokenRows& span) const {
    return {std::clamp<int64_t>(first_ - span.first_position, 0, span.count),
            std::clamp<int64_t>(end_ - span.first_position, 0, span.count)};
  }

  void AttendPanel(const TokenRows& span, int64_t token, int64_t count, int64_t index) {
    float* panel = Panel(index);
    const int rows = static_cast<int>(count);
    kernels_.multiply(span.rows + token * span.stride, span.stride, rows, rule_.head_size, transposed_,
                      kPanelLanes, panel);
    const int64_t position = span.first_position + token;
    int32_t begin[kPanelLanes];
    int32_t end[kPanelLanes];
    // (Lanes without a query compute something then, which no factor takes up.)
    const bool whole = all_first_ <= position && all_end_ >= position + count;
    for (int lane = 0; lane < kPanelLanes && !whole; ++lane) {
      begin[lane] = static_cast<int32_t>(std::clamp<int64_t>(first_seen_[lane] - position, 0, count));
      end[lane] = static_cast<int32_t>(std::clamp<int64_t>(seen_end_[lane] - position, 0, count));
    }
    float before[kPanelLanes];
    std::copy_n(max_, kPanelLanes, before);
    float sum[kPanelLanes];
    kernels_.exponentials(panel, rows, whole ? nullptr : begin, whole ? nullptr : end, rule_.softcap, max_,
                          sum);
    for (int lane = 0; lane < kPanelLanes; ++lane) {
      if (max_[lane] != before[lane] && sum_[lane] != 0)
        sum_[lane] *= std::exp(static_cast<double>(before[lane]) - static_cast<double>(max_[lane]));
      sum_[lane] += static_cast<double>(sum[lane]);
    }
    std::copy_n(max_, kPanelLanes, PanelMax(index));
  }

  std::span<const TokenRows> spans_;
  const AttentionRule& rule_;
  const ScoreKernels& kernels_;
  float* transposed_;
  float* panels_;
  int rows_ = 0;       // lanes with a query
  int64_t first_ = 0;  // of the positions that some lane sees
  int64_t end_ = 0;
  int64_t all_first_ = 0;  // of those that every query sees
  int64_t all_end_ = 0;
  int64_t first_seen_[kPanelLanes];
  int64_t seen_end_[kPanelLanes];
  float max_[kPanelLanes];
  double sum_[kPanelLanes];
};

template <class Visit>
void VisitAttention(const QueryRows& queries, std::span<const TokenRows> spans, const AttentionRule& rule,
                    float* scratch, const Visit& visit) {
  QueryBlock block(spans, rule, scratch);
  const int64_t rows = queries.count * queries.group;
  for (int64_t row = 0; row < rows; row += kPanelLanes) {
    const int count = static_cast<int>(std::min<int64_t>(kPanelLanes, rows - row));
    block.Attend(queries, row, count);
    block.ForEachPanel(visit);
  }
}

}  // namespace

int64_t AttentionScratchFloats(int64_t tokens, int64_t spans, int head_size) {
  return static_cast<int64_t>(head_size) * kPanelLanes +
         (tokens / kPanelRows + spans) * (kPanelFloats + kPanelLanes);
}

void SumAttention(const QueryRows& queries, std::span<const TokenRows> spans, const AttentionRule& rule,
                  float* scratch, double* mass) {
  const ScoreKernels& kernels = *Kernels().scores;
  VisitAttention(queries, spans, rule, scratch,
                 [&](const float* panel, int rows, const float* factors, int64_t token) {
                   kernels.add_lanes(panel, rows, factors, mass + token);
                 });
}

void MaxAttention(const QueryRows& queries, std::span<const TokenRows> spans, const AttentionRule& rule,
                  float* scratch, float* most) {
  const ScoreKernels& kernels = *Kernels().scores;
  VisitAttention(queries, spans, rule, scratch,
                 [&](const float* panel, int rows, const float* factors, int64_t token) {
                   kernels.max_lanes(panel, rows, factors, most + token);
                 });
}

}  // namespace kvprune
