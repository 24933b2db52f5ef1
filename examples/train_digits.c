/* Learns to read handwritten digits.
 *
 * The data: 1797 images of 8 x 8 pixels, each labelled 0 to 9. The model: a small
 * multilayer perceptron,
 *   hidden = max(0, pixels W1 + b1), logits = hidden W2 + b2,
 * trained by stochastic gradient descent with momentum on the cross-entropy. xent
 * computes the loss and its gradient in the logits in one call (see cross_entropy);
 * everything else is plain loops.
 *
 *   train_digits [digits.csv]
 */
#include "common.h"

enum {
    PIXELS = 64,
    HIDDEN = 32,
    CLASSES = 10,

    BATCH = 32, /* images a step */
    EPOCHS = 30,
    EPOCHS_PER_REPORT = 5,

    /* All parameters lie in one array, so that a step of the optimizer is one loop.
     * Here is where each one begins. */
    HIDDEN_WEIGHTS = 0,                                    /* [PIXELS][HIDDEN] */
    HIDDEN_BIAS = HIDDEN_WEIGHTS + PIXELS * HIDDEN,        /* [HIDDEN] */
    OUTPUT_WEIGHTS = HIDDEN_BIAS + HIDDEN,                 /* [HIDDEN][CLASSES] */
    OUTPUT_BIAS = OUTPUT_WEIGHTS + HIDDEN * CLASSES,       /* [CLASSES] */
    PARAMETERS = OUTPUT_BIAS + CLASSES
};

static const float LEARNING_RATE = 0.1f;
static const float MOMENTUM = 0.9f;
static const uint64_t SEED = 1;

/* ---- Data ---------------------------------------------------------------- */

struct images {
    float *pixels;   /* [count][PIXELS], 0 to 1 */
    int64_t *labels; /* [count] */
    size_t count;
};

/* Takes the given rows of the table, in the given order. */
static struct images take_images(const struct table *table, const size_t *rows, size_t count)
{
    struct images images = {
        .pixels = allocate(count * PIXELS, sizeof(float)),
        .labels = allocate(count, sizeof(int64_t)),
        .count = count,
    };
    for (size_t i = 0; i < count; i++) {
        const float *row = table->values + rows[i] * table->columns;
        for (size_t pixel = 0; pixel < PIXELS; pixel++)
            images.pixels[i * PIXELS + pixel] = row[pixel] / 16;
        float label = row[PIXELS];
        if (label < 0 || label > 9 || label != (float)(int64_t)label)
            fail("row %zu: the label %g is not a digit", rows[i] + 1, (double)label);
        images.labels[i] = (int64_t)label;
    }
    return images;
}

/* ---- The model ----------------------------------------------------------- */

/* What the forward pass computes on the way, kept for the backward pass. */
struct activations {
    float *hidden; /* [count][HIDDEN] */
    float *logits; /* [count][CLASSES] */
};

/* output = input weights + bias, for `count` rows of inputs. Every output is a sum
 * over the inputs in their order; the innermost loop runs over the outputs, so the
 * compiler can use SIMD without changing the order of any sum. */
static void linear_forward(float *output, const float *input, const float *weights,
                           const float *bias, size_t count, size_t inputs, size_t outputs)
{
    for (size_t row = 0; row < count; row++) {
        float *sums = output + row * outputs;
        for (size_t o = 0; o < outputs; o++)
            sums[o] = bias[o];
        for (size_t i = 0; i < inputs; i++) {
            float value = input[row * inputs + i];
            for (size_t o = 0; o < outputs; o++)
                sums[o] += value * weights[i * outputs + o];
        }
    }
}

/* Adds the gradients of a linear layer's weights and bias to weights_gradient and
 * bias_gradient, given the gradient of its output. */
