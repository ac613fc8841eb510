/* Counts what the process asks the allocator and the system for memory; loaded before libc.
 *
 * Everything that can be a rehash, a growing buffer or a new arena comes through here. Not for two
 * threads at once. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define STEADY_API __attribute__((visibility("default")))

static volatile uint64_t calls;

extern void* __libc_malloc(size_t size);
extern void* __libc_calloc(size_t count, size_t size);
extern void* __libc_realloc(void* old, size_t size);
extern void* __libc_memalign(size_t alignment, size_t size);

STEADY_API void* malloc(size_t size) {
    calls++;
    return __libc_malloc(size);
}

STEADY_API void* calloc(size_t count, size_t size) {
    calls++;
    return __libc_calloc(count, size);
}

STEADY_API void* realloc(void* old, size_t size) {
    calls++;
    return __libc_realloc(old, size);
}

STEADY_API void* aligned_alloc(size_t alignment, size_t size) {
    calls++;
    return __libc_memalign(alignment, size);
}

STEADY_API void* mmap(void* at, size_t length, int prot, int flags, int file, off_t offset) {
    calls++;
    return (void*)syscall(SYS_mmap, at, length, prot, flags, file, offset);
}

STEADY_API uint64_t steady_allocations(void) { return calls; }

STEADY_API uint64_t steady_faults(void) {
    struct rusage used;
    getrusage(RUSAGE_THREAD, &used);
    return (uint64_t)used.ru_minflt + (uint64_t)used.ru_majflt;
}
