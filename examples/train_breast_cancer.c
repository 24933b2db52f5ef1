/* Learns to tell malignant tumours from benign ones.
 *
 * The data: 569 tumours, 30 measured features each, 212 of them malignant. The model:
 * logistic regression, logit = features w + b, the tumour being malignant with
 * probability sigmoid(logit); trained by gradient descent on the binary
 * cross-entropy. The malignant ones are fewer, and missing one is worse than a false
 * alarm, so their part of the loss is scaled up by pos_weight (see loss_and_gradient).
 *
 *   train_breast_cancer [breast_cancer.csv]
 */
#include "common.h"

enum {
    FEATURES = 30,
    BIAS = FEATURES, /* the parameters: one weight a feature, then the bias */
    PARAMETERS,

    STEPS = 200, /* of gradient descent, each over the whole training set */
    STEPS_PER_REPORT = 40
};

static const float LEARNING_RATE = 0.5f;
static const uint64_t SEED = 1;

/* ---- Data ---------------------------------------------------------------- */

struct tumours {
    float *features;  /* [count][FEATURES] */
    float *malignant; /* [count], 1 or 0: the target */
    size_t count;
};

/* Takes the given rows of the table, in the given order. */
static struct tumours take_tumours(const struct table *table, const size_t *rows, size_t count)
{
    struct tumours tumours = {
        .features = allocate(count * FEATURES, sizeof(float)),
        .malignant = allocate(count, sizeof(float)),
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        const float *row = table->values + rows[i] * table->columns;
        memcpy(tumours.features + i * FEATURES, row, FEATURES * sizeof *row);
        float label = row[FEATURES];
        if (label != 0 && label != 1)
            fail("row %zu: the label %g is neither 0 (malignant) nor 1 (benign)", rows[i] + 1,
                 (double)label);
        tumours.malignant[i] = 1 - label;
    }
    return tumours;
}

/* Shifts and scales each feature to mean 0 and standard deviation 1 over the training
 * set. The held-out set gets the same shift and scale: its own would be knowledge
 * that a model in use does not have. */
static void standardise(struct tumours *training, struct tumours *held_out)
{
    for (size_t feature = 0; feature < FEATURES; feature++) {
        double sum = 0;
        for (size_t i = 0; i < training->count; i++)
            sum += (double)training->features[i * FEATURES + feature];
        double mean = sum / (double)training->count;

        double squares = 0;
        for (size_t i = 0; i < training->count; i++) {
            double difference = (double)training->features[i * FEATURES + feature] - mean;
            squares += difference * difference;
        }
        double deviation = sqrt(squares / (double)training->count);
        if (deviation == 0)
            fail("feature %zu is the same in all rows", feature + 1);

        for (size_t i = 0; i < training->count; i++) {
            float *value = &training->features[i * FEATURES + feature];
            *value = (float)(((double)*value - mean) / deviation);
        }
        for (size_t i = 0; i < held_out->count; i++) {
            float *value = &held_out->features[i * FEATURES + feature];
            *value = (float)(((double)*value - mean) / deviation);
        }
    }
}

/* Negatives for each positive. As pos_weight it gives both classes the same say. */
static float negatives_per_positive(const struct tumours *tumours)
{
    size_t positives = 0;
    for (size_t i = 0; i < tumours->count; i++)
        positives += tumours->malignant[i] == 1;
    if (positives == 0)
        fail("no malignant tumour to learn from");
    return (float)(tumours->count - positives) / (float)positives;
}

/* ---- The model ----------------------------------------------------------- */

static void forward(float *logits, const struct tumours *tumours, const float *parameters)
{
    for (size_t i = 0; i < tumours->count; i++) {
        float sum = parameters[BIAS];
        for (size_t feature = 0; feature < FEATURES; feature++)
            sum += tumours->features[i * FEATURES + feature] * parameters[feature];
        logits[i] = sum;
    }
}

/* The mean binary cross-entropy of the logits. Its gradient in them takes their place:
 * an output of xent may be exactly an input. */
