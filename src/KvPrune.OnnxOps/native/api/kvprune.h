/*
 * C ABI of the KvPrune native library.
 *
 * Every function that can fail returns a kvp_status; kvp_last_error() then holds a message for the calling
 * thread. No function throws, aborts or prints. Sequences are named by 64-bit handles with a generation
 * counter: using one after its release is reported as KVP_STALE_HANDLE. All functions may be called from any
 * thread; what would disturb a run of the graph is refused with KVP_BUSY.
 */
#ifndef KVPRUNE_API_KVPRUNE_H_
#define KVPRUNE_API_KVPRUNE_H_

#include <stdint.h>

#if defined(__GNUC__)
#define KVP_API __attribute__((visibility("default")))
#else
#define KVP_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define KVP_ABI_VERSION 3u

typedef enum kvp_status {
  KVP_OK = 0,
  KVP_INVALID_ARGUMENT = 1,
  KVP_STALE_HANDLE = 2,    /* unknown, released or never issued */
  KVP_BUSY = 3,            /* the sequence takes part in an open step, or a run of the graph uses it */
  KVP_OUT_OF_MEMORY = 4,   /* the byte limit or the machine's memory is reached */
  KVP_INVALID_STATE = 5,   /* the call does not fit the sequence's state; the message says which */
  KVP_LENGTH_MISMATCH = 6, /* the graph's lengths differ from the sequence's */
  KVP_NOT_REWINDABLE = 7,  /* neither a checkpoint nor inside the dense tail */
  KVP_UNSUPPORTED = 8,
  KVP_INTERNAL_ERROR = 9
} kvp_status;

typedef enum kvp_storage {
  KVP_STORAGE_FLOAT32 = 0,
  KVP_STORAGE_BFLOAT16 = 1,
  KVP_STORAGE_INT8 = 2,    /* a bfloat16 scale per row */
  KVP_STORAGE_FLOAT16 = 3, /* IEEE binary16 */
  KVP_STORAGE_INT4 = 4     /* KIVI: scale and zero per K channel and 64 tokens, per V row and 64 channels */
} kvp_storage;

typedef struct kvp_model_shape {
  int32_t layers;
  int32_t query_heads;
  int32_t kv_heads;
  int32_t head_size;
  int64_t max_tokens; /* longest sequence the model takes, at most 2^31 - 1 */
} kvp_model_shape;

/* Which entries of K or V compete with each other when elements are removed. */
typedef enum kvp_sparsity_pattern {
  KVP_PATTERN_PER_TOKEN = 0,  /* those of one row */
  KVP_PATTERN_PER_CHANNEL = 1 /* those of one channel in 32 consecutive tokens */
} kvp_sparsity_pattern;

/* What ranks an element of K, always times its magnitude. No queries are observed for generated tokens, whose
 * rows rank by magnitude. */
typedef enum kvp_key_score {
  KVP_KEY_MAGNITUDE = 0,
  KVP_KEY_QUERY_MAGNITUDE = 1, /* MUSTAFAR: sum over the group of the mean |q| of the observed queries */
  KVP_KEY_QUERY_RMS = 2        /* root of the mean q^2 of group and observed queries */
} kvp_key_score;

/* What ranks an element of V, always times its magnitude. */
typedef enum kvp_value_score {
  KVP_VALUE_MAGNITUDE = 0,
  KVP_VALUE_ATTENTION =
      1, /* MUSTAFAR: attention of group and observed queries to the token; per channel only */
  KVP_VALUE_OUTPUT_WEIGHT =
      2 /* norm of the channel's columns of the output projection, from its Gram matrix */
} kvp_value_score;

