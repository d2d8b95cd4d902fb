#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <vector>

#include "api/kvprune.h"

namespace {

constexpr kvp_model_shape kShape = {2, 4, 2, 32, 4096};
constexpr kvp_policy kPolicy = {.key_storage = KVP_STORAGE_INT8,
                                .value_storage = KVP_STORAGE_INT8,
                                .key_channel_sparsity = 0.4f,
                                .value_sparsity = 0.7f,
                                .recent_window = 32,
                                .observation_window = 32};

class Abi : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(kvp_manager_create(&kShape, 0, &manager_), KVP_OK); }
  void TearDown() override { kvp_manager_destroy(manager_); }
  kvp_manager* manager_ = nullptr;
};

TEST_F(Abi, HandlesGoStaleForGood) {
  int64_t first = 0;
  ASSERT_EQ(kvp_sequence_create(manager_, &kPolicy, &first), KVP_OK);
  EXPECT_GT(first, 0);
  ASSERT_EQ(kvp_sequence_release(first), KVP_OK);
  int64_t second = 0;
  ASSERT_EQ(kvp_sequence_create(manager_, &kPolicy, &second), KVP_OK);
  EXPECT_NE(first, second) << "the slot is used again, the handle is not";
  kvp_sequence_info info;
  for (const int64_t handle :
       {first, int64_t{0}, int64_t{-1}, std::numeric_limits<int64_t>::max(), second + 1}) {
    EXPECT_EQ(kvp_sequence_get_info(handle, &info), KVP_STALE_HANDLE) << handle;
    EXPECT_EQ(kvp_sequence_release(handle), KVP_STALE_HANDLE) << handle;
    EXPECT_EQ(kvp_sequence_rewind(handle, 0), KVP_STALE_HANDLE) << handle;
    EXPECT_NE(std::strstr(kvp_last_error(), std::to_string(handle).c_str()), nullptr) << kvp_last_error();
  }
  EXPECT_EQ(kvp_sequence_release(second), KVP_OK);
}

TEST_F(Abi, KeptTokensAreReadWhereTheyExist) {
  int64_t handle = 0;
  ASSERT_EQ(kvp_sequence_create(manager_, &kPolicy, &handle), KVP_OK);
  uint8_t kept = 2;
  EXPECT_EQ(kvp_sequence_kept(handle, 1, 1, 0, &kept), KVP_OK);
  EXPECT_EQ(kept, 2) << "an empty sequence has none";
  EXPECT_EQ(kvp_sequence_kept(handle, 1, 1, 1, &kept), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_sequence_kept(handle, 2, 0, 0, &kept), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_sequence_kept(handle, 0, 2, 0, &kept), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_sequence_kept(handle, 0, 0, 0, nullptr), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_sequence_release(handle), KVP_OK);
  EXPECT_EQ(kvp_sequence_kept(handle, 0, 0, 0, &kept), KVP_STALE_HANDLE);
}

TEST_F(Abi, BeginTakesAllSequencesOrNone) {
  int64_t handles[3];
  for (int64_t& handle : handles) ASSERT_EQ(kvp_sequence_create(manager_, &kPolicy, &handle), KVP_OK);
  const int32_t ones[] = {1, 1, 1};
  const int64_t twice[] = {handles[0], handles[1], handles[0]};
  EXPECT_EQ(kvp_step_begin(twice, ones, 3), KVP_BUSY);
  EXPECT_EQ(kvp_step_begin(handles, ones, 3), KVP_OK) << "the failed begin left no step open";
  EXPECT_EQ(kvp_sequence_release(handles[1]), KVP_BUSY);
  EXPECT_EQ(kvp_step_commit(handles, 3), KVP_INVALID_STATE) << "no layer has run";
  EXPECT_EQ(kvp_step_rollback(handles, 3), KVP_OK);
  EXPECT_EQ(kvp_step_begin(handles, ones, 0), KVP_INVALID_ARGUMENT);
  for (const int64_t handle : handles) EXPECT_EQ(kvp_sequence_release(handle), KVP_OK);
}

