#include <gtest/gtest.h>

#include <cmath>

#include "cache/model_fixture.h"

namespace kvprune::test {
namespace {

Policy Named(Storage storage, float key_channels, float keys, float values, int recent = 32,
             int observation = 32) {
  return {storage, storage, key_channels, keys, values, recent, observation};
}

// The managed side's presets, every storage, and windows that differ from one another.
std::vector<Policy> Policies() {
  return {ExactPolicy(),
          Named(Storage::kBFloat16, 0, 0, 0),
          Named(Storage::kInt8, 0, 0, 0),
          Named(Storage::kInt8, 0.4f, 0, 0),
          Named(Storage::kInt8, 0.4f, 0, 0.7f),
          Named(Storage::kInt4, 0.25f, 0, 0),
          Named(Storage::kFloat16, 0, 0.5f, 0.5f),
          MixedPolicy(),
          Named(Storage::kInt8, 0.4f, 0.25f, 0.7f, 0, 5),
          Named(Storage::kBFloat16, 0.6f, 0, 0, 100, 200)};
}

// Announces and reads a segment that stays dense.
void ReadDeferred(const ToyModel& model, Sequence& sequence, int tokens, const std::vector<Policy>& policies,
                  int chunk = 0, int probe_tokens = 0) {
  const Status opened = sequence.OpenDeferredSegment(tokens, policies, probe_tokens);
  ASSERT_TRUE(opened.ok()) << opened.message();
  for (int done = 0; done < tokens;) {
    const int now = chunk > 0 ? std::min(chunk, tokens - done) : tokens;
    model.Step(sequence, now);
    done += now;
  }
}

std::shared_ptr<Sequence> Seal(Sequence& sequence, const Policy& policy) {
  std::shared_ptr<Sequence> sealed;
  const Status status = sequence.SealAs(policy, &sealed);
  EXPECT_TRUE(status.ok()) << status.message();
  return sealed;
}

kvp_sequence_info Info(Sequence& sequence) {
  kvp_sequence_info info;
  EXPECT_TRUE(sequence.GetInfo(&info).ok());
  return info;
}

// Equal rows, lengths and bytes, equal outputs of what is decoded next, and back again by the checkpoint.
// `tails`: dense tails that `expected` holds, its own and those of earlier checkpoints.
void ExpectSameSequence(const ToyModel& model, Sequence& actual, Sequence& expected, int tails = 1) {
  ExpectSameCache(actual, expected);
  const kvp_sequence_info a = Info(actual);
  const kvp_sequence_info b = Info(expected);
  EXPECT_EQ(a.length, b.length);
  EXPECT_EQ(a.sealed_tokens, b.sealed_tokens);
  EXPECT_EQ(a.open_segment_tokens, 0);
  EXPECT_EQ(a.sealed_bytes, b.sealed_bytes);
  EXPECT_EQ(tails * a.tail_bytes, b.tail_bytes);
  EXPECT_EQ(a.staging_bytes, 0);
  for (int i = 0; i < 70; ++i)
    ASSERT_EQ(model.Step(actual, 1), model.Step(expected, 1)) << "decoded token " << i;
  EXPECT_EQ(Info(actual).sealed_bytes, Info(expected).sealed_bytes);
  for (Sequence* sequence : {&actual, &expected}) ASSERT_TRUE(sequence->Rewind(b.length).ok());
  ExpectSameCache(actual, expected);
}

class DeferredLengths : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(TileAndWindowBorders, DeferredLengths, testing::Values(1, 64, 95, 96, 230));

TEST_P(DeferredLengths, SealingLaterIsAsReadingUnderThePolicy) {
  const ToyModel model(7, 10000.0f);
  const auto manager = NewManager();
  for (const int chunk : {0, 50}) {
    const auto source = NewSequence(manager, ExactPolicy());
    ReadDeferred(model, *source, GetParam(), Policies(), chunk);
    for (const Policy& policy : chunk == 0 ? Policies() : std::vector{MixedPolicy()}) {
      const auto sealed = Seal(*source, policy);
      const auto expected = NewSequence(manager, policy);
      model.Prompt(*expected, GetParam(), chunk);
      ExpectSameSequence(model, *sealed, *expected);
    }
  }
}

TEST_P(DeferredLengths, AfterASealedSegmentToo) {
  const ToyModel model(8, 10000.0f);
  const auto manager = NewManager();
  for (const Policy& policy : {MixedPolicy(), Named(Storage::kBFloat16, 0.6f, 0, 0, 100, 200)}) {
    const auto source = NewSequence(manager, policy);
    const auto expected = NewSequence(manager, policy);
    for (Sequence* sequence : {source.get(), expected.get()}) {
      model.Prompt(*sequence, 150);
      model.Decode(*sequence, 20);
    }
    ReadDeferred(model, *source, GetParam(), {{policy}}, 70);
    model.Prompt(*expected, GetParam(), 70);
    const auto sealed = Seal(*source, policy);
    ExpectSameSequence(model, *sealed, *expected, 2);
    EXPECT_EQ(sealed->Rewind(100).code(), KVP_NOT_REWINDABLE);
  }
}

TEST_P(DeferredLengths, FilledRowsAreAsThoseThatWereRead) {
  const ToyModel model(9);
  const auto manager = NewManager();
  const int tokens = GetParam();
  const auto read = NewSequence(manager, MixedPolicy());
  const auto filled = NewSequence(manager, MixedPolicy());
  for (Sequence* sequence : {read.get(), filled.get()}) model.Prompt(*sequence, 100);
  ReadDeferred(model, *read, tokens, Policies());
  ASSERT_TRUE(filled->OpenDeferredSegment(tokens, Policies(), 0).ok());
  for (int layer = kShape.layers - 1; layer >= 0; --layer) {
    EXPECT_EQ(filled->length(), 100);
    std::vector<float> keys;
    std::vector<float> values;
    std::vector<float> queries;
    const auto append = [](std::vector<float>& to, const std::vector<float>& row) {
      to.insert(to.end(), row.begin(), row.end());
    };
    for (int head = 0; head < kShape.kv_heads; ++head)
      for (int t = 0; t < tokens; ++t) {
        append(keys, model.Key(layer, 100 + t, head));
        append(values, model.Value(layer, 100 + t, head));
      }
    for (int t = 0; t < tokens; ++t)
      for (int head = 0; head < kShape.query_heads; ++head)
        append(queries, model.Query(layer, 100 + t, head));
    const Status status = filled->Fill(layer, tokens, keys.data(), values.data(), queries.data(), tokens);
    ASSERT_TRUE(status.ok()) << status.message();
  }
  ExpectSameCache(*filled, *read);
  for (const Policy& policy : Policies()) {
    const auto sealed = Seal(*filled, policy);
    const auto expected = Seal(*read, policy);
    ExpectSameCache(*sealed, *expected);
  }
}

TEST(Deferred, PoliciesThatNeedMoreThanWasKeptAreRefused) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto source = NewSequence(manager, MixedPolicy());  // its own needs count for nothing
  ReadDeferred(model, *source, 100,
               {Named(Storage::kInt8, 0.4f, 0, 0, 32, 16), Named(Storage::kInt8, 0, 0, 0, 32, 90)});
  std::shared_ptr<Sequence> sealed;
  const Status status = source->SealAs(Named(Storage::kInt8, 0.4f, 0, 0, 32, 17), &sealed);
  EXPECT_EQ(status.code(), KVP_INVALID_STATE);
  EXPECT_NE(status.message().find("last 17 queries"), std::string::npos) << status.message();
  EXPECT_NE(status.message().find("16 were kept"), std::string::npos) << status.message();
  EXPECT_EQ(sealed, nullptr);
  Seal(*source, Named(Storage::kInt8, 0.4f, 0, 0, 32, 16));
  Seal(*source, Named(Storage::kInt8, 0, 0, 0.7f, 32, 90));

