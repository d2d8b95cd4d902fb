#include "pruning/expected_attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/fixture.h"
#include "pruning/head_case.h"
#include "pruning/value_norms.h"

namespace kvprune {
namespace {

class ExpectedAttentionTest : public KernelTest {};
KVPRUNE_ALL_KERNELS(ExpectedAttentionTest);

// Means of several units, as query biases give, beside a spread of one.
std::vector<float> BiasedQueries(int64_t count, int width, std::mt19937* random) {
  std::vector<float> queries = RandomFloats(static_cast<size_t>(count * width), random);
  const std::vector<float> bias = RandomFloats(static_cast<size_t>(width), random, 30);
  for (size_t i = 0; i < queries.size(); ++i) queries[i] += bias[i % static_cast<size_t>(width)];
  return queries;
}

struct Statistics {
  std::vector<double> mean;
  std::vector<double> covariance;
};

Statistics Expected(const std::vector<float>& queries, int width) {
  const size_t count = queries.size() / static_cast<size_t>(width);
  Statistics result{std::vector<double>(width), std::vector<double>(width * width)};
  for (size_t n = 0; n < count; ++n)
    for (int j = 0; j < width; ++j) result.mean[j] += static_cast<double>(queries[n * width + j]) / count;
  for (size_t n = 0; n < count; ++n)
    for (int i = 0; i < width; ++i)
      for (int j = 0; j < width; ++j)
        result.covariance[i * width + j] +=
            (queries[n * width + i] - result.mean[i]) * (queries[n * width + j] - result.mean[j]) / count;
  return result;
}

TEST_P(ExpectedAttentionTest, StatisticsAreThoseOfAllChunks) {
  std::mt19937 random(1);
  for (const int width : {64, 80, 128})
    for (const int64_t count : {1, 33, 64, 65, 301}) {
      const auto queries = BiasedQueries(count, width, &random);
      std::vector<float> storage(static_cast<size_t>(QueryStatistics::Floats(width)), 0.0f);
      QueryStatistics statistics(storage.data(), width);
      for (int64_t first = 0; first < count; first += 90)
        statistics.Add(queries.data() + first * width, width, std::min<int64_t>(90, count - first));
      ASSERT_EQ(statistics.count(), count);
      Statistics found{std::vector<double>(width), std::vector<double>(width * width)};
      statistics.Read(found.mean.data(), found.covariance.data());
      const Statistics expected = Expected(queries, width);
      for (int j = 0; j < width; ++j) ASSERT_NEAR(found.mean[j], expected.mean[j], 2e-5) << j;
      for (int j = 0; j < width * width; ++j)
        ASSERT_NEAR(found.covariance[j], expected.covariance[j], 2e-5) << width << " " << count << " " << j;
    }
}

TEST(QueryStatisticsTest, NoQueriesHaveNoMean) {
  std::vector<float> storage(static_cast<size_t>(QueryStatistics::Floats(64)), 0.0f);
  Statistics found{std::vector<double>(64, 1), std::vector<double>(64 * 64, 1)};
  QueryStatistics(storage.data(), 64).Read(found.mean.data(), found.covariance.data());
  EXPECT_EQ(found.mean, std::vector<double>(64, 0));
  EXPECT_EQ(found.covariance, std::vector<double>(64 * 64, 0));
}

// The averaged rotation as an explicit matrix.
Matrix MeanRotation(const RotaryRows& rotary, int64_t first, int64_t end, int width) {
  Matrix rotation(width, std::vector<double>(width, 0.0));
  for (int j = rotary.rotary_size; j < width; ++j) rotation[j][j] = 1;
  const int half = rotary.rotary_size / 2;
  for (int64_t p = first; p < end; ++p)
    for (int pair = 0; pair < half; ++pair) {
      const int real = rotary.interleaved ? 2 * pair : pair;
      const int imaginary = rotary.interleaved ? 2 * pair + 1 : pair + half;
      const double cosine = rotary.cosine[p * half + pair] / static_cast<double>(end - first);
      const double sine = rotary.sine[p * half + pair] / static_cast<double>(end - first);
      rotation[real][real] += cosine;
      rotation[real][imaginary] -= sine;
      rotation[imaginary][real] += sine;
      rotation[imaginary][imaginary] += cosine;
    }
  return rotation;
}

TEST(RotateAheadTest, IsTheAverageOverTheNextPositionsThatTheTableHas) {
  std::mt19937 random(2);
  const int width = 24;
  for (const int rotary_size : {24, 16})
    for (const bool interleaved : {false, true})
      for (const auto& [position, first, end] : std::vector<std::tuple<int64_t, int64_t, int64_t>>{
               {10, 10, 522}, {300, 300, 700}, {699, 699, 700}, {700, 699, 700}, {9000, 699, 700}}) {
        std::vector<float> cosine(700 * rotary_size / 2);
        std::vector<float> sine(cosine.size());
        for (size_t i = 0; i < cosine.size(); ++i) {
          const double angle =
              static_cast<double>(i / (rotary_size / 2)) *
              std::pow(100.0, -2.0 * static_cast<double>(i % (rotary_size / 2)) / rotary_size);
          cosine[i] = static_cast<float>(std::cos(angle));
          sine[i] = static_cast<float>(std::sin(angle));
        }
        const RotaryRows rotary{cosine.data(), sine.data(), 700, rotary_size, interleaved};
        const Statistics before = Expected(BiasedQueries(40, width, &random), width);
        Statistics after = before;
        RotateAhead(rotary, position, width, after.mean.data(), after.covariance.data());
        const Matrix rotation = MeanRotation(rotary, first, end, width);
        for (int i = 0; i < width; ++i) {
          double mean = 0;
          for (int j = 0; j < width; ++j) mean += rotation[i][j] * before.mean[j];
          ASSERT_NEAR(after.mean[i], mean, 1e-9);
          for (int j = 0; j < width; ++j) {
            double sum = 0;
            for (int a = 0; a < width; ++a)
              for (int b = 0; b < width; ++b)
                sum += rotation[i][a] * before.covariance[a * width + b] * rotation[j][b];
            ASSERT_NEAR(after.covariance[i * width + j], sum, 1e-9);
          }
        }
      }
}

TEST(RotateAheadTest, LayersWithoutRotaryCachesStayAsTheyAre) {
  std::mt19937 random(3);
  const Statistics before = Expected(BiasedQueries(40, 16, &random), 16);
  Statistics after = before;
  RotateAhead({}, 5, 16, after.mean.data(), after.covariance.data());
  EXPECT_EQ(after.mean, before.mean);
  EXPECT_EQ(after.covariance, before.covariance);
}

std::vector<double> ExpectedHead(const HeadCase& head, const Statistics& statistics) {
  const int width = head.head_size;
  std::vector<double> weights(static_cast<size_t>(head.tokens));
  double sum = 0;
  for (int64_t t = 0; t < head.tokens; ++t) {
    const float* key = head.keys.data() + t * width;
    double z = 0;
    for (int i = 0; i < width; ++i) {
      z += head.scale * statistics.mean[i] * key[i];
      for (int j = 0; j < width; ++j)
        z += head.scale * head.scale / 2 * key[i] * statistics.covariance[i * width + j] * key[j];
    }
    sum += weights[t] = std::exp(z);
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

TEST_P(ExpectedAttentionTest, ScoresFollowTheClosedForm) {
  std::mt19937 random(4);
  int turn = 0;
  for (const int64_t tokens : BorderLengths(&random)) {
    const int group = std::vector<int>{1, 4, 7}[turn % 3];
    const int width = std::vector<int>{64, 80, 128}[turn++ / 3 % 3];
    const HeadCase head(tokens, 1, group, width, &random);
    std::vector<double> attention(static_cast<size_t>(tokens), 0.0);
    std::vector<double> logits(attention.size());
    std::vector<double> expected(attention.size(), 0.0);
    for (int g = 0; g < group; ++g) {
      const Statistics statistics = Expected(RandomFloats(static_cast<size_t>(50 * width), &random), width);
      AddExpectedAttention(head.Keys(), width, head.scale, statistics.mean.data(),
                           statistics.covariance.data(), logits.data(), attention.data());
      const auto weights = ExpectedHead(head, statistics);
      for (int64_t t = 0; t < tokens; ++t) expected[t] += weights[t] / group;
    }
    std::vector<float> norms(attention.size());
    std::vector<float> scores(attention.size());
    ASSERT_TRUE(ValueNorms(head.Values(), width, norms.data()).ok());
    ASSERT_TRUE(ExpectedScores(attention.data(), norms.data(), tokens, group, scores.data()).ok());
    for (int64_t t = 0; t < tokens; ++t) {
      double squares = 0;
      for (int j = 0; j < width; ++j)
        squares += static_cast<double>(head.values[t * width + j]) * head.values[t * width + j];
      const double score = expected[t] * std::sqrt(squares);
      ASSERT_NEAR(scores[t], score, 2e-5 * score) << tokens << " " << t;
    }
  }
}

TEST_P(ExpectedAttentionTest, OutputNormsAreThoseOfTheProjectedValues) {
  std::mt19937 random(5);
  const int hidden = 37;
  for (const int group : {1, 4, 7})
    for (const int width : {64, 80, 128}) {
      const HeadCase head(97, 1, group, width, &random);
      const auto weights = RandomFloats(static_cast<size_t>(group * hidden * width), &random);
      std::vector<float> gram(static_cast<size_t>(width * width));
      for (int i = 0; i < width; ++i)
        for (int j = 0; j < width; ++j) {
          double sum = 0;
          for (int row = 0; row < group * hidden; ++row)
            sum += static_cast<double>(weights[row * width + i]) * weights[row * width + j];
          gram[i * width + j] = static_cast<float>(sum);
        }
      std::vector<double> forms(97);
      std::vector<float> norms(97);
      ASSERT_TRUE(OutputNorms(head.Values(), width, gram.data(), forms.data(), norms.data()).ok());
      for (int64_t t = 0; t < 97; ++t) {
        double squares = 0;
        for (int row = 0; row < group * hidden; ++row) {
          double sum = 0;
          for (int j = 0; j < width; ++j)
            sum += static_cast<double>(weights[row * width + j]) * head.values[t * width + j];
          squares += sum * sum;
        }
        ASSERT_NEAR(norms[t], std::sqrt(squares), 1e-5 * std::sqrt(squares)) << t;
      }
    }
}

TEST_P(ExpectedAttentionTest, NaNIsAnError) {
  std::mt19937 random(6);
  const int width = 64;
  for (const int where : {0, 1, 2}) {
    HeadCase head(80, 1, 1, width, &random);
    auto queries = RandomFloats(static_cast<size_t>(50 * width), &random);
    if (where == 0) queries[20 * width + 5] = NAN;
    if (where == 1) head.keys[33 * width + 5] = INFINITY;
    if (where == 2) head.values[33 * width + 5] = NAN;
    std::vector<float> storage(static_cast<size_t>(QueryStatistics::Floats(width)), 0.0f);
    QueryStatistics statistics(storage.data(), width);
    statistics.Add(queries.data(), width, 50);
    Statistics found{std::vector<double>(width), std::vector<double>(width * width)};
    statistics.Read(found.mean.data(), found.covariance.data());
    std::vector<double> logits(80);
    std::vector<double> attention(80, 0.0);
    AddExpectedAttention(head.Keys(), width, head.scale, found.mean.data(), found.covariance.data(),
                         logits.data(), attention.data());
    std::vector<float> norms(80);
    const Status norm_status = ValueNorms(head.Values(), width, norms.data());
    EXPECT_EQ(norm_status.ok(), where != 2);
    if (where == 2) EXPECT_NE(norm_status.message().find("token 33"), std::string::npos);
    std::vector<float> scores(80);
    EXPECT_EQ(ExpectedScores(attention.data(), norms.data(), 80, 1, scores.data()).code(),
              KVP_INVALID_ARGUMENT);
    const std::vector<float> gram(static_cast<size_t>(width * width), 1.0f);
    EXPECT_EQ(OutputNorms(head.Values(), width, gram.data(), logits.data(), norms.data()).ok(), where != 2);
  }
}

}  // namespace
}  // namespace kvprune
