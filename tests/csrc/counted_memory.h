/* What the C++ code of a test program holds, counted by its own operator new. */
#ifndef COUNTED_MEMORY_H
#define COUNTED_MEMORY_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Bytes held now; from then on the most is counted anew. */
size_t counted_begin(void);
size_t counted_most(void);

#ifdef __cplusplus
}
#endif

#endif
