#include "cache/choose_tokens.h"

#include <algorithm>
#include <string>

#include "cache/token_scores.h"
#include "pruning/eviction_budget.h"
#include "pruning/kept_tokens.h"
#include "pruning/pooled_budgets.h"
#include "pruning/token_budgets.h"

namespace kvprune {
namespace {

Status OfLayer(int layer, const Status& status) {
  return {status.code(), "layer " + std::to_string(layer) + ": " + status.message()};
}

// Of the rows that leave, the sequence's first `sink_tokens`.
int64_t Sinks(const LayerSeal& seal) {
  return std::clamp<int64_t>(seal.policy.eviction.sink_tokens - seal.sealed_tokens, 0, seal.leaving());
}

// kept[i] in whole tiles of each head of the layers, which share the budget of the first one.
Status DivideBudget(std::span<const LayerSeal> layers, const std::vector<TokenScores>& scores, int64_t budget,
                    std::vector<KeptTokens>* kept) {
  const LayerSeal& first = layers[0];
  const Eviction& eviction = first.policy.eviction;
  const int kv_heads = first.shape().kv_heads;
  std::vector<const float*> heads;
  for (const TokenScores& layer : scores)
    for (int head = 0; head < kv_heads; ++head) heads.push_back(layer.scores(head));
  const double floor =
      eviction.heads == HeadBudgets::kAdaptive ? static_cast<double>(eviction.head_floor) : 0;
  std::vector<int64_t> counts(heads.size());
  Status status = PooledBudgets(heads, first.leaving(), Sinks(first), budget, floor, counts.data());
  if (!status.ok()) return OfLayer(first.layer, status);
  for (size_t i = 0; i < counts.size(); ++i)
    (*kept)[i / static_cast<size_t>(kv_heads)].SetCount(static_cast<int>(i % static_cast<size_t>(kv_heads)),
                                                        RoundToTiles(counts[i], first.leaving()));
  return {};
}

// Writes the rows that the heads of one layer keep.
Status Select(const LayerSeal& seal, const TokenScores& scores, TaskRunner& tasks, KeptTokens* kept) {
  const int kv_heads = seal.shape().kv_heads;
  const int64_t leaving = seal.leaving();
  const std::shared_ptr<MemoryAccount>& account = seal.manager.account();
  Status status = kept->Allocate(account);
  if (!status.ok()) return status;
  Buffer order;
  status = Buffer::Allocate(account, MemoryUse::kScratch,
                            kv_heads * leaving * static_cast<int64_t>(sizeof(uint64_t)), &order);
  if (!status.ok()) return status;
  status = tasks.Try(static_cast<size_t>(kv_heads), [&](size_t index) -> Status {
    const int head = static_cast<int>(index);
    if (!kept->evicts(head)) return {};
    uint64_t* own = reinterpret_cast<uint64_t*>(order.data()) + head * leaving;
    return scores.norms(head) == nullptr
               ? SelectTokens(scores.scores(head), leaving, Sinks(seal), kept->count(head), own,
                              kept->rows(head))
               : SelectTokensInTwoStages(scores.scores(head), scores.norms(head), leaving, Sinks(seal),
                                         kept->count(head), own, kept->rows(head));
  });
  return status.ok() ? status : OfLayer(seal.layer, status);
}

}  // namespace

Status KeptTokens::Allocate(const std::shared_ptr<MemoryAccount>& account) {
  const int64_t entries = static_cast<int64_t>(counts_.size()) * leaving_;
  return Buffer::Allocate(account, MemoryUse::kScratch, entries * static_cast<int64_t>(sizeof(int32_t)),
                          &rows_);
}

Status ChooseTokens(std::span<const LayerSeal> layers, TaskRunner& tasks, std::vector<KeptTokens>* kept) {
  const LayerSeal& first = layers[0];
  const Policy& policy = first.policy;
  const int kv_heads = first.shape().kv_heads;
  const int64_t leaving = first.leaving();
  kept->clear();
  for (size_t i = 0; i < layers.size(); ++i) kept->emplace_back(kv_heads, leaving);
  const int64_t budget = LeavingToKeep(policy, first.shape().layers, first.layer, first.dense_rows, leaving);
  if (budget == leaving) return {};
  const bool even = policy.eviction.heads == HeadBudgets::kUniform;
  const int64_t rounded = RoundToTiles(budget, leaving);
  if (even && rounded == leaving) return {};

  std::vector<TokenScores> scores(layers.size());
  for (size_t i = 0; i < layers.size(); ++i) {
    Status status = scores[i].Compute(layers[i], tasks);
    if (!status.ok()) return OfLayer(layers[i].layer, status);
  }
  if (even) {
    for (int head = 0; head < kv_heads; ++head) kept->front().SetCount(head, rounded);
  } else {
    Status status = DivideBudget(layers, scores, budget, kept);
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < layers.size(); ++i) {
    Status status = Select(layers[i], scores[i], tasks, &(*kept)[i]);
    if (!status.ok()) return status;
  }
  return {};
}

}  // namespace kvprune
