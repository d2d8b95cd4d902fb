#ifndef KVPRUNE_TESTS_ALLOCATION_FAULT_H_
#define KVPRUNE_TESTS_ALLOCATION_FAULT_H_

#include <cstdint>

namespace kvprune::test {

// While it lives, this thread's allocations fail but for the first `successes`: operator new throws and
// posix_memalign gives null. The innermost one counts.
class AllocationFault {
 public:
  explicit AllocationFault(int64_t successes);
  ~AllocationFault();
  AllocationFault(const AllocationFault&) = delete;
  AllocationFault& operator=(const AllocationFault&) = delete;

  // Whether an allocation failed.
  bool hit() const { return left_ < 0; }

  // For the allocators: false when the allocation about to be made is to fail.
  static bool Permits();

 private:
  int64_t left_;
  AllocationFault* outer_;
};

}  // namespace kvprune::test

#endif  // KVPRUNE_TESTS_ALLOCATION_FAULT_H_
