#include "api/kvprune.h"

#include <new>
#include <string>
#include <vector>

#include "cache/estimate.h"
#include "cache/handle_table.h"
#include "cache/manager.h"
#include "cache/sequence.h"
#include "kernels/dispatch.h"
#include "pruning/policy.h"

using namespace kvprune;

struct kvp_manager {
  std::shared_ptr<Manager> manager;
};

namespace {

thread_local std::string last_error;

kvp_status Report(const Status& status) {
  if (status.ok()) return KVP_OK;
  try {
    last_error = status.message();
  } catch (const std::bad_alloc&) {
    last_error.clear();
  }
  return status.code();
}

// Nothing leaves the library but a status.
template <typename Function>
kvp_status Guard(const Function& function) {
  try {
    return Report(function());
  } catch (const std::bad_alloc&) {
    return Report({KVP_OUT_OF_MEMORY, "out of memory"});
  } catch (...) {
    return Report({KVP_INTERNAL_ERROR, "unexpected"});
  }
}

Status Null(const char* name) {
  return {KVP_INVALID_ARGUMENT, std::string(name) + " is null"};
}

Status ReadPolicy(const kvp_policy* source, const ModelShape& shape, Policy* policy) {
  if (source == nullptr) return Null("policy");
  return MakePolicy(*source, shape, policy);
}

Status Find(int64_t handle, std::shared_ptr<Sequence>* sequence) {
  *sequence = HandleTable::Instance().Find(handle);
  if (*sequence) return {};
  return {KVP_STALE_HANDLE, "sequence handle " + std::to_string(handle) + " was released or never issued"};
}

template <typename Function>
kvp_status WithSequence(int64_t handle, const Function& function) {
  return Guard([&]() -> Status {
    std::shared_ptr<Sequence> sequence;
    Status status = Find(handle, &sequence);
    return status.ok() ? function(*sequence) : status;
  });
}

Status FindAll(const int64_t* handles, int32_t count, std::vector<std::shared_ptr<Sequence>>* sequences) {
  if (handles == nullptr) return Null("sequences");
  if (count < 1) return {KVP_INVALID_ARGUMENT, "a step needs at least one sequence"};
  for (int32_t i = 0; i < count; ++i) {
    std::shared_ptr<Sequence> sequence;
    Status status = Find(handles[i], &sequence);
    if (!status.ok()) return status;
    sequences->push_back(std::move(sequence));
  }
  return {};
}

// A policy that sequences of the manager can have now.
Status UsablePolicy(const Manager& manager, const kvp_policy* source, Policy* policy) {
  Status status = ReadPolicy(source, manager.shape(), policy);
  if (status.ok() && policy->NeedsOutputGram()) status = manager.output_gram().RequireAll();
  return status;
}

}  // namespace