  // A window longer than the segment is the segment.
  const auto shorter = NewSequence(manager, ExactPolicy());
  ReadDeferred(model, *shorter, 16, {Named(Storage::kInt8, 0.4f, 0, 0, 0, 16)});
  Seal(*shorter, Named(Storage::kInt8, 0.4f, 0, 0, 0, 500));
}

TEST(Deferred, SequencesOutliveTheirSource) {
  const ToyModel model;
  const auto manager = NewManager();
  auto source = NewSequence(manager, ExactPolicy());
  ReadDeferred(model, *source, 300, {{MixedPolicy()}});
  const auto sealed = Seal(*source, MixedPolicy());
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 300);
  source.reset();
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kStaging), 0);
  ExpectSameSequence(model, *sealed, *expected);
}

TEST(Deferred, TheSourceIsUnchanged) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto source = NewSequence(manager, ExactPolicy());
  model.Prompt(*source, 100);
  ReadDeferred(model, *source, 200, {{MixedPolicy()}});
  const ReadBack before = Read(*source, 1, 1);
  const int64_t bytes = BytesInUse(*manager);
  auto sealed = Seal(*source, MixedPolicy());
  model.Decode(*sealed, 100);
  sealed.reset();
  EXPECT_EQ(BytesInUse(*manager), bytes);
  EXPECT_EQ(Read(*source, 1, 1).keys, before.keys);
  EXPECT_EQ(Read(*source, 1, 1).values, before.values);

  // Dropping the segment leaves what was there before it.
  ASSERT_TRUE(source->Rewind(100).ok());
  const auto expected = NewSequence(manager, ExactPolicy());
  model.Prompt(*expected, 100);
  ExpectSameSequence(model, *source, *expected);
}

