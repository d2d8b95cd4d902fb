#include "cache/model_fixture.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace kvprune::test {

Policy ExactPolicy() {
  return {Storage::kFloat32, Storage::kFloat32, 0, 0, 0, 32, 32};
}
Policy MixedPolicy() {
  return {Storage::kInt8, Storage::kInt8, 0.4f, 0.25f, 0.7f, 32, 32};
}

Status RowsOnlyKernel::Run(const LayerRows& rows, const PromptRows& prompt_rows, int64_t past, int tokens) {
  const ModelShape& shape = rows.sequence->shape();
  for (int t = 0; t < tokens; ++t)
    for (int head = 0; head < shape.kv_heads; ++head) {
      const int64_t from = (static_cast<int64_t>(t) * shape.kv_heads + head) * shape.head_size;
      const int64_t to = (past + t) * shape.head_size;
      std::copy_n(rows.key + from, shape.head_size, prompt_rows.keys(head) + to);
      std::copy_n(rows.value + from, shape.head_size, prompt_rows.values(head) + to);
    }
  return {};
}

// Uniform in [-2, 2), from a hash of what names the element (splitmix64's finaliser).
std::vector<float> ToyModel::Row(int kind, int layer, int64_t position, int head) const {
  std::vector<float> row(kShape.head_size);
  uint64_t state = seed_;
  const auto mix = [&state](uint64_t value) {
    state += value + 0x9e3779b97f4a7c15u;
    state = (state ^ (state >> 30)) * 0xbf58476d1ce4e5b9u;
    state = (state ^ (state >> 27)) * 0x94d049bb133111ebu;
    state ^= state >> 31;
  };
  for (const int64_t part : {int64_t{kind}, int64_t{layer}, position, int64_t{head}})
    mix(static_cast<uint64_t>(part));
  for (float& x : row) {
    mix(1);
    x = static_cast<float>(state >> 40) / static_cast<float>(1 << 22) - 2.0f;
  }
  return row;
}

// The textbook form of the half-split rotation, in double.
void ToyModel::Rotate(std::vector<float>& row, int64_t position) const {
  if (rope_theta_ == 0) return;
  const int half = kShape.head_size / 2;
  for (int j = 0; j < half; ++j) {
    const double angle = static_cast<double>(position) *
                         std::pow(static_cast<double>(rope_theta_), -static_cast<double>(j) / half);
    const double a = row[j];
    const double b = row[j + half];
    row[j] = static_cast<float>(a * std::cos(angle) - b * std::sin(angle));
    row[j + half] = static_cast<float>(b * std::cos(angle) + a * std::sin(angle));
  }
}

std::vector<float> ToyModel::Key(int layer, int64_t position, int kv_head) const {
  std::vector<float> row = Row(0, layer, position, kv_head);
  Rotate(row, position);
  return row;
}

std::vector<float> ToyModel::Value(int layer, int64_t position, int kv_head) const {
  return Row(1, layer, position, kv_head);
}

std::vector<float> ToyModel::Query(int layer, int64_t position, int head) const {
  std::vector<float> row = Row(2, layer, position, head);
  Rotate(row, position);
  return row;
}

std::vector<std::vector<float>> ToyModel::RunLayers(Sequence& sequence, TaskRunner& tasks) const {
  const int tokens = sequence.step_tokens();
  const int size = kShape.head_size;
  const int half = size / 2;
  std::vector<float> cosine;
  std::vector<float> sine;
  LayerParameters parameters;
  parameters.scale = 1.0f / std::sqrt(static_cast<float>(size));
  if (rope_theta_ != 0) {
    for (int64_t position = 0; position < sequence.length() + tokens; ++position)
      for (int j = 0; j < half; ++j) {
        const double angle = static_cast<double>(position) *
                             std::pow(static_cast<double>(rope_theta_), -static_cast<double>(j) / half);
        cosine.push_back(static_cast<float>(std::cos(angle)));
        sine.push_back(static_cast<float>(std::sin(angle)));
      }
    parameters.rotary = {cosine.data(), sine.data(), sequence.length() + tokens, size};
  }
  parameters.window = window_;
  parameters.softcap = softcap_;
  parameters.sinks = sinks_.empty() ? nullptr : sinks_.data();
  std::vector<std::vector<float>> outputs;
  for (int layer = 0; layer < kShape.layers; ++layer) {
    std::vector<float> query;
    std::vector<float> key;
    std::vector<float> value;
    const auto append = [](std::vector<float>& to, const std::vector<float>& row) {
      to.insert(to.end(), row.begin(), row.end());
    };
    for (int t = 0; t < tokens; ++t) {
      const int64_t position = sequence.length() + t;
      for (int head = 0; head < kShape.query_heads; ++head) append(query, Row(2, layer, position, head));
      for (int head = 0; head < kShape.kv_heads; ++head) {
        append(key, Row(0, layer, position, head));
        append(value, Row(1, layer, position, head));
      }
    }
    std::vector<float> output(query.size());
    parameters.layer = layer;
    const LayerRows rows = {&sequence, query.data(), key.data(), value.data(), output.data()};
    LayerRun run;
    Status status = LayerRun::Begin(sequence, layer, &run);
    if (!status.ok()) return {};
    status = sequence.StepIsPrompt() ? RunPromptLayer(parameters, rows, prompt_kernel_, tasks)
                                     : RunDecodeLayer(parameters, {&rows, 1}, tasks);
    if (!status.ok()) return {};
    run.Complete();
    outputs.push_back(std::move(output));
  }
  return outputs;
}

