/* The claims of a test in C: the first that does not hold ends it, and says which. */
#ifndef CHECK_H
#define CHECK_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moediff_rt.h"

static inline void check(int holds, const char* claim) {
  if (holds) return;
  fprintf(stderr, "FAILED: %s\n  last error: %s\n", claim, mdr_last_error());
  exit(1);
}

/* The call failed with `status`, and its error has each of the words, up to a NULL. */
static inline void check_refused(mdr_status found, mdr_status status, const char* const* words,
                                 const char* claim) {
  if (found != status) fprintf(stderr, "found %s\n", mdr_status_name(found));
  check(found == status, claim);
  for (; *words; ++words) {
    if (!strstr(mdr_last_error(), *words)) fprintf(stderr, "without: %s\n", *words);
    check(strstr(mdr_last_error(), *words) != NULL, claim);
  }
}

#endif