static void linear_backward_parameters(float *weights_gradient, float *bias_gradient,
                                       const float *output_gradient, const float *input,
                                       size_t count, size_t inputs, size_t outputs)
{
    for (size_t row = 0; row < count; row++) {
        const float *incoming = output_gradient + row * outputs;
        for (size_t o = 0; o < outputs; o++)
            bias_gradient[o] += incoming[o];
        for (size_t i = 0; i < inputs; i++) {
            float value = input[row * inputs + i];
            for (size_t o = 0; o < outputs; o++)
                weights_gradient[i * outputs + o] += value * incoming[o];
        }
    }
}

/* The gradient of a linear layer's input, given the gradient of its output. */
static void linear_backward_input(float *input_gradient, const float *output_gradient,
                                  const float *weights, size_t count, size_t inputs,
                                  size_t outputs)
{
    for (size_t row = 0; row < count; row++) {
        const float *incoming = output_gradient + row * outputs;
        for (size_t i = 0; i < inputs; i++) {
            float sum = 0;
            for (size_t o = 0; o < outputs; o++)
                sum += weights[i * outputs + o] * incoming[o];
            input_gradient[row * inputs + i] = sum;
        }
    }
}

static void forward(struct activations activations, const float *pixels, const float *parameters,
                    size_t count)
{
    linear_forward(activations.hidden, pixels, parameters + HIDDEN_WEIGHTS,
                   parameters + HIDDEN_BIAS, count, PIXELS, HIDDEN);
    for (size_t i = 0; i < count * HIDDEN; i++)
        activations.hidden[i] = activations.hidden[i] > 0 ? activations.hidden[i] : 0;
    linear_forward(activations.logits, activations.hidden, parameters + OUTPUT_WEIGHTS,
                   parameters + OUTPUT_BIAS, count, HIDDEN, CLASSES);
}

/* ---- Training ------------------------------------------------------------ */

/* The mean cross-entropy of the logits, and its gradient in them, [count][CLASSES],
 * unless that is NULL. The gradient may take the place of the logits. */
static double cross_entropy(float *logits, int64_t *labels, size_t count, float *gradient)
{
    const int64_t shape[] = {(int64_t)count, CLASSES};
    const xent_tensor input = {.data = logits, .dtype = XENT_F32, .ndim = 2, .shape = shape};
    const xent_tensor target = {.data = labels, .dtype = XENT_I64, .ndim = 1, .shape = shape};
    const xent_tensor output = {.data = gradient, .dtype = XENT_F32, .ndim = 2, .shape = shape};
    double mean;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs,
        .mean = &mean,
        .gradient = gradient != NULL ? &output : NULL,
    };
    xent_error error;
    check(xent_cross_entropy(&input, &target, NULL, &outputs, &error), &error);
    return mean;
}

/* The gradient of the batch's mean loss in every parameter. */
static void batch_gradients(float *gradients, const struct images *batch, const float *parameters,
                            struct activations activations)
{
    forward(activations, batch->pixels, parameters, batch->count);

    float *logits_gradient = activations.logits;
    cross_entropy(activations.logits, batch->labels, batch->count, logits_gradient);

    float hidden_gradient[BATCH * HIDDEN];
    linear_backward_input(hidden_gradient, logits_gradient, parameters + OUTPUT_WEIGHTS,
                          batch->count, HIDDEN, CLASSES);
    for (size_t i = 0; i < batch->count * HIDDEN; i++)
        if (activations.hidden[i] <= 0) /* where ReLU is flat */
            hidden_gradient[i] = 0;

    memset(gradients, 0, PARAMETERS * sizeof *gradients);
    linear_backward_parameters(gradients + OUTPUT_WEIGHTS, gradients + OUTPUT_BIAS,
                               logits_gradient, activations.hidden, batch->count, HIDDEN, CLASSES);
    linear_backward_parameters(gradients + HIDDEN_WEIGHTS, gradients + HIDDEN_BIAS,
                               hidden_gradient, batch->pixels, batch->count, PIXELS, HIDDEN);
}

