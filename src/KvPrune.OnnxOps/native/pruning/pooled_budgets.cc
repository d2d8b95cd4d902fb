#include "pruning/pooled_budgets.h"

#include <algorithm>
#include <vector>

#include "pruning/finite.h"
#include "pruning/ranking.h"

namespace kvprune {
namespace {

// Finds the score of the last token that the pooled budget reaches, bits at a time, from histograms per head:
// there may be tens of millions of scores, too many to sort or to copy.
class Threshold {
 public:
  Threshold(std::span<const float* const> scores, int64_t tokens, int64_t sinks, int64_t least)
      : scores_(scores), tokens_(tokens), sinks_(sinks), least_(least), above_(scores.size(), 0) {}

  // `total` is more than `least` per head and at most all tokens.
  void Find(int64_t total) {
    int known = 0;
    for (const int bits : {11, 11, 10}) {
      Count(known, bits);
      key_ = key_ << bits | LowestBin(total, 1 << bits);
      known += bits;
    }
  }

  // kept[head] of what ranks above the threshold and the first of what equals it.
  void Distribute(int64_t total, int64_t* kept) const {
    std::vector<int64_t> within_floor(scores_.size());
    for (size_t head = 0; head < scores_.size(); ++head) {
      kept[head] = std::max(least_, above_[head]);
      within_floor[head] = kept[head] - above_[head];
      total -= kept[head];
    }
    for (int64_t token = 0; token < tokens_ && total > 0; ++token)
      for (size_t head = 0; head < scores_.size() && total > 0; ++head) {
        if (Key(head, token) != key_) continue;
        if (within_floor[head] > 0) {
          --within_floor[head];
        } else {
          ++kept[head];
          --total;
        }
      }
  }

 private:
  uint32_t Key(size_t head, int64_t token) const {
    return token < sinks_ ? kAlwaysFirst : RankingKey(scores_[head][token]);
  }

  // Of the keys that begin with the `known` bits of key_, how many have which next `bits`.
  void Count(int known, int bits) {
    const int bins = 1 << bits;
    counts_.assign(scores_.size() * static_cast<size_t>(bins), 0);
    for (size_t head = 0; head < scores_.size(); ++head) {
      int32_t* counts = counts_.data() + head * static_cast<size_t>(bins);
      for (int64_t token = 0; token < tokens_; ++token) {
        const uint64_t key = Key(head, token);
        if (key >> (32 - known) == key_)
          ++counts[(key >> (32 - known - bits)) & static_cast<uint64_t>(bins - 1)];
      }
    }
  }

  // The highest bin down to which the heads hold `total` tokens; above_ then counts the keys beyond it.
  uint64_t LowestBin(int64_t total, int bins) {
    for (int bin = bins - 1;; --bin) {
      int64_t held = 0;
      for (size_t head = 0; head < scores_.size(); ++head)
        held += std::max(least_,
                         above_[head] + counts_[head * static_cast<size_t>(bins) + static_cast<size_t>(bin)]);
      if (held >= total || bin == 0) return static_cast<uint64_t>(bin);
      for (size_t head = 0; head < scores_.size(); ++head)
        above_[head] += counts_[head * static_cast<size_t>(bins) + static_cast<size_t>(bin)];
    }
  }

  std::span<const float* const> scores_;
  int64_t tokens_;
  int64_t sinks_;
  int64_t least_;
  uint64_t key_ = 0;
  std::vector<int64_t> above_;
  std::vector<int32_t> counts_;  // [heads, bins]
};

}  // namespace

Status PooledBudgets(std::span<const float* const> scores, int64_t tokens, int64_t sinks, int64_t per_head,
                     double floor, int64_t* kept) {
  for (size_t head = 0; head < scores.size(); ++head) {
    Status status = CheckScores(scores[head], tokens, "the score");
    if (!status.ok()) return {status.code(), "head " + std::to_string(head) + ": " + status.message()};
  }
  per_head = std::min(per_head, tokens);
  const auto own = static_cast<int64_t>(floor * static_cast<double>(per_head));
  const int64_t least = std::min(per_head, std::max(own, sinks));
  if (least == per_head) {
    std::fill_n(kept, scores.size(), per_head);
    return {};
  }
  const int64_t total = per_head * static_cast<int64_t>(scores.size());
  Threshold threshold(scores, tokens, sinks, least);
  threshold.Find(total);
  threshold.Distribute(total, kept);
  return {};
}

}  // namespace kvprune
