#include "oracle.h"

#include <math.h>

struct oracle_row oracle_row(const float *x, int64_t classes)
{
    int64_t top = 0;
    for (int64_t c = 1; c < classes; c++) {
        if (x[c] > x[top]) {
            top = c;
        }
    }
    struct oracle_row row = {(double)x[top], 0};
    for (int64_t c = 0; c < classes; c++) {
        if (c != top) {
            row.rest += exp((double)x[c] - row.max);
        }
    }
    return row;
}

double oracle_lse(struct oracle_row row)
{
    return isinf(row.max) ? row.max : row.max + log1p(row.rest);
}

double oracle_softmax(struct oracle_row row, double x)
{
    return exp(x - row.max) / (1 + row.rest);
}

double oracle_log_softmax(struct oracle_row row, double x)
{
    return -oracle_loss(row, x);
}

double oracle_loss(struct oracle_row row, double x)
{
    return (row.max - x) + log1p(row.rest);
}

double oracle_loss_gradient(struct oracle_row row, double x, bool is_target)
{
    if (is_target && x == row.max) {
        return -row.rest / (1 + row.rest); /* 1 / (1 + rest) - 1 */
    }
    return oracle_softmax(row, x) - (is_target ? 1 : 0);
}

double oracle_sigmoid(double x)
{
    return 1 / (1 + exp(-x));
}

double oracle_log_sigmoid(double x)
{
    return fmin(x, 0) - log1p(exp(-fabs(x)));
}

double oracle_softplus(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

double oracle_bce_term1(double p, double y)
{
    return -y * fmax(log(p), -100);
}

double oracle_bce_term0(double p, double y)
{
    return -(1 - y) * fmax(log1p(-p), -100);
}

double oracle_bce_gradient(double p, double y)
{
    return (p - y) / fmax((1 - p) * p, (double)1e-12f);
}

double oracle_bce_target_gradient(double p)
{
    return log1p(-p) - log(p);
}
