#ifndef KVPRUNE_PRUNING_RECONSTRUCTION_H_
#define KVPRUNE_PRUNING_RECONSTRUCTION_H_

#include "cache/status.h"
#include "pruning/query_attention.h"

namespace kvprune {

// KVzip (arXiv 2505.23416, section 3): a token matters as much as the query that looks at it most while the
// model repeats the text:
//
//   scores[t] = the largest of itself and the attention of any of `queries` and any head of the group to t
//
// The softmax is over the segment's keys and the probe's own up to the query. The paper's implementation
// takes the part of the segment that is being repeated and the attention sinks only: give those rows as
// `segment` for the same. `scores` [segment.count] starts as zeros and is raised by every block of queries.
// `scratch`: AttentionScratchFloats(segment.count + probe.count, 2, head_size); `most` is working space of
// segment.count + probe.count floats.
Status ReconstructionScores(const QueryRows& queries, const TokenRows& segment, const TokenRows& probe,
                            const AttentionRule& rule, float* scratch, float* most, float* scores);

}  // namespace kvprune

#endif  // KVPRUNE_PRUNING_RECONSTRUCTION_H_
