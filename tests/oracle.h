/* The formulas, in double, as short as they can be said. A double has 29 bits more than
 * the float whose last place is in question, so none of the functions has to be clever,
 * but for one thing: what is small is never added to 1 before its logarithm is taken. */
#ifndef XENT_TESTS_ORACLE_H
#define XENT_TESTS_ORACLE_H

#include <stdbool.h>
#include <stdint.h>

/* A row of logits: its max, and the sum of exp(x - max) over all others but that one. */
struct oracle_row {
    double max, rest;
};

struct oracle_row oracle_row(const float *x, int64_t classes);

/* log sum exp(x) = max + log1p(rest). */
double oracle_lse(struct oracle_row row);

/* exp(x - lse), for the logit x of the row. */
double oracle_softmax(struct oracle_row row, double x);

/* x - lse. */
double oracle_log_softmax(struct oracle_row row, double x);

/* lse - x: the loss if x is the target's logit. */
double oracle_loss(struct oracle_row row, double x);

/* Of the loss, in the logit x: its probability, less 1 for the target. */
double oracle_loss_gradient(struct oracle_row row, double x, bool is_target);

double oracle_sigmoid(double x);     /* 1 / (1 + exp(-x)) */
double oracle_log_sigmoid(double x); /* log of it */
double oracle_softplus(double x);    /* log(1 + exp(x)) */

/* Binary cross-entropy of the probability p with target y is the sum of two terms, one of
 * them for target 1 and one for target 0. Logarithms stop at -100. */
double oracle_bce_term1(double p, double y); /* -y log p */
double oracle_bce_term0(double p, double y); /* -(1 - y) log(1 - p) */
double oracle_bce_gradient(double p, double y);
double oracle_bce_target_gradient(double p);

#endif