/* What ranks tokens. */
typedef enum kvp_token_score {
  KVP_TOKENS_ALL = 0,                   /* nothing is evicted */
  KVP_TOKENS_RECENCY = 1,               /* StreamingLLM: sinks and the newest */
  KVP_TOKENS_WINDOW_ATTENTION = 2,      /* SnapKV: attention of the observed queries */
  KVP_TOKENS_ACCUMULATED_ATTENTION = 3, /* H2O: attention of all queries that could see the token */
  KVP_TOKENS_EXPECTED_ATTENTION = 4,    /* attention of queries of the next positions, by their statistics */
  KVP_TOKENS_RECONSTRUCTION = 5         /* KVzip: attention while the model repeats the prompt */
} kvp_token_score;

/* How a layer's budget of tokens is divided among its KV heads. */
typedef enum kvp_head_budgets {
  KVP_HEADS_UNIFORM = 0,
  KVP_HEADS_ADAPTIVE = 1, /* AdaKV: by the layer's best scores, with a floor for each head */
  KVP_HEADS_GLOBAL = 2    /* KVzip: by the best scores of all layers and heads */
} kvp_head_budgets;

/* The sparsities of one layer, in place of the policy's. */
typedef struct kvp_layer_sparsity {
  float key_channel_sparsity;
  float value_channel_sparsity;
  float key_sparsity;
  float value_sparsity;
  float token_sparsity;
} kvp_layer_sparsity;

/*
 * With an output_error each layer and KV head removes, in place of the sparsities, as many channels of K and
 * elements as it can at a prompt's end while ||o' - o|| / ||o|| stays within it: o are the attention outputs
 * of the observed queries of the head's group before sealing, o' those over the sealed rows, evicted ones
 * missing, and the rows that stay dense. A head that cannot stay within it removes nothing and stores
 * integers as bfloat16 instead. Rows of generated tokens, for which nothing is measured, are rounded to the
 * storages only, and to int8 where these are int4.
 *
 * Tokens are evicted at a prompt's end; with while_decoding also while tokens are generated, which takes a
 * token_score of recency or accumulated attention. Whenever generated tokens fill a tile, each head gives up
 * as many rows as bring the layer's mean to what the budget leaves of a prompt of that length, in units of
 * 64: those that rank lowest among rows which can share tiles, or, where rows mean less in another tile (of a
 * per-channel pattern, of 4-bit K without removed elements), the tile that does. Which layer does so at which
 * step depends on how many tokens the sequence holds; what a layer keeps never grows back. Accumulated
 * attention is then recorded for generated tokens and by generated tokens too, in 12 bytes for each row of a
 * head.
 *
 * Every sparsity is the fraction removed, in [0, 1). What is left out is 0, which removes nothing; the fields
 * from token_sparsity to while_decoding count only with a token_score.
 */
typedef struct kvp_policy {
  int32_t key_storage;          /* kvp_storage */
  int32_t value_storage;        /* kvp_storage */
  float key_channel_sparsity;   /* ThinK lambda: fraction of K channels removed */
  float key_sparsity;           /* MUSTAFAR: fraction of the kept K channels' elements removed */
  float value_sparsity;         /* MUSTAFAR: fraction of the kept V channels' elements removed */
  int32_t recent_window;        /* newest tokens kept dense, >= 0 */
  int32_t observation_window;   /* last prompt queries that score, >= 1 */
  float value_channel_sparsity; /* ThinK, appendix D: fraction of V channels removed */
  int32_t key_pattern;          /* kvp_sparsity_pattern */
  int32_t value_pattern;        /* kvp_sparsity_pattern */
  int32_t key_score;            /* kvp_key_score */
  int32_t value_score;          /* kvp_value_score */
  int32_t token_score;          /* kvp_token_score */
  float token_sparsity;         /* fraction of the tokens evicted */
  int32_t token_budget;         /* most tokens kept, per head on average; 0: token_sparsity counts */
  int32_t sink_tokens;          /* first tokens that are never evicted, >= 0 */
  int32_t pool_kernel;          /* tokens of window attention's max pool, odd; 1: none */
  float pyramid_slope;          /* PyramidKV beta, >= 1; 0: the same budget in every layer */
  int32_t head_budgets;         /* kvp_head_budgets */
  float head_floor;             /* fraction of the even share that adaptive budgets leave each head, [0, 1] */
  int32_t weigh_by_value;       /* 1: scores are multiplied by the norm of W_O v */
  int32_t second_stage;         /* 1: CriticalKV: half by score, half by score times the norm of W_O v */
  int32_t while_decoding;       /* 1: generated tokens are evicted too, see above */
  float output_error;           /* error budget, (0, 1), see below; 0: the sparsities count */
  int32_t layer_count;          /* 0, or as many as the model has */
  const kvp_layer_sparsity* layers; /* one per layer; null with layer_count 0. Read during the call only. */
} kvp_policy;

