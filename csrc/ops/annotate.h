#pragma once

// MDR_HD: the function also compiles for a CUDA device; nothing in plain C++.
#if defined(__CUDACC__)
#define MDR_HD __host__ __device__ __forceinline__
#else
#define MDR_HD inline
#endif

// MDR_CLONES: also compile the loop for AVX2 and pick at load time; the results are the same bits
// because no clone may fuse a multiply with an add (-ffp-contract=off). Picking comes before the
// thread sanitizer is up, which would crash.
#if defined(__x86_64__) && defined(__linux__) && defined(__GLIBC__) && defined(__GNUC__) && \
    !defined(__clang__) && !defined(__CUDACC__) && !defined(__SANITIZE_THREAD__)
#define MDR_CLONES __attribute__((target_clones("default", "avx2")))
#else
#define MDR_CLONES
#endif