static double loss_and_gradient(float *logits, const struct tumours *tumours, float pos_weight)
{
    const int64_t shape[] = {(int64_t)tumours->count};
    const xent_tensor input = {.data = logits, .dtype = XENT_F32, .ndim = 1, .shape = shape};
    const xent_tensor target = {
        .data = tumours->malignant, .dtype = XENT_F32, .ndim = 1, .shape = shape};
    const xent_tensor pos_weight_tensor = {.data = &pos_weight, .dtype = XENT_F32, .ndim = 0};

    xent_bce_options options;
    check(xent_bce_options_init(&options, sizeof options), NULL);
    options.pos_weight = &pos_weight_tensor; /* one number, broadcast onto all logits */

    double mean;
    const xent_bce_outputs outputs = {.size = sizeof outputs, .mean = &mean, .gradient = &input};
    xent_error error;
    check(xent_bce_with_logits(&input, &target, &options, &outputs, &error), &error);
    return mean;
}

/* The gradient in the parameters, from the gradient in the logits. */
static void backward(float *gradients, const float *logits_gradient, const struct tumours *tumours)
{
    memset(gradients, 0, PARAMETERS * sizeof *gradients);
    for (size_t i = 0; i < tumours->count; i++) {
        for (size_t feature = 0; feature < FEATURES; feature++)
            gradients[feature] += tumours->features[i * FEATURES + feature] * logits_gradient[i];
        gradients[BIAS] += logits_gradient[i];
    }
}

/* ---- Evaluation ---------------------------------------------------------- */

struct score {
    double accuracy;        /* share of the tumours told right */
    size_t malignant;       /* tumours that are malignant, */
    size_t malignant_found; /* and those of them that the model says are */
};

static struct score evaluate(const float *parameters, const struct tumours *tumours)
{
    float *logits = allocate(tumours->count, sizeof *logits);
    forward(logits, tumours, parameters);

    struct score score = {0};
    size_t right = 0;
    for (size_t i = 0; i < tumours->count; i++) {
        bool malignant = tumours->malignant[i] == 1;
        bool said_malignant = logits[i] > 0; /* a probability above one half */
        right += malignant == said_malignant;
        score.malignant += malignant;
        score.malignant_found += malignant && said_malignant;
    }
    score.accuracy = (double)right / (double)tumours->count;
    free(logits);
    return score;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : XENT_EXAMPLE_DATA "/breast_cancer.csv";
    uint64_t random = SEED;

    /* A fifth of the tumours is held out: never trained on, it shows what was learned. */
    struct table table = read_csv(path, FEATURES + 1, 1);
    size_t held_out_count = table.rows / 5;
    if (held_out_count == 0)
        fail("%s: too few rows", path);
    size_t *order = allocate(table.rows, sizeof *order);
    shuffle(order, table.rows, &random);
    struct tumours held_out = take_tumours(&table, order, held_out_count);
    struct tumours training =
        take_tumours(&table, order + held_out_count, table.rows - held_out_count);
    free(order);
    free(table.values);
    standardise(&training, &held_out);
    float pos_weight = negatives_per_positive(&training);

    /* The loss is convex: 0 is as good a start as any. */
    float parameters[PARAMETERS] = {0};
    float gradients[PARAMETERS];
    float *logits = allocate(training.count, sizeof *logits);

    printf("%zu tumours to train on, %zu held out, pos_weight %.4f\n", training.count,
           held_out.count, (double)pos_weight);
    printf(" step  training loss  held-out accuracy  malignant found\n");
    for (int step = 1; step <= STEPS; step++) {
        forward(logits, &training, parameters);
        double loss = loss_and_gradient(logits, &training, pos_weight);
        backward(gradients, logits, &training);
        for (size_t i = 0; i < PARAMETERS; i++)
            parameters[i] -= LEARNING_RATE * gradients[i];

        if (step % STEPS_PER_REPORT == 0) {
            struct score score = evaluate(parameters, &held_out);
            printf("%5d  %13.6f  %17.4f  %8zu of %3zu\n", step, loss, score.accuracy,
                   score.malignant_found, score.malignant);
        }
    }
    forward(logits, &training, parameters);
    print_result(loss_and_gradient(logits, &training, pos_weight), parameters, PARAMETERS);

    free(logits);
    free(training.features);
    free(training.malignant);
    free(held_out.features);
    free(held_out.malignant);
    return EXIT_SUCCESS;
}
