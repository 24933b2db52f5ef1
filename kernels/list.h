/* The list of kernels, from which the tables, the tests over all tiers and the
 * benchmarks are made. X(name, job): the kernel behind xent_<name>, and the struct
 * (kernels/job.h) that it works on. A kernel missing from any of them does not build. */
#ifndef XENT_KERNELS_LIST_H
#define XENT_KERNELS_LIST_H

#define XENT_KERNELS(X)                 \
    X(log_sum_exp, row_job)             \
    X(softmax, row_job)                 \
    X(log_softmax, row_job)             \
    X(softmax_backward, row_job)        \
    X(log_softmax_backward, row_job)    \
    X(cross_entropy, row_job)           \
    X(nll, row_job)                     \
    X(sigmoid, element_job)             \
    X(sigmoid_backward, element_job)    \
    X(log_sigmoid, element_job)         \
    X(log_sigmoid_backward, element_job)\
    X(bce, element_job)                 \
    X(bce_with_logits, element_job)

#endif