/* Goes once through the training images, in a new random order, a step a batch. */
static void train_epoch(float *parameters, float *velocity, const struct images *training,
                        size_t *order, uint64_t *random)
{
    float batch_pixels[BATCH * PIXELS];
    int64_t batch_labels[BATCH];
    float hidden[BATCH * HIDDEN];
    float logits[BATCH * CLASSES];
    float gradients[PARAMETERS];
    const struct activations activations = {.hidden = hidden, .logits = logits};

    shuffle(order, training->count, random);
    for (size_t first = 0; first < training->count; first += BATCH) {
        struct images batch = {.pixels = batch_pixels, .labels = batch_labels};
        while (batch.count < BATCH && first + batch.count < training->count) {
            size_t image = order[first + batch.count];
            memcpy(batch_pixels + batch.count * PIXELS, training->pixels + image * PIXELS,
                   PIXELS * sizeof *batch_pixels);
            batch_labels[batch.count] = training->labels[image];
            batch.count++;
        }

        batch_gradients(gradients, &batch, parameters, activations);
        for (size_t i = 0; i < PARAMETERS; i++) {
            velocity[i] = MOMENTUM * velocity[i] + gradients[i];
            parameters[i] -= LEARNING_RATE * velocity[i];
        }
    }
}

/* ---- Evaluation ---------------------------------------------------------- */

struct score {
    double loss;     /* mean cross-entropy */
    double accuracy; /* share of the images read right */
};

static struct score evaluate(const float *parameters, const struct images *images)
{
    const struct activations activations = {
        .hidden = allocate(images->count * HIDDEN, sizeof(float)),
        .logits = allocate(images->count * CLASSES, sizeof(float)),
    };
    forward(activations, images->pixels, parameters, images->count);

    size_t right = 0;
    for (size_t image = 0; image < images->count; image++) {
        const float *logits = activations.logits + image * CLASSES;
        int64_t best = 0;
        for (int64_t class = 1; class < CLASSES; class++)
            if (logits[class] > logits[best])
                best = class;
        right += best == images->labels[image];
    }
    struct score score = {
        .loss = cross_entropy(activations.logits, images->labels, images->count, NULL),
        .accuracy = (double)right / (double)images->count,
    };
    free(activations.hidden);
    free(activations.logits);
    return score;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : XENT_EXAMPLE_DATA "/digits.csv";
    uint64_t random = SEED;

    /* A fifth of the images is held out: never trained on, it shows what was learned. */
    struct table table = read_csv(path, PIXELS + 1, 0);
    size_t held_out_count = table.rows / 5;
    if (held_out_count == 0)
        fail("%s: too few rows", path);
    size_t *order = allocate(table.rows, sizeof *order);
    shuffle(order, table.rows, &random);
    struct images held_out = take_images(&table, order, held_out_count);
    struct images training =
        take_images(&table, order + held_out_count, table.rows - held_out_count);
    free(table.values);

    /* The weights begin small and random, the biases at 0. */
    static float parameters[PARAMETERS];
    static float velocity[PARAMETERS];
    for (size_t i = HIDDEN_WEIGHTS; i < HIDDEN_BIAS; i++)
        parameters[i] = 0.25f * random_uniform(&random);
    for (size_t i = OUTPUT_WEIGHTS; i < OUTPUT_BIAS; i++)
        parameters[i] = 0.25f * random_uniform(&random);

    printf("%zu images to train on, %zu held out, %d parameters\n", training.count, held_out.count,
           PARAMETERS);
    printf("epoch  training loss  held-out loss  held-out accuracy\n");
    for (int epoch = 1; epoch <= EPOCHS; epoch++) {
        train_epoch(parameters, velocity, &training, order, &random);
        if (epoch % EPOCHS_PER_REPORT == 0) {
            struct score seen = evaluate(parameters, &training);
            struct score unseen = evaluate(parameters, &held_out);
            printf("%5d  %13.6f  %13.6f  %17.4f\n", epoch, seen.loss, unseen.loss,
                   unseen.accuracy);
        }
    }
    print_result(evaluate(parameters, &training).loss, parameters, PARAMETERS);

    free(order);
    free(training.pixels);
    free(training.labels);
    free(held_out.pixels);
    free(held_out.labels);
    return EXIT_SUCCESS;
}
