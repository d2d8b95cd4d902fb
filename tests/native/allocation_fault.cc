#include "allocation_fault.h"

#include <cerrno>
#include <cstdlib>
#include <new>

namespace kvprune::test {
namespace {

thread_local AllocationFault* innermost = nullptr;

}  // namespace

AllocationFault::AllocationFault(int64_t successes) : left_(successes), outer_(innermost) {
  innermost = this;
}

AllocationFault::~AllocationFault() {
  innermost = outer_;
}

bool AllocationFault::Permits() {
  if (innermost == nullptr) return true;
  if (innermost->left_ > 0) {
    --innermost->left_;
    return true;
  }
  innermost->left_ = -1;
  return false;
}

}  // namespace kvprune::test

void* operator new(size_t size) {
  void* memory = kvprune::test::AllocationFault::Permits() ? std::malloc(size > 0 ? size : 1) : nullptr;
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* operator new(size_t size, const std::nothrow_t&) noexcept {
  return kvprune::test::AllocationFault::Permits() ? std::malloc(size > 0 ? size : 1) : nullptr;
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, size_t) noexcept {
  std::free(memory);
}

extern "C" {

// The linker puts this one in the place of posix_memalign.
int __real_posix_memalign(void** memory, size_t alignment, size_t size);
int __wrap_posix_memalign(void** memory, size_t alignment, size_t size) {
  return kvprune::test::AllocationFault::Permits() ? __real_posix_memalign(memory, alignment, size) : ENOMEM;
}

}  // extern "C"