typedef struct kvp_estimate {
  int64_t resident_bytes;     /* after the prompt and the generated tokens */
  int64_t prefill_peak_bytes; /* largest while the prompt is read */
} kvp_estimate;

typedef struct kvp_manager_statistics {
  int64_t sealed_bytes; /* tiles with masks, scales and channel lists, also those packed ahead of sealing */
  int64_t tail_bytes;   /* dense tails and scores kept while decoding, those of checkpoints included */
  int64_t
      staging_bytes;  /* dense prompt rows of open segments, what is recorded beside them; scratch of a run */
  int64_t peak_bytes; /* highest sum so far */
  int64_t sequences;
  int64_t weight_bytes; /* Gram matrices of the output projections; outside of the limit and of the peak */
} kvp_manager_statistics;

typedef struct kvp_sequence_info {
  int64_t length;              /* committed tokens */
  int64_t sealed_tokens;       /* of these in sealed tiles */
  int64_t open_segment_tokens; /* announced and not yet committed tokens of the open segment, 0: none open, or
                                  a deferred one that is full */
  int64_t sealed_bytes;        /* of all its tiles: shared, packed ahead, only in checkpoints */
  int64_t tail_bytes;          /* those of its checkpoints included */
  int64_t staging_bytes;
} kvp_sequence_info;

/* What one KV head keeps of the prompt that was sealed last, and of tokens whose rows share tiles with its
 * rows since evicting while decoding moved them. All 0 (and no error) before the first. */
typedef struct kvp_head_info {
  int64_t tokens;         /* that were sealed */
  int64_t kept_tokens;    /* of these not evicted */
  int64_t bytes;          /* of the head's tiles, lists of channels and of tokens */
  int32_t key_storage;    /* kvp_storage */
  int32_t value_storage;  /* kvp_storage */
  int32_t key_channels;   /* kept */
  int32_t value_channels; /* kept */
  int32_t key_elements;   /* kept in the rows of 64 tokens */
  int32_t value_elements; /* kept in the rows of 64 tokens */
  float output_error;     /* with an error budget that of the attention outputs (output_error), else NaN */
} kvp_head_info;

typedef struct kvp_manager kvp_manager;

KVP_API uint32_t kvp_abi_version(void);
/* Message of the calling thread's last failure; valid until its next failing call. Never null. */
KVP_API const char* kvp_last_error(void);

/* Name of the kernels in use: "scalar", "avx2", "avx512" or "avx512_bf16". */
KVP_API const char* kvp_kernels(void);
/* Uses the named kernels from now on; null restores the best ones. KVP_UNSUPPORTED when this CPU lacks them.
 */
KVP_API kvp_status kvp_use_kernels(const char* name);

/* byte_limit 0: no limit but the machine's memory. */
KVP_API kvp_status kvp_manager_create(const kvp_model_shape* shape, int64_t byte_limit,
                                      kvp_manager** manager);
/* Releases the manager; sequences still alive keep its memory until they are released. */
KVP_API void kvp_manager_destroy(kvp_manager* manager);
/* The value that a graph's cache_manager attribute must carry for its nodes to accept this manager's
 * sequences. */
KVP_API kvp_status kvp_manager_id(const kvp_manager* manager, int64_t* id);
/*
 * What values become behind `layer`: per KV head the sum, over the query heads of its group, of W^T W, where
 * W [hidden, head_size] is the head's part of the output projection. `count` floats [kv_heads, head_size,
 * head_size], finite, copied; once per layer. Policies that weigh values need it for every layer: sequences
 * with them are refused with KVP_INVALID_STATE before.
 */