TEST(Deferred, RefusesWhatDoesNotFitItsState) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  const std::vector<float> rows(kShape.kv_heads * 100 * kShape.head_size);
  std::shared_ptr<Sequence> sealed;
  const auto refused = [&](kvp_status code, const char* reason, const Status& status) {
    EXPECT_EQ(status.code(), code) << reason;
    EXPECT_NE(status.message().find(reason), std::string::npos) << status.message();
  };
  const auto fill = [&](int layer, int64_t tokens) {
    return sequence->Fill(layer, tokens, rows.data(), rows.data(), nullptr, 0);
  };
  refused(KVP_INVALID_STATE, "no deferred segment", sequence->SealAs(MixedPolicy(), &sealed));
  refused(KVP_INVALID_STATE, "no deferred segment", sequence->BeginProbe(1));
  refused(KVP_INVALID_STATE, "no deferred segment", fill(0, 100));
  refused(KVP_INVALID_ARGUMENT, "at least one token", sequence->OpenDeferredSegment(0, {}, 0));
  refused(KVP_INVALID_ARGUMENT, "-1 tokens", sequence->OpenDeferredSegment(10, {}, -1));
  ASSERT_TRUE(sequence->OpenSegment(10).ok());
  refused(KVP_INVALID_STATE, "no deferred segment", sequence->SealAs(MixedPolicy(), &sealed));
  refused(KVP_INVALID_STATE, "open already", sequence->OpenDeferredSegment(10, {}, 0));
  model.Step(*sequence, 10);

  ASSERT_TRUE(sequence->OpenDeferredSegment(100, {{MixedPolicy()}}, 0).ok());
  refused(KVP_INVALID_ARGUMENT, "99 rows", fill(0, 99));
  refused(KVP_INVALID_ARGUMENT, "layer 2", fill(2, 100));
  refused(KVP_INVALID_ARGUMENT, "last 32 tokens", fill(0, 100));
  refused(KVP_INVALID_STATE, "100 of its tokens", sequence->SealAs(MixedPolicy(), &sealed));
  model.Step(*sequence, 60);
  refused(KVP_INVALID_STATE, "40 of its tokens", sequence->SealAs(MixedPolicy(), &sealed));
  refused(KVP_INVALID_STATE, "40 of its tokens", sequence->BeginProbe(1));
  refused(KVP_INVALID_STATE, "read already", fill(0, 100));
  refused(KVP_NOT_REWINDABLE, "inside the open segment", sequence->Rewind(70));
  ASSERT_TRUE(sequence->BeginStep(40).ok());
  refused(KVP_BUSY, "open step", sequence->SealAs(MixedPolicy(), &sealed));
  ASSERT_TRUE(sequence->RollbackStep().ok());
  model.Step(*sequence, 40);
  refused(KVP_INVALID_STATE, "is full", sequence->BeginStep(1));
  refused(KVP_INVALID_ARGUMENT, "at most 0", sequence->BeginProbe(1));
  std::shared_ptr<Sequence> fork;
  refused(KVP_INVALID_STATE, "segment is open", sequence->Fork(&fork));
  refused(KVP_INVALID_STATE, "segment is open", sequence->Checkpoint());
  refused(KVP_NOT_REWINDABLE, "inside the open segment", sequence->Rewind(110));
  ASSERT_TRUE(sequence->Close().ok());
  refused(KVP_STALE_HANDLE, "released", sequence->SealAs(MixedPolicy(), &sealed));

  const auto half = NewSequence(NewManager(), ExactPolicy());
  ASSERT_TRUE(half->OpenDeferredSegment(100, {}, 0).ok());
  ASSERT_TRUE(half->Fill(1, 100, rows.data(), rows.data(), nullptr, 0).ok());
  refused(KVP_INVALID_STATE, "without a step", half->BeginStep(100));
  refused(KVP_INVALID_STATE, "100 of its tokens", half->SealAs(ExactPolicy(), &sealed));
  ASSERT_TRUE(half->Rewind(0).ok());
  model.Prompt(*half, 100);
}