std::vector<std::vector<float>> ToyModel::Step(Sequence& sequence, int tokens) const {
  const Status begun = sequence.BeginStep(tokens);
  EXPECT_TRUE(begun.ok()) << begun.message();
  if (!begun.ok()) return {};
  SerialTaskRunner tasks;
  auto outputs = RunLayers(sequence, tasks);
  EXPECT_EQ(outputs.size(), static_cast<size_t>(kShape.layers));
  const Status committed = sequence.CommitStep();
  EXPECT_TRUE(committed.ok()) << committed.message();
  return outputs;
}

std::vector<std::vector<float>> ToyModel::Prompt(Sequence& sequence, int tokens, int chunk) const {
  const Status opened = sequence.OpenSegment(tokens);
  EXPECT_TRUE(opened.ok()) << opened.message();
  std::vector<std::vector<float>> outputs(kShape.layers);
  for (int done = 0; done < tokens;) {
    const int now = chunk > 0 ? std::min(chunk, tokens - done) : tokens;
    const auto part = Step(sequence, now);
    for (size_t layer = 0; layer < part.size(); ++layer)
      outputs[layer].insert(outputs[layer].end(), part[layer].begin(), part[layer].end());
    done += now;
  }
  return outputs;
}

void ToyModel::Decode(Sequence& sequence, int steps) const {
  for (int i = 0; i < steps; ++i) Step(sequence, 1);
}

std::vector<double> ToyModel::Attend(const std::vector<float>& query, const float* keys, const float* values,
                                     int64_t count, double softcap, double sink) {
  const int size = kShape.head_size;
  std::vector<double> logits(count);
  for (int64_t t = 0; t < count; ++t)
    for (int j = 0; j < size; ++j)
      logits[t] += static_cast<double>(query[j]) * keys[t * size + j] / std::sqrt(static_cast<double>(size));
  if (softcap > 0)
    for (double& logit : logits) logit = softcap * std::tanh(logit / softcap);
  const double max = std::max(sink, *std::max_element(logits.begin(), logits.end()));
  std::vector<double> output(size);
  double sum = std::exp(sink - max);
  for (int64_t t = 0; t < count; ++t) {
    const double weight = std::exp(logits[t] - max);
    sum += weight;
    for (int j = 0; j < size; ++j) output[j] += weight * values[t * size + j];
  }
  for (double& x : output) x /= sum;
  return output;
}

ReadBack Read(Sequence& sequence, int layer, int kv_head) {
  kvp_sequence_info info;
  EXPECT_TRUE(sequence.GetInfo(&info).ok());
  ReadBack rows;
  rows.keys.resize(info.length * kShape.head_size);
  rows.values.resize(info.length * kShape.head_size);
  const Status status = sequence.ReadRows(layer, kv_head, info.length, rows.keys.data(), rows.values.data());
  EXPECT_TRUE(status.ok()) << status.message();
  rows.kept.resize(info.length);
  EXPECT_TRUE(sequence.ReadKept(layer, kv_head, info.length, rows.kept.data()).ok());
  return rows;
}

ReadBack SeenRows(const ReadBack& rows, int64_t first_seen) {
  ReadBack seen;
  for (auto token = first_seen; token < static_cast<int64_t>(rows.kept.size()); ++token) {
    if (rows.kept[token] == 0) continue;
    const auto first = token * kShape.head_size, end = first + kShape.head_size;
    seen.keys.insert(seen.keys.end(), rows.keys.begin() + first, rows.keys.begin() + end);
    seen.values.insert(seen.values.end(), rows.values.begin() + first, rows.values.begin() + end);
    seen.kept.push_back(1);
  }
  return seen;
}