KVP_API kvp_status kvp_manager_set_output_gram(kvp_manager* manager, int32_t layer, const float* gram,
                                               int64_t count);
KVP_API kvp_status kvp_manager_get_statistics(const kvp_manager* manager, kvp_manager_statistics* statistics);

/*
 * Exact bytes of one sequence: a prompt of one segment of prompt_tokens read in chunks of chunk_tokens
 * (0: whole), then generated_tokens decode steps. A run takes scratch on top for as long as one layer runs:
 * the partial sums of a decode step, the expanded tiles and sums of a prompt over sealed tiles, the scores of
 * what is sealed. The byte limit does not stop it.
 *
 * Adaptive and global head_budgets depend on the scores, formats under an error budget on the errors: the
 * estimate is then the most that they can come to. So it is where while_decoding evicts, with the scores and
 * with what a step has twice while it moves rows; the checkpoint at the prompt's end goes on holding what the
 * prompt left. An answer of more than 1024 tokens takes a little less than estimated, as its tiles are joined
 * where memory allows. A policy that needs a deferred segment is estimated with one, opened for probe steps
 * of probe_tokens, and with the source gone at the end; others take no probe_tokens.
 */
KVP_API kvp_status kvp_estimate_bytes(const kvp_model_shape* shape, const kvp_policy* policy,
                                      int64_t prompt_tokens, int64_t generated_tokens, int64_t chunk_tokens,
                                      int64_t probe_tokens, kvp_estimate* estimate);

KVP_API kvp_status kvp_sequence_create(kvp_manager* manager, const kvp_policy* policy, int64_t* sequence);
KVP_API kvp_status kvp_sequence_release(int64_t sequence);
/*
 * A second sequence with the same past: tiles are shared, the dense tail is copied, checkpoints stay behind.
 * What either then makes of shared tiles (while it decodes, 16 tiles of generated tokens become one piece of
 * memory, and rows are evicted if the policy says so) is its own copy, beside the shared ones.
 * Not while a segment is open.
 */
KVP_API kvp_status kvp_sequence_fork(int64_t sequence, int64_t* fork);
KVP_API kvp_status kvp_sequence_get_info(int64_t sequence, kvp_sequence_info* info);
KVP_API kvp_status kvp_sequence_get_head(int64_t sequence, int32_t layer, int32_t kv_head,
                                         kvp_head_info* info);
/*
 * Announces a prompt segment of exactly `tokens` tokens. Steps add to it until it is full; the step that
 * fills it also compresses, and a checkpoint is taken at its end. Without an open segment a step is one
 * decode token. Rows still in the dense tail are compressed together with the segment; of the queries that
 * score tokens only the segment's count, for those rows too. A policy with global head_budgets or scores by
 * reconstruction evicts tokens of deferred segments (documents) only: here all its tokens stay.
 */
KVP_API kvp_status kvp_sequence_open_segment(int64_t sequence, int64_t tokens);
/*
 * As kvp_sequence_open_segment, but the segment is not compressed when it is full: all its rows stay dense,
 * in 32 bits, and kvp_sequence_seal_as makes compressed sequences of it. `policies` are those that it will be
 * sealed as: what they need beside the rows is kept. The sequence then takes no further tokens but those of
 * probe steps (kvp_step_begin_probe), of at most probe_tokens each; rewinding drops the segment.
 */
KVP_API kvp_status kvp_sequence_open_deferred_segment(int64_t sequence, int64_t tokens,
                                                      const kvp_policy* policies, int32_t policy_count,
                                                      int64_t probe_tokens);