TEST(Deferred, RollingBackAStepKeepsTheStepsBeforeIt) {
  const ToyModel model;
  const auto manager = NewManager();
  const auto sequence = NewSequence(manager, MixedPolicy());
  SerialTaskRunner tasks;
  ASSERT_TRUE(sequence->OpenDeferredSegment(150, {{MixedPolicy()}}, 0).ok());
  const auto abandon = [&](int tokens) {
    ASSERT_TRUE(sequence->BeginStep(tokens).ok());
    ToyModel(99).RunLayers(*sequence, tasks);
    ASSERT_TRUE(sequence->RollbackStep().ok());
  };
  abandon(150);
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kStaging), 0);
  model.Step(*sequence, 100);
  abandon(20);
  abandon(50);
  model.Step(*sequence, 50);
  const auto sealed = Seal(*sequence, MixedPolicy());
  const auto expected = NewSequence(manager, MixedPolicy());
  model.Prompt(*expected, 150, 100);
  ExpectSameSequence(model, *sealed, *expected);
}

TEST(Deferred, RowsCountAsStagingAndTheLimitHolds) {
  RowsOnlyKernel kernel;
  ToyModel model;
  model.UsePromptKernel(&kernel);
  const auto manager = NewManager();
  const auto source = NewSequence(manager, ExactPolicy());
  ReadDeferred(model, *source, 300, {{MixedPolicy()}}, 0, 20);
  const int64_t row_bytes = kShape.layers * kShape.head_size * static_cast<int64_t>(sizeof(float));
  // Rows, the queries of the window with a number each, and a sink per query head.
  const int64_t record_bytes = (kShape.query_heads * (32 * (kShape.head_size + 1) + 1) * 4 + 63) / 64 * 64;
  EXPECT_EQ(Info(*source).staging_bytes,
            row_bytes * 2 * kShape.kv_heads * 320 + kShape.layers * record_bytes);
  EXPECT_EQ(manager->account()->InUse(MemoryUse::kStaging), Info(*source).staging_bytes);
  const int64_t held = BytesInUse(*manager);
  auto sealed = Seal(*source, MixedPolicy());
  const int64_t needed = BytesInUse(*manager);
  EXPECT_GT(needed, held);
  EXPECT_EQ(manager->account()->Peak(), needed);

  const auto limited = NewManager(needed - 1);
  const auto tight = NewSequence(limited, ExactPolicy());
  ReadDeferred(model, *tight, 300, {{MixedPolicy()}}, 0, 20);
  std::shared_ptr<Sequence> refused;
  EXPECT_EQ(tight->SealAs(MixedPolicy(), &refused).code(), KVP_OUT_OF_MEMORY);
  EXPECT_EQ(BytesInUse(*limited), held);
  EXPECT_EQ(limited->sequences(), 1);
  const auto small = NewManager(held - 1);
  const auto unread = NewSequence(small, ExactPolicy());
  ASSERT_TRUE(unread->OpenDeferredSegment(300, {{MixedPolicy()}}, 20).ok());
  EXPECT_EQ(unread->BeginStep(300).code(), KVP_OUT_OF_MEMORY);
  EXPECT_EQ(small->account()->InUse(MemoryUse::kStaging), 0);
}

TEST(Deferred, RowsThatAreNotFiniteAreRefusedByName) {
  const auto sequence = NewSequence(NewManager(), ExactPolicy());
  const ToyModel model;
  model.Prompt(*sequence, 20);
  ASSERT_TRUE(sequence->OpenDeferredSegment(70, {}, 0).ok());
  std::vector<float> keys(kShape.kv_heads * 70 * kShape.head_size, 1.0f);
  std::vector<float> values = keys;
  values[(70 + 69) * kShape.head_size + 31] = -INFINITY;
  Status status = sequence->Fill(1, 70, keys.data(), values.data(), nullptr, 0);
  EXPECT_EQ(status.code(), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(status.message(), "layer 1: the value of token 89 is not a finite number");
  keys[5 * kShape.head_size] = NAN;
  status = sequence->Fill(1, 70, keys.data(), values.data(), nullptr, 0);
  EXPECT_EQ(status.message(), "layer 1: the key of token 25 is not a finite number");
  EXPECT_EQ(sequence->length(), 20);
}

TEST(Rewind, ToTheMiddleOfAnOpenSegmentIsRefused) {
  const ToyModel model;
  const auto sequence = NewSequence(NewManager(), MixedPolicy());
  ASSERT_TRUE(sequence->OpenSegment(100).ok());
  model.Step(*sequence, 60);
  for (const int length : {30, 60}) EXPECT_EQ(sequence->Rewind(length).code(), KVP_NOT_REWINDABLE) << length;
  model.Step(*sequence, 40);
  const auto expected = NewSequence(NewManager(), MixedPolicy());
  model.Prompt(*expected, 100, 60);
  ExpectSameCache(*sequence, *expected);
}

}  // namespace
}  // namespace kvprune::test
