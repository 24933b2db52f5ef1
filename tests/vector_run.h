/* The groups of tests that test_vector_run.c runs; each returns how many failed. */
#ifndef XENT_TESTS_VECTOR_RUN_H
#define XENT_TESTS_VECTOR_RUN_H

/* Instruction set and precision: "avx2 f64". */
extern const char *const xent_test_isa;

int xent_test_vector_words(void);
int xent_test_vector_memory(void);
int xent_test_vector_storage(void);
int xent_test_vector_sums(void);
int xent_test_vector_pairs(void); /* with XENT_REAL_F64 */

#endif