/*
 * One layer's rows of an open deferred segment without a run of the graph: keys, with their rotary embedding,
 * and values are [kv_heads, tokens, head_size], where tokens must be the segment's. queries are the rotated
 * queries of the segment's last query_tokens tokens, [query_tokens, query_heads, head_size]: at least as many
 * as the policies observe, null and 0 where none do. They are taken to attend with a scale of
 * 1 / sqrt(head_size), without softcap, window and sinks. The tokens count when every layer was filled.
 * KVP_INVALID_STATE where a policy scores tokens by all queries (accumulated or expected attention).
 */
KVP_API kvp_status kvp_sequence_fill(int64_t sequence, int32_t layer, int64_t tokens, const float* keys,
                                     const float* values, const float* queries, int64_t query_tokens);
/*
 * A new sequence with the past of one whose deferred segment is full, compressed under `policy` as if the
 * segment had been read under it: what was sealed before the segment is shared as it is, and a checkpoint is
 * at the end. With while_decoding rows that were sealed before without scores rank below all others. The
 * source is unchanged. KVP_INVALID_STATE when the policy needs what was not kept, or scores by reconstruction
 * and no probe step was committed.
 */
KVP_API kvp_status kvp_sequence_seal_as(int64_t sequence, const kvp_policy* policy, int64_t* sealed);
/*
 * Remembers the present length as one to rewind to. Once rows are sealed after it, it holds a dense tail of
 * its own, and the tiles that the sequence has copied since (kvp_sequence_fork).
 */
KVP_API kvp_status kvp_sequence_checkpoint(int64_t sequence);
/*
 * Back to `length`: 0, a checkpoint, or a length since the last sealing. What follows is what would have
 * followed then (inside a prompt that was too short to be sealed: with its rows rounded to the tail's
 * storage). An open segment is dropped and must begin at or after `length`. Needs no memory.
 * With while_decoding only a checkpoint, and 0, give that: since the last sealing elsewhere, rows that were
 * evicted stay so, and the attention of tokens that are dropped still counts.
 */
KVP_API kvp_status kvp_sequence_rewind(int64_t sequence, int64_t length);
/*
 * Rows of one KV head as attention reads them, pruned entries and rows 0: keys and values are [rows,
 * head_size], where rows must be the sequence's length. For tests and evaluation.
 */
KVP_API kvp_status kvp_sequence_read(int64_t sequence, int32_t layer, int32_t kv_head, int64_t rows,
                                     float* keys, float* values);
/* Which tokens one KV head still has rows of: kept[t] is 1 or 0, for `tokens` tokens, which must be the
 * sequence's length. */
KVP_API kvp_status kvp_sequence_kept(int64_t sequence, int32_t layer, int32_t kv_head, int64_t tokens,
                                     uint8_t* kept);

/*
 * A step is a transaction over all layers of `count` sequences: begin announces new_tokens[i] tokens, the
 * graph runs, commit makes them part of the sequences, rollback drops them in every layer. Begin takes all
 * sequences or none; commit is refused unless every layer ran. Rolling back the last chunk of a segment after
 * layers of it were sealed drops the whole segment: the sequence is back at its start, with no segment open.
 * So does rolling back any but the first chunk after a layer ran, where a policy sums up attention or queries
 * of the whole segment.
 */
KVP_API kvp_status kvp_step_begin(const int64_t* sequences, const int32_t* new_tokens, int32_t count);
/*
 * A step of one sequence whose tokens follow its full deferred segment, see it and themselves causally, and
 * are dropped when the step is committed or rolled back: the sequence stays as it is. Where a policy scores
 * by reconstruction, their attention raises the scores of the segment's tokens, of all steps together (also
 * that of layers which ran before a step was rolled back).
 */
KVP_API kvp_status kvp_step_begin_probe(int64_t sequence, int32_t new_tokens);
KVP_API kvp_status kvp_step_commit(const int64_t* sequences, int32_t count);
KVP_API kvp_status kvp_step_rollback(const int64_t* sequences, int32_t count);

/* RegisterCustomOps(OrtSessionOptions*, const OrtApiBase*) is exported too: ONNX Runtime's entry point. */

#ifdef __cplusplus
}
#endif

#endif /* KVPRUNE_API_KVPRUNE_H_ */