TEST_F(Abi, NamesBadPoliciesAndShapes) {
  int64_t handle = 0;
  const auto refused = [&](auto change, const char* name) {
    kvp_policy policy = kPolicy;
    change(policy);
    EXPECT_EQ(kvp_sequence_create(manager_, &policy, &handle), KVP_INVALID_ARGUMENT) << name;
    EXPECT_NE(std::strstr(kvp_last_error(), name), nullptr) << kvp_last_error();
  };
  refused([](kvp_policy& p) { p.key_channel_sparsity = 1; }, "key_channel_sparsity");
  refused([](kvp_policy& p) { p.key_sparsity = -0.1f; }, "key_sparsity");
  refused([](kvp_policy& p) { p.value_sparsity = std::numeric_limits<float>::quiet_NaN(); },
          "value_sparsity");
  refused([](kvp_policy& p) { p.recent_window = -1; }, "recent_window");
  refused([](kvp_policy& p) { p.observation_window = 0; }, "observation_window");
  refused([](kvp_policy& p) { p.key_storage = 9; }, "key_storage");

  kvp_manager* manager = nullptr;
  kvp_model_shape shape = kShape;
  shape.query_heads = 5;
  EXPECT_EQ(kvp_manager_create(&shape, 0, &manager), KVP_INVALID_ARGUMENT);
  shape = kShape;
  shape.head_size = 33;
  EXPECT_EQ(kvp_manager_create(&shape, 0, &manager), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_manager_create(&kShape, -1, &manager), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_manager_create(nullptr, 0, &manager), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_manager_create(&kShape, 0, nullptr), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(manager, nullptr);
}

TEST_F(Abi, CountsThatWouldOverflowAreRefused) {
  kvp_model_shape shape = {512, 8192, 512, 256, INT64_MAX};
  kvp_manager* manager = nullptr;
  EXPECT_EQ(kvp_manager_create(&shape, 0, &manager), KVP_INVALID_ARGUMENT);
  shape.max_tokens = INT32_MAX;
  kvp_estimate estimate;
  kvp_policy policy = kPolicy;
  policy.recent_window = 1 << 20;
  ASSERT_EQ(kvp_estimate_bytes(&shape, &policy, INT32_MAX, INT32_MAX, 512, 0, &estimate), KVP_OK);
  EXPECT_GT(estimate.resident_bytes, int64_t{1} << 50);
  EXPECT_GT(estimate.prefill_peak_bytes, estimate.resident_bytes / 4);
  EXPECT_EQ(kvp_estimate_bytes(&shape, &policy, int64_t{1} << 31, 0, 0, 0, &estimate), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_estimate_bytes(&shape, &policy, 1, 0, 0, -1, &estimate), KVP_INVALID_ARGUMENT);
}

TEST_F(Abi, PoliciesThatWeighValuesNeedEveryLayersProjection) {
  kvp_policy policy = kPolicy;
  policy.value_score = KVP_VALUE_OUTPUT_WEIGHT;
  int64_t handle = 0;
  const auto refused = [&](const char* words) {
    EXPECT_EQ(kvp_sequence_create(manager_, &policy, &handle), KVP_INVALID_STATE);
    EXPECT_NE(std::strstr(kvp_last_error(), words), nullptr) << kvp_last_error();
  };
  refused("layer 0");
  std::vector<float> gram(size_t{2} * 32 * 32, 0.5f);
  const auto count = static_cast<int64_t>(gram.size());
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 2, gram.data(), count), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, -1, gram.data(), count), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 0, gram.data(), count - 1), KVP_INVALID_ARGUMENT);
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 0, nullptr, count), KVP_INVALID_ARGUMENT);
  gram[5] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 0, gram.data(), count), KVP_INVALID_ARGUMENT);
  gram[5] = 0;
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 0, gram.data(), count), KVP_OK);
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 0, gram.data(), count), KVP_INVALID_STATE);
  refused("layer 1");
  EXPECT_EQ(kvp_manager_set_output_gram(manager_, 1, gram.data(), count), KVP_OK);
  kvp_manager_statistics statistics;
  ASSERT_EQ(kvp_manager_get_statistics(manager_, &statistics), KVP_OK);
  EXPECT_EQ(statistics.weight_bytes, 2 * count * 4);
  EXPECT_EQ(statistics.peak_bytes, 0) << "the limit and the peak are those of sequences";
  ASSERT_EQ(kvp_sequence_create(manager_, &policy, &handle), KVP_OK) << kvp_last_error();
  EXPECT_EQ(kvp_sequence_release(handle), KVP_OK);
}

TEST_F(Abi, SequencesOutliveTheirManager) {
  kvp_manager* manager = nullptr;
  ASSERT_EQ(kvp_manager_create(&kShape, 0, &manager), KVP_OK);
  int64_t handle = 0;
  ASSERT_EQ(kvp_sequence_create(manager, &kPolicy, &handle), KVP_OK);
  kvp_manager_destroy(manager);
  EXPECT_EQ(kvp_sequence_open_segment(handle, 10), KVP_OK);
  EXPECT_EQ(kvp_sequence_release(handle), KVP_OK);
}

TEST(Kernels, UnknownNamesAreRefused) {
  const std::string before = kvp_kernels();
  EXPECT_EQ(kvp_use_kernels("abacus"), KVP_UNSUPPORTED);
  EXPECT_EQ(kvp_kernels(), before);
}

}  // namespace
