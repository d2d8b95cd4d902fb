#ifndef KVPRUNE_PRUNING_EXPECTED_ATTENTION_H_
#define KVPRUNE_PRUNING_EXPECTED_ATTENTION_H_

#include <cstdint>

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// Mean and covariance of one query head's queries before rotation, gathered chunk by chunk, in `storage` of
// Floats() floats that start as zeros and stay the caller's. Sums are relative to the first
// query, so that a mean much larger than the spread (Qwen's biases) costs no precision. They are floats, as
// there is a matrix per layer and query head; each addition is of a block of up to 64 queries.
class QueryStatistics {
 public:
  static int64_t Floats(int head_size) {
    return 2 + 2 * static_cast<int64_t>(head_size) + static_cast<int64_t>(head_size) * head_size;
  }

  QueryStatistics(float* storage, int head_size) : storage_(storage), head_size_(head_size) {}

  // `count` queries of head_size floats, `stride` apart. The reference implementation leaves out the first
  // few of a sequence (as many as there are sinks), whose queries are outliers: so should callers.
  void Add(const float* queries, int64_t stride, int64_t count);

  int64_t count() const;
  // mean [head_size], covariance [head_size, head_size] (divided by the count); zeros without queries.
  void Read(double* mean, double* covariance) const;

 private:
  float* Reference() const { return storage_ + 2; }
  float* Sums() const { return Reference() + head_size_; }
  float* Products() const { return Sums() + head_size_; }

  float* storage_;  // count (two floats: an int64), reference, sums, products (on and above the diagonal)
  int head_size_;
};

// Rotary caches of a layer, as RotaryTable: [positions, rotary_size / 2]. Null cosine: no rotation.
struct RotaryRows {
  const float* cosine = nullptr;
  const float* sine = nullptr;
  int64_t positions = 0;
  int rotary_size = 0;
  bool interleaved = false;
};

// Positions ahead over which the rotation is averaged.
inline constexpr int64_t kExpectedPositions = 512;

// The mean of rows [position, position + kExpectedPositions) of the caches, cosine and sine [rotary_size /
// 2]. Where the caches end it is of what is left of them, at least of their last position. None without
// rotation.
void AverageRotation(const RotaryRows& rotary, int64_t position, float* cosine, float* sine);

// Turns mean and covariance of queries before rotation into those of the next kExpectedPositions queries from
// `position` on: R mean and R covariance R^T with the averaged rotation R (arXiv 2510.00636, section 3).
// Where the caches end the average is over what is left of them, at least their last position.
void RotateAhead(const RotaryRows& rotary, int64_t position, int head_size, double* mean, double* covariance);

// Expected attention of one query head to every key (arXiv 2510.00636, section 3):
//
//   z_t = scale mean . k_t + scale^2 / 2 k_t^T covariance k_t,   attention[t] += softmax over t of z
//
// from `mean` and `covariance` after RotateAhead. Sinks, softcap and sliding windows of a layer have no place
// in the closed form and are left out. `logits` is working space of keys.count doubles. A caller sums over
// the group's heads in `attention` and calls ExpectedScores.
void AddExpectedAttention(const TokenRows& keys, int head_size, float scale, const double* mean,
                          const double* covariance, double* logits, double* attention);

// scores[t] = attention[t] / group * norms[t], with the norms of the values. (The reference implementation
// can add a constant to the attention first, and does not by default.)
Status ExpectedScores(const double* attention, const float* norms, int64_t tokens, int group, float* scores);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_EXPECTED_ATTENTION_H_