std::shared_ptr<Sequence> NewSequence(const std::shared_ptr<Manager>& manager, const Policy& policy) {
  std::shared_ptr<Sequence> sequence;
  const Status status = Sequence::Create(manager, policy, &sequence);
  EXPECT_TRUE(status.ok()) << status.message();
  return sequence;
}

int64_t BytesInUse(const Manager& manager) {
  const MemoryAccount& account = *manager.account();
  return account.InUse(MemoryUse::kSealed) + account.InUse(MemoryUse::kTail) +
         account.InUse(MemoryUse::kStaging) + account.InUse(MemoryUse::kScratch);
}

std::shared_ptr<Manager> NewManager(int64_t byte_limit) {
  return std::make_shared<Manager>(kShape, byte_limit);
}

void ExpectSameCache(Sequence& actual, Sequence& expected) {
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      const ReadBack a = Read(actual, layer, head);
      const ReadBack b = Read(expected, layer, head);
      ASSERT_EQ(a.keys, b.keys) << "layer " << layer << " head " << head;
      ASSERT_EQ(a.values, b.values) << "layer " << layer << " head " << head;
    }
}

void ExpectDecodeMatchesRows(const ToyModel& model, Sequence& sequence, double tolerance) {
  std::vector<ReadBack> held;
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.kv_heads; ++head) {
      ReadBack rows = Read(sequence, layer, head);
      const auto key = model.Key(layer, sequence.length(), head);
      const auto value = model.Value(layer, sequence.length(), head);
      rows.keys.insert(rows.keys.end(), key.begin(), key.end());
      rows.values.insert(rows.values.end(), value.begin(), value.end());
      rows.kept.push_back(1);
      held.push_back(std::move(rows));
    }
  const auto outputs = model.Step(sequence, 1);
  const int64_t length = sequence.length();
  for (int layer = 0; layer < kShape.layers; ++layer)
    for (int head = 0; head < kShape.query_heads; ++head) {
      const ReadBack seen =
          SeenRows(held[layer * kShape.kv_heads + head / kShape.group()], length - model.Seen(length));
      const auto expected =
          ToyModel::Attend(model.Query(layer, length - 1, head), seen.keys.data(), seen.values.data(),
                           static_cast<int64_t>(seen.kept.size()), model.softcap(), model.Sink(head));
      double error = 0;
      double norm = 0;
      for (int j = 0; j < kShape.head_size; ++j) {
        error += std::pow(outputs[layer][head * kShape.head_size + j] - expected[j], 2);
        norm += std::pow(expected[j], 2);
      }
      EXPECT_LE(std::sqrt(error / norm), tolerance)
          << "length " << length << " layer " << layer << " head " << head;
    }
}

void ExpectPromptMatchesRows(const ToyModel& model, Sequence& sequence, int tokens, int chunk,
                             std::initializer_list<int> checked) {
  constexpr int kLayer = 1;
  std::vector<ReadBack> past;
  for (int head = 0; head < kShape.kv_heads; ++head) past.push_back(Read(sequence, kLayer, head));
  const int64_t start = sequence.length();
  const auto outputs = model.Prompt(sequence, tokens, chunk);
  for (const int token : checked)
    for (int head = 0; head < kShape.query_heads; ++head) {
      ReadBack rows = past[head / kShape.group()];
      for (int64_t t = start; t <= start + token; ++t) {
        const auto key = model.Key(kLayer, t, head / kShape.group());
        const auto value = model.Value(kLayer, t, head / kShape.group());
        rows.keys.insert(rows.keys.end(), key.begin(), key.end());
        rows.values.insert(rows.values.end(), value.begin(), value.end());
        rows.kept.push_back(1);
      }
      const int64_t length = start + token + 1;
      const ReadBack seen = SeenRows(rows, length - model.Seen(length));
      const auto expected = ToyModel::Attend(model.Query(kLayer, length - 1, head), seen.keys.data(),
                                             seen.values.data(), static_cast<int64_t>(seen.kept.size()));
      double error = 0;
      double norm = 0;
      for (int j = 0; j < kShape.head_size; ++j) {
        const auto at = (static_cast<int64_t>(token) * kShape.query_heads + head) * kShape.head_size + j;
        error += std::pow(outputs[kLayer][at] - expected[j], 2);
        norm += std::pow(expected[j], 2);
      }
      EXPECT_LE(std::sqrt(error / norm), 2e-5) << "token " << token << " head " << head;
    }
}

}  // namespace kvprune::test
