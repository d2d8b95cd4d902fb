#include "cache/row_scores.h"

#include <algorithm>
#include <cstring>

#include "pruning/accumulated_attention.h"

namespace kvprune {
namespace {

constexpr int64_t kArrays = 3;

int64_t Capacity(int64_t sealed_rows, int tail_capacity) {
  return sealed_rows + kTileTokens + tail_capacity;
}

}  // namespace

int64_t RowScores::Bytes(std::span<const int64_t> sealed_rows, int tail_capacity) {
  int64_t floats = 0;
  for (const int64_t rows : sealed_rows) floats += kArrays * Capacity(rows, tail_capacity);
  return (floats * static_cast<int64_t>(sizeof(float)) + 63) / 64 * 64;
}

Status RowScores::Create(const std::shared_ptr<MemoryAccount>& account, std::span<const int64_t> sealed_rows,
                         int tail_capacity, std::shared_ptr<RowScores>* scores) {
  std::shared_ptr<RowScores> made(new RowScores());
  int64_t offset = 0;
  for (const int64_t rows : sealed_rows) {
    made->heads_.push_back({offset, Capacity(rows, tail_capacity), 0, 0});
    offset += kArrays * made->heads_.back().capacity;
  }
  const int64_t bytes = Bytes(sealed_rows, tail_capacity);
  Status status = Buffer::Allocate(account, MemoryUse::kTail, bytes, &made->buffer_);
  if (!status.ok()) return status;
  std::memset(made->buffer_.data(), 0, static_cast<size_t>(bytes));
  *scores = std::move(made);
  return {};
}

Status RowScores::Copy(const std::shared_ptr<MemoryAccount>& account,
                       std::shared_ptr<RowScores>* copy) const {
  std::shared_ptr<RowScores> made(new RowScores());
  made->heads_ = heads_;
  Status status = Buffer::Allocate(account, MemoryUse::kTail, buffer_.bytes(), &made->buffer_);
  if (!status.ok()) return status;
  std::memcpy(made->buffer_.data(), buffer_.data(), static_cast<size_t>(buffer_.bytes()));
  *copy = std::move(made);
  return {};
}

Status RowScores::OfPrompt(const LayerSeal& seal, const KeptTokens& kept, const RowScores* before,
                           std::shared_ptr<RowScores>* scores) {
  const int kv_heads = seal.shape().kv_heads;
  std::vector<int64_t> sealed_rows(static_cast<size_t>(kv_heads));
  for (int head = 0; head < kv_heads; ++head)
    sealed_rows[static_cast<size_t>(head)] = seal.past.Tiles(head) * kTileTokens + kept.count(head);
  std::shared_ptr<RowScores> made;
  Status status = Create(seal.manager.account(), sealed_rows, seal.policy.TailCapacity(), &made);
  if (!status.ok()) return status;
  for (int head = 0; head < kv_heads; ++head) {
    float* mass = made->mass(head);
    float* exposure = made->exposure(head);
    const int64_t past = seal.past.Tiles(head) * kTileTokens;
    if (before != nullptr) {
      std::copy_n(before->mass(head), past, mass);
      std::copy_n(before->exposure(head), past, exposure);
    }
    const double* segment = seal.rows.record().Mass(head);
    const int64_t window = seal.rows.record().Rule(head).window;
    const auto add = [&](int64_t row, int64_t index) {
      const bool was_in_tail = before != nullptr && row < seal.segment_row();
      mass[index] = static_cast<float>(segment[row]) + (was_in_tail ? before->mass(head)[past + row] : 0.0f);
      exposure[index] = static_cast<float>(Exposure(row, seal.segment_row(), seal.segment_tokens, window)) +
                        (was_in_tail ? before->exposure(head)[past + row] : 0.0f);
    };
    int64_t index = past;
    for (int64_t i = 0; i < kept.count(head); ++i) add(kept.evicts(head) ? kept.rows(head)[i] : i, index++);
    for (int64_t row = kept.leaving(); row < seal.dense_rows; ++row) add(row, index++);
  }
  *scores = std::move(made);
  return {};
}

Status RowScores::Without(const std::shared_ptr<MemoryAccount>& account, std::span<const DroppedRows> dropped,
                          std::span<const int64_t> sealed_rows, int64_t tail_rows, int tail_capacity,
                          std::shared_ptr<RowScores>* scores) const {
  std::vector<int64_t> left(sealed_rows.begin(), sealed_rows.end());
  for (size_t head = 0; head < dropped.size(); ++head)
    left[head] -= static_cast<int64_t>(dropped[head].size());
  std::shared_ptr<RowScores> made;
  Status status = Create(account, left, tail_capacity, &made);
  if (!status.ok()) return status;
  for (size_t i = 0; i < left.size(); ++i) {
    const auto head = static_cast<int>(i);
    const DroppedRows gone = dropped.empty() ? DroppedRows() : dropped[i];
    const auto copy = [&](const float* from, float* to) {
      int64_t row = 0;
      for (const int64_t end : gone) {
        to = std::copy(from + row, from + end, to);
        row = end + 1;
      }
      std::copy(from + row, from + sealed_rows[i] + tail_rows, to);
    };
    copy(mass(head), made->mass(head));
    copy(exposure(head), made->exposure(head));
  }
  *scores = std::move(made);
  return {};
}

bool RowScores::HasRoom(std::span<const int64_t> sealed_rows, int tail_capacity) const {
  for (size_t head = 0; head < heads_.size(); ++head)
    if (heads_[head].capacity < Capacity(sealed_rows[head], tail_capacity)) return false;
  return true;
}

float RowScores::Score(int kv_head, int64_t row, int group) const {
  const float seen = exposure(kv_head)[row];
  return seen == 0 ? 0.0f : mass(kv_head)[row] / (seen * static_cast<float>(group));
}

void RowScores::SetSeen(int kv_head, int64_t first, int64_t end) {
  Head& head = heads_[static_cast<size_t>(kv_head)];
  head.first_seen = first;
  head.seen_end = end;
}

void RowScores::AddStep() {
  for (size_t i = 0; i < heads_.size(); ++i) {
    const auto head = static_cast<int>(i);
    float* masses = mass(head);
    float* exposures = exposure(head);
    const float* added = step(head);
    // The token's own row starts here: an earlier one in its place was dropped by a rewind.
    const int64_t own = heads_[i].seen_end - 1;
    if (own < 0) continue;
    masses[own] = exposures[own] = 0;
    for (int64_t row = heads_[i].first_seen; row <= own; ++row) {
      masses[row] += added[row];
      exposures[row] += 1;
    }
  }
}

}  // namespace kvprune
