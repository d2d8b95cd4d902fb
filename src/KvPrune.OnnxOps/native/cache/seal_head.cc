#include "cache/seal_head.h"

#include <algorithm>
#include <numeric>

#include "cache/error_budget.h"
#include "pruning/channel_weights.h"
#include "pruning/think.h"

namespace kvprune {
namespace {

int64_t FloatBytes(int64_t count) {
  return std::max<int64_t>(1, count) * static_cast<int64_t>(sizeof(float));
}

float* Floats(const Buffer& buffer) {
  return reinterpret_cast<float*>(buffer.data());
}

// The best channels; without scores the first ones.
void FillChannels(const double* scores, int head_size, int kept, uint8_t* channels) {
  if (scores != nullptr && kept < head_size)
    SelectBestChannels(scores, head_size, kept, channels);
  else
    std::iota(channels, channels + kept, uint8_t{0});
}

}  // namespace

Status HeadSealing::Choose(const std::shared_ptr<MemoryAccount>& account, const Policy& policy, int layer,
                           int kv_head, const HeadSource& source) {
  policy_ = &policy;
  source_ = source;
  rules_.key_pattern = policy.key_pattern;
  rules_.value_pattern = policy.value_pattern;
  if (source.rows.kept_count > 0) {
    Status status = Score(account, policy.ForLayer(layer));
    if (!status.ok()) return status;
    if (policy.output_error > 0) return ChooseWithinError(account, policy, kv_head, this, &error_);
  }
  Use(PromptKeySetting(policy, layer), PromptValueSetting(policy, layer));
  return {};
}

// Everything that some setting may rank channels and elements by.
Status HeadSealing::Score(const std::shared_ptr<MemoryAccount>& account, const LayerSparsity& sparsity) {
  const bool any = policy_->output_error > 0;
  const HeadRows& rows = source_.rows;
  const int head_size = source_.rule.head_size;
  Status status;
  if (any || sparsity.key_channels > 0)
    ThinkKeyScores(source_.observed, rows.kept_keys, rows.kept_count, head_size, key_scores_);
  if (sparsity.value_channels > 0)
    status = ThinkValueScores(source_.observed, rows, source_.rule, value_scores_);
  if (status.ok() && policy_->key_score != KeyScore::kMagnitude && (any || sparsity.keys > 0)) {
    status = policy_->key_score == KeyScore::kQueryMagnitude
                 ? QueryMagnitudeWeights(source_.observed, head_size, key_weights_)
                 : QueryRmsWeights(source_.observed, head_size, key_weights_);
    rules_.key_weights = key_weights_;
  }
  if (status.ok() && policy_->value_score == ValueScore::kOutputWeight && (any || sparsity.values > 0)) {
    status = OutputWeights(source_.gram, head_size, value_weights_);
    rules_.value_weights = value_weights_;
  }
  if (status.ok() && policy_->value_score == ValueScore::kAttention && (any || sparsity.values > 0))
    status = WeighTokens(account);
  return status;
}

// The observed queries' attention to each kept row.
Status HeadSealing::WeighTokens(const std::shared_ptr<MemoryAccount>& account) {
  const HeadRows& rows = source_.rows;
  const int head_size = source_.rule.head_size;
  const TokenRows keys{rows.keys, head_size, rows.count, 0};
  const int64_t scratch_floats = AttentionScratchFloats(rows.count, 1, head_size);
  Buffer scratch;
  Status status = Buffer::Allocate(account, MemoryUse::kScratch,
                                   FloatBytes(scratch_floats + 1 + 2 * rows.count), &scratch);
  if (status.ok())
    status = Buffer::Allocate(account, MemoryUse::kScratch, FloatBytes(rows.kept_count), &token_weights_);
  if (!status.ok()) return status;
  auto* mass = reinterpret_cast<double*>(Floats(scratch) + (scratch_floats + 1) / 2 * 2);
  std::fill_n(mass, rows.count, 0.0);
  SumAttention(source_.observed, {&keys, 1}, source_.rule, Floats(scratch), mass);
  for (int64_t i = 0; i < rows.kept_count; ++i)
    Floats(token_weights_)[i] = static_cast<float>(mass[rows.KeptRow(i)]);
  return {};
}

void HeadSealing::Use(const EntrySetting& key, const EntrySetting& value) {
  const int head_size = source_.rule.head_size;
  rules_.format = MakeFormat(*policy_, key, value, head_size);
  const bool scored = source_.rows.kept_count > 0;
  FillChannels(scored ? key_scores_ : nullptr, head_size, rules_.format.key_channels, key_channels_);
  FillChannels(scored ? value_scores_ : nullptr, head_size, rules_.format.value_channels, value_channels_);
  rules_.key_channels = key_channels_;
  rules_.value_channels = rules_.format.value_channels < head_size ? value_channels_ : nullptr;
}

HeadRun HeadSealing::Run() const {
  const HeadRows& rows = source_.rows;
  return {rules_.format, rows.kept_count / kTileTokens, rows.kept_count < rows.leaving, error_};
}

void HeadSealing::WriteChannels(const TileSlab& slab, int kv_head) const {
  std::copy_n(key_channels_, rules_.format.key_channels, slab.key_channels(kv_head));
  if (slab.value_channels(kv_head) != nullptr)
    std::copy_n(value_channels_, rules_.format.value_channels, slab.value_channels(kv_head));
}

Status HeadSealing::Pack(int64_t index, uint8_t* tile) const {
  const HeadRows& rows = source_.rows;
  const int64_t first = index * kTileTokens;
  const int64_t offset = first * source_.rule.head_size;
  const float* weights = token_weights_.data() != nullptr ? Floats(token_weights_) + first : nullptr;
  return PackRows(rules_, rows.kept_keys + offset, rows.kept_values + offset, weights,
                  source_.sealed_tokens + rows.KeptRow(first), tile);
}

}  // namespace kvprune