extern "C" {

uint32_t kvp_abi_version(void) {
  return KVP_ABI_VERSION;
}

const char* kvp_last_error(void) {
  return last_error.c_str();
}

const char* kvp_kernels(void) {
  return Kernels().name;
}

kvp_status kvp_use_kernels(const char* name) {
  return Guard([&]() -> Status {
    if (UseKernels(name)) return {};
    return {KVP_UNSUPPORTED,
            std::string(KernelsExist(name) ? "this CPU cannot run the kernels '" : "there are no kernels '") +
                name + "'"};
  });
}

kvp_status kvp_manager_create(const kvp_model_shape* shape, int64_t byte_limit, kvp_manager** manager) {
  return Guard([&]() -> Status {
    if (shape == nullptr) return Null("shape");
    if (manager == nullptr) return Null("manager");
    if (byte_limit < 0)
      return {KVP_INVALID_ARGUMENT, "the byte limit is negative: " + std::to_string(byte_limit)};
    ModelShape checked;
    Status status = MakeModelShape(*shape, &checked);
    if (!status.ok()) return status;
    *manager = new kvp_manager{std::make_shared<Manager>(checked, byte_limit)};
    return {};
  });
}

void kvp_manager_destroy(kvp_manager* manager) {
  delete manager;
}

kvp_status kvp_manager_id(const kvp_manager* manager, int64_t* id) {
  return Guard([&]() -> Status {
    if (manager == nullptr) return Null("manager");
    if (id == nullptr) return Null("id");
    *id = manager->manager->id();
    return {};
  });
}

kvp_status kvp_manager_get_statistics(const kvp_manager* manager, kvp_manager_statistics* statistics) {
  return Guard([&]() -> Status {
    if (manager == nullptr) return Null("manager");
    if (statistics == nullptr) return Null("statistics");
    const MemoryAccount& account = *manager->manager->account();
    *statistics = {account.InUse(MemoryUse::kSealed),
                   account.InUse(MemoryUse::kTail),
                   account.InUse(MemoryUse::kStaging) + account.InUse(MemoryUse::kScratch),
                   account.Peak(),
                   manager->manager->sequences(),
                   account.InUse(MemoryUse::kWeights)};
    return {};
  });
}

kvp_status kvp_manager_set_output_gram(kvp_manager* manager, int32_t layer, const float* gram,
                                       int64_t count) {
  return Guard([&]() -> Status {
    if (manager == nullptr) return Null("manager");
    if (gram == nullptr) return Null("gram");
    return manager->manager->output_gram().Set(layer, gram, count);
  });
}

kvp_status kvp_estimate_bytes(const kvp_model_shape* shape, const kvp_policy* policy, int64_t prompt_tokens,
                              int64_t generated_tokens, int64_t chunk_tokens, int64_t probe_tokens,
                              kvp_estimate* estimate) {
  return Guard([&]() -> Status {
    if (shape == nullptr) return Null("shape");
    if (estimate == nullptr) return Null("estimate");
    if (prompt_tokens < 0 || generated_tokens < 0 || chunk_tokens < 0 || probe_tokens < 0)
      return {KVP_INVALID_ARGUMENT, "token counts must not be negative"};
    ModelShape checked_shape;
    Status status = MakeModelShape(*shape, &checked_shape);
    if (!status.ok()) return status;
    Policy checked_policy;
    status = ReadPolicy(policy, checked_shape, &checked_policy);
    if (!status.ok()) return status;
    if (prompt_tokens > INT32_MAX || generated_tokens > INT32_MAX || probe_tokens > INT32_MAX)
      return {KVP_INVALID_ARGUMENT, "token counts must not exceed 2^31 - 1"};
    *estimate = EstimateBytes(checked_shape, checked_policy, prompt_tokens, generated_tokens, chunk_tokens,
                              probe_tokens);
    return {};
  });
}

kvp_status kvp_sequence_create(kvp_manager* manager, const kvp_policy* policy, int64_t* sequence) {
  return Guard([&]() -> Status {
    if (manager == nullptr) return Null("manager");
    if (sequence == nullptr) return Null("sequence");
    Policy checked;
    Status status = UsablePolicy(*manager->manager, policy, &checked);
    if (!status.ok()) return status;
    std::shared_ptr<Sequence> made;
    status = Sequence::Create(manager->manager, checked, &made);
    if (!status.ok()) return status;
    *sequence = HandleTable::Instance().Add(std::move(made));
    return {};
  });
}

kvp_status kvp_sequence_release(int64_t sequence) {
  return WithSequence(sequence, [&](Sequence& found) -> Status {
    Status status = found.Close();
    if (status.ok()) HandleTable::Instance().Remove(sequence);
    return status;
  });
}

kvp_status kvp_sequence_fork(int64_t sequence, int64_t* fork) {
  return WithSequence(sequence, [&](Sequence& source) -> Status {
    if (fork == nullptr) return Null("fork");
    std::shared_ptr<Sequence> made;
    Status status = source.Fork(&made);
    if (!status.ok()) return status;
    *fork = HandleTable::Instance().Add(std::move(made));
    return {};
  });
}

kvp_status kvp_sequence_get_info(int64_t sequence, kvp_sequence_info* info) {
  return WithSequence(sequence, [&](Sequence& found) { return info ? found.GetInfo(info) : Null("info"); });
}

kvp_status kvp_sequence_get_head(int64_t sequence, int32_t layer, int32_t kv_head, kvp_head_info* info) {
  return WithSequence(
      sequence, [&](Sequence& found) { return info ? found.GetHead(layer, kv_head, info) : Null("info"); });
}

kvp_status kvp_sequence_open_segment(int64_t sequence, int64_t tokens) {
  return WithSequence(sequence, [&](Sequence& found) { return found.OpenSegment(tokens); });
}

kvp_status kvp_sequence_open_deferred_segment(int64_t sequence, int64_t tokens, const kvp_policy* policies,
                                              int32_t policy_count, int64_t probe_tokens) {
  return WithSequence(sequence, [&](Sequence& found) -> Status {
    if (policy_count < 0) return {KVP_INVALID_ARGUMENT, "the number of policies is negative"};
    if (policy_count > 0 && policies == nullptr) return Null("policies");
    std::vector<Policy> checked(policy_count);
    for (int32_t i = 0; i < policy_count; ++i) {
      Status status = ReadPolicy(&policies[i], found.shape(), &checked[i]);
      if (!status.ok()) return status;
    }
    return found.OpenDeferredSegment(tokens, checked, probe_tokens);
  });
}

kvp_status kvp_sequence_fill(int64_t sequence, int32_t layer, int64_t tokens, const float* keys,
                             const float* values, const float* queries, int64_t query_tokens) {
  return WithSequence(sequence, [&](Sequence& found) -> Status {
    if (keys == nullptr) return Null("keys");
    if (values == nullptr) return Null("values");
    if (queries == nullptr && query_tokens != 0) return Null("queries");
    return found.Fill(layer, tokens, keys, values, queries, query_tokens);
  });
}

kvp_status kvp_sequence_seal_as(int64_t sequence, const kvp_policy* policy, int64_t* sealed) {
  return WithSequence(sequence, [&](Sequence& source) -> Status {
    if (sealed == nullptr) return Null("sealed");
    Policy checked;
    Status status = UsablePolicy(source.manager(), policy, &checked);
    if (!status.ok()) return status;
    std::shared_ptr<Sequence> made;
    status = source.SealAs(checked, &made);
    if (!status.ok()) return status;
    *sealed = HandleTable::Instance().Add(std::move(made));
    return {};
  });
}

kvp_status kvp_sequence_checkpoint(int64_t sequence) {
  return WithSequence(sequence, [&](Sequence& found) { return found.Checkpoint(); });
}

kvp_status kvp_sequence_rewind(int64_t sequence, int64_t length) {
  return WithSequence(sequence, [&](Sequence& found) { return found.Rewind(length); });
}

kvp_status kvp_sequence_read(int64_t sequence, int32_t layer, int32_t kv_head, int64_t rows, float* keys,
                             float* values) {
  return WithSequence(sequence, [&](Sequence& found) -> Status {
    if (keys == nullptr) return Null("keys");
    if (values == nullptr) return Null("values");
    return found.ReadRows(layer, kv_head, rows, keys, values);
  });
}

kvp_status kvp_sequence_kept(int64_t sequence, int32_t layer, int32_t kv_head, int64_t tokens,
                             uint8_t* kept) {
  return WithSequence(sequence, [&](Sequence& found) {
    return kept ? found.ReadKept(layer, kv_head, tokens, kept) : Null("kept");
  });
}

kvp_status kvp_step_begin(const int64_t* sequences, const int32_t* new_tokens, int32_t count) {
  return Guard([&]() -> Status {
    std::vector<std::shared_ptr<Sequence>> found;
    Status status = FindAll(sequences, count, &found);
    if (!status.ok()) return status;
    if (new_tokens == nullptr) return Null("new_tokens");
    for (int32_t i = 0; i < count; ++i) {
      const kvp_status begun = Guard([&] { return found[i]->BeginStep(new_tokens[i]); });
      if (begun == KVP_OK) continue;
      for (int32_t j = 0; j < i; ++j) (void)found[j]->RollbackStep();
      return {begun,
              count > 1 ? "sequence " + std::to_string(i) + " of the step: " + last_error : last_error};
    }
    return {};
  });
}

kvp_status kvp_step_begin_probe(int64_t sequence, int32_t new_tokens) {
  return WithSequence(sequence, [&](Sequence& found) { return found.BeginProbe(new_tokens); });
}

kvp_status kvp_step_commit(const int64_t* sequences, int32_t count) {
  return Guard([&]() -> Status {
    std::vector<std::shared_ptr<Sequence>> found;
    Status status = FindAll(sequences, count, &found);
    if (!status.ok()) return status;
    for (const auto& sequence : found) {
      status = sequence->CheckStepComplete();
      if (!status.ok()) return status;
    }
    for (const auto& sequence : found) {
      status = sequence->CommitStep();
      if (!status.ok()) return status;
    }
    return {};
  });
}

// Rolls back whatever it finds, without allocating: it is what follows a failure.
kvp_status kvp_step_rollback(const int64_t* sequences, int32_t count) {
  kvp_status result = KVP_OK;
  for (int32_t i = 0; sequences != nullptr && i < count; ++i) {
    const kvp_status status =
        WithSequence(sequences[i], [](Sequence& found) { return found.RollbackStep(); });
    if (result == KVP_OK) result = status;
  }
  return result;
}

}  // extern "C"
