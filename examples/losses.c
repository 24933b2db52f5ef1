/* A tour of the losses: what PyTorch calls NLLLoss, CrossEntropyLoss, BCELoss and
 * BCEWithLogitsLoss, each with its backward pass, and the activations that turn
 * logits into predictions. Every stop is a function of its own; each can be read alone.
 *
 * The options that are not mentioned are PyTorch's defaults, so each loss is the mean
 * over its rows. */
#include "common.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* ---- Describing, filling and printing arrays ------------------------------ */

/* A packed tensor over an array of the caller's. Both arrays stay the caller's. */
static xent_tensor f32(float *data, int32_t ndim, const int64_t *shape)
{
    return (xent_tensor){.data = data, .dtype = XENT_F32, .ndim = ndim, .shape = shape};
}

static xent_tensor i64(int64_t *data, int32_t ndim, const int64_t *shape)
{
    return (xent_tensor){.data = data, .dtype = XENT_I64, .ndim = ndim, .shape = shape};
}

/* Quarters from -2 to 2: short to read, and exact. */
static void fill_logits(float *logits, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        logits[i] = (float)((int32_t)(random_u32(&seed) % 17) - 8) / 4;
}

static void fill_classes(int64_t *targets, size_t count, uint32_t classes, uint64_t seed)
{
    for (size_t i = 0; i < count; i++)
        targets[i] = random_u32(&seed) % classes;
}

static void print_matrix(const char *name, const float *values, size_t rows, size_t columns)
{
    for (size_t row = 0; row < rows; row++) {
        printf("  %-26s", row == 0 ? name : "");
        for (size_t column = 0; column < columns; column++)
            printf(" %9.6f", (double)values[row * columns + column]);
        putchar('\n');
    }
}

static void print_targets(const char *name, const int64_t *targets, size_t count)
{
    printf("  %-26s", name);
    for (size_t i = 0; i < count; i++)
        printf(" %9lld", (long long)targets[i]);
    putchar('\n');
}

static void print_loss(double loss)
{
    printf("  %-26s %9.6f\n", "loss (mean)", loss);
}

/* ---- The losses ------------------------------------------------------------ */

/* NLL takes log-probabilities, so log-softmax comes before it. Backward, the chain
 * runs the other way round: NLL's gradient in the log-probabilities, then
 * log-softmax's gradient in the logits. */
static void nll_on_log_softmax(void)
{
    enum { ROWS = 3, CLASSES = 5 };
    const int64_t shape[] = {ROWS, CLASSES};
    float logits[ROWS * CLASSES];
    int64_t targets[ROWS] = {1, 0, 4};
    float log_probabilities[ROWS * CLASSES];
    float log_probabilities_gradient[ROWS * CLASSES];
    float logits_gradient[ROWS * CLASSES];
    fill_logits(logits, COUNT(logits), 1);

    const xent_tensor x = f32(logits, 2, shape);
    const xent_tensor y = i64(targets, 1, shape);
    const xent_tensor log_p = f32(log_probabilities, 2, shape);
    const xent_tensor log_p_gradient = f32(log_probabilities_gradient, 2, shape);
    const xent_tensor x_gradient = f32(logits_gradient, 2, shape);

    double loss;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs, .mean = &loss, .gradient = &log_p_gradient};
    xent_error error;
    check(xent_log_softmax(&x, NULL, &log_p, &error), &error);
    check(xent_nll(&log_p, &y, NULL, &outputs, &error), &error);
    check(xent_log_softmax_backward(&log_p, &log_p_gradient, NULL, &x_gradient, &error), &error);

    puts("NLL on log-softmax, input (3, 5)");
    print_matrix("logits", logits, ROWS, CLASSES);
    print_targets("targets", targets, ROWS);
    print_matrix("log-softmax", log_probabilities, ROWS, CLASSES);
    print_loss(loss);
    print_matrix("gradient, log-softmax", log_probabilities_gradient, ROWS, CLASSES);
    print_matrix("gradient, logits", logits_gradient, ROWS, CLASSES);
}

/* Images: every pixel has its own row of class scores, and its own target. The classes
 * are axis 1, so the scores of one pixel lie HEIGHT * WIDTH elements apart. */
static void nll_on_images(void)
{
    enum { IMAGES = 5, CLASSES = 4, HEIGHT = 8, WIDTH = 8, PIXELS = HEIGHT * WIDTH };
    const int64_t shape[] = {IMAGES, CLASSES, HEIGHT, WIDTH};
    const int64_t target_shape[] = {IMAGES, HEIGHT, WIDTH};
    static float logits[IMAGES * CLASSES * PIXELS];
    static int64_t targets[IMAGES * PIXELS];
    static float log_probabilities[IMAGES * CLASSES * PIXELS];
    static float gradient[IMAGES * CLASSES * PIXELS];
    fill_logits(logits, COUNT(logits), 2);
    fill_classes(targets, COUNT(targets), CLASSES, 3);

    const xent_tensor x = f32(logits, 4, shape);
    const xent_tensor y = i64(targets, 3, target_shape);
    const xent_tensor log_p = f32(log_probabilities, 4, shape);
    const xent_tensor x_gradient = f32(gradient, 4, shape);

    double loss;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs, .mean = &loss, .gradient = &x_gradient};
    xent_error error;
    check(xent_log_softmax(&x, NULL, &log_p, &error), &error);
    check(xent_nll(&log_p, &y, NULL, &outputs, &error), &error);
    check(xent_log_softmax_backward(&log_p, &x_gradient, NULL, &x_gradient, &error), &error);

    /* The corner pixel of each image; all 320 would not be read by anyone. */
    float corner[IMAGES * CLASSES];
    int64_t corner_targets[IMAGES];
    for (size_t image = 0; image < IMAGES; image++) {
        corner_targets[image] = targets[image * PIXELS];
        for (size_t class = 0; class < CLASSES; class++)
            corner[image * CLASSES + class] = gradient[(image * CLASSES + class) * PIXELS];
    }
    puts("NLL on images, input (5, 4, 8, 8), target (5, 8, 8)");
    print_loss(loss);
    print_targets("targets at pixel (0, 0)", corner_targets, IMAGES);
    print_matrix("gradient, logits there", corner, IMAGES, CLASSES);
}

/* Cross-entropy is NLL on log-softmax in one call: one pass over the logits, and no
 * log-probabilities in memory. Same loss and gradient as the first stop. */
static void cross_entropy(void)
{
    enum { ROWS = 3, CLASSES = 5 };
    const int64_t shape[] = {ROWS, CLASSES};
    float logits[ROWS * CLASSES];
    int64_t targets[ROWS] = {1, 0, 4};
    float row_losses[ROWS];
    float gradient[ROWS * CLASSES];
    fill_logits(logits, COUNT(logits), 1);

    const xent_tensor x = f32(logits, 2, shape);
    const xent_tensor y = i64(targets, 1, shape);
    const xent_tensor row_loss = f32(row_losses, 1, shape);
    const xent_tensor x_gradient = f32(gradient, 2, shape);

    double loss;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs, .loss = &row_loss, .mean = &loss, .gradient = &x_gradient};
    xent_error error;
    check(xent_cross_entropy(&x, &y, NULL, &outputs, &error), &error);

    puts("Cross-entropy, the same input and targets");
    print_matrix("loss of each row", row_losses, 1, ROWS);
    print_loss(loss);
    print_matrix("gradient, logits", gradient, ROWS, CLASSES);
}

/* BCE takes probabilities, so a sigmoid comes before it; backward, the other way
 * round. */
static void bce_on_sigmoid(void)
{
    enum { ELEMENTS = 4 };
    const int64_t shape[] = {ELEMENTS};
    float logits[ELEMENTS] = {1.5f, -0.5f, 0.25f, -2};
    float targets[ELEMENTS] = {1, 0, 0, 1};
    float probabilities[ELEMENTS];
    float probabilities_gradient[ELEMENTS];
    float logits_gradient[ELEMENTS];

    const xent_tensor x = f32(logits, 1, shape);
    const xent_tensor y = f32(targets, 1, shape);
    const xent_tensor p = f32(probabilities, 1, shape);
    const xent_tensor p_gradient = f32(probabilities_gradient, 1, shape);
    const xent_tensor x_gradient = f32(logits_gradient, 1, shape);

    double loss;
    const xent_bce_outputs outputs = {
        .size = sizeof outputs, .mean = &loss, .gradient = &p_gradient};
    xent_error error;
    check(xent_sigmoid(&x, NULL, &p, &error), &error);
    check(xent_bce(&p, &y, NULL, &outputs, &error), &error);
    check(xent_sigmoid_backward(&p, &p_gradient, NULL, &x_gradient, &error), &error);

    puts("BCE on sigmoid");
    print_matrix("logits", logits, 1, ELEMENTS);
    print_matrix("targets", targets, 1, ELEMENTS);
    print_matrix("sigmoid", probabilities, 1, ELEMENTS);
    print_loss(loss);
    print_matrix("gradient, sigmoid", probabilities_gradient, 1, ELEMENTS);
    print_matrix("gradient, logits", logits_gradient, 1, ELEMENTS);
}

/* BCE on logits is BCE on sigmoid in one call, and holds where the sigmoid has long
 * rounded to 0 or 1. */
static void bce_on_logits(void)
{
    enum { ELEMENTS = 4 };
    const int64_t shape[] = {ELEMENTS};
    float logits[ELEMENTS] = {1.5f, -0.5f, 0.25f, -2};
    float targets[ELEMENTS] = {1, 0, 0, 1};
    float gradient[ELEMENTS];

    const xent_tensor x = f32(logits, 1, shape);
    const xent_tensor y = f32(targets, 1, shape);
    const xent_tensor x_gradient = f32(gradient, 1, shape);

    double loss;
    const xent_bce_outputs outputs = {
        .size = sizeof outputs, .mean = &loss, .gradient = &x_gradient};
    xent_error error;
    check(xent_bce_with_logits(&x, &y, NULL, &outputs, &error), &error);

    puts("BCE on logits, the same input and targets");
    print_loss(loss);
    print_matrix("gradient, logits", gradient, 1, ELEMENTS);
}

/* ---- Prediction ------------------------------------------------------------- */

/* No target, no loss: what a trained model's logits say. Softmax and log-softmax where
 * one class excludes the others, sigmoid where each has its own yes or no. */
static void prediction(void)
{
    enum { ROWS = 2, CLASSES = 4 };
    const int64_t shape[] = {ROWS, CLASSES};
    float logits[ROWS * CLASSES];
    float activations[ROWS * CLASSES];
    fill_logits(logits, COUNT(logits), 4);

    const xent_tensor x = f32(logits, 2, shape);
    const xent_tensor output = f32(activations, 2, shape);
    xent_error error;

    puts("Prediction");
    print_matrix("logits", logits, ROWS, CLASSES);
    check(xent_softmax(&x, NULL, &output, &error), &error);
    print_matrix("softmax", activations, ROWS, CLASSES);
    check(xent_log_softmax(&x, NULL, &output, &error), &error);
    print_matrix("log-softmax", activations, ROWS, CLASSES);
    check(xent_sigmoid(&x, NULL, &output, &error), &error);
    print_matrix("sigmoid", activations, ROWS, CLASSES);
}

/* ---- Options ------------------------------------------------------------------ */

/* Unbalanced data: five rows of class 0 and one of class 1, so class 0 has the say. A
 * weight for each class, here one over its number of rows, gives both the same. The
 * mean then divides by the sum of the weights. */
static void class_weights(void)
{
    enum { ROWS = 6, CLASSES = 2 };
    const int64_t shape[] = {ROWS, CLASSES};
    const int64_t weight_shape[] = {CLASSES};
    float logits[ROWS * CLASSES];
    int64_t targets[ROWS] = {0, 0, 0, 0, 0, 1};
    float weights[CLASSES] = {0.2f, 1};
    float gradient[ROWS * CLASSES];
    fill_logits(logits, COUNT(logits), 5);

    const xent_tensor x = f32(logits, 2, shape);
    const xent_tensor y = i64(targets, 1, shape);
    const xent_tensor weight = f32(weights, 1, weight_shape);
    const xent_tensor x_gradient = f32(gradient, 2, shape);

    double loss;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs, .mean = &loss, .gradient = &x_gradient};
    xent_cross_entropy_options options;
    check(xent_cross_entropy_options_init(&options, sizeof options), NULL);
    xent_error error;

    puts("Class weights on unbalanced data");
    print_matrix("logits", logits, ROWS, CLASSES);
    print_targets("targets", targets, ROWS);
    puts(" without weights");
    check(xent_cross_entropy(&x, &y, &options, &outputs, &error), &error);
    print_loss(loss);
    print_matrix("gradient, logits", gradient, ROWS, CLASSES);
    puts(" with weights");
    options.weight = &weight;
    check(xent_cross_entropy(&x, &y, &options, &outputs, &error), &error);
    print_matrix("weights", weights, 1, CLASSES);
    print_loss(loss);
    print_matrix("gradient, logits", gradient, ROWS, CLASSES);
}

/* A confident, right prediction has a tiny loss, not none. Computed the usual way,
 * 1 + exp(-20) is 1 in float: loss and gradient come out 0, and nothing more is
 * learned from that row. */
static void loss_never_vanishes(void)
{
    const int64_t shape[] = {1, 2};
    float logits[] = {20, 0};
    int64_t targets[] = {0};
    float gradient[2];

    const xent_tensor x = f32(logits, 2, shape);
    const xent_tensor y = i64(targets, 1, shape);
    const xent_tensor x_gradient = f32(gradient, 2, shape);

    double loss;
    const xent_cross_entropy_outputs outputs = {
        .size = sizeof outputs, .mean = &loss, .gradient = &x_gradient};
    xent_error error;
    check(xent_cross_entropy(&x, &y, NULL, &outputs, &error), &error);

    puts("The loss never vanishes: logits (20, 0), target 0");
    printf("  %-26s %.7g\n", "loss", loss);
    printf("  %-26s %.7g %.7g\n", "gradient, logits", (double)gradient[0], (double)gradient[1]);
}

int main(void)
{
    void (*const stops[])(void) = {
        nll_on_log_softmax, nll_on_images, cross_entropy, bce_on_sigmoid,
        bce_on_logits,      prediction,    class_weights, loss_never_vanishes,
    };
    print_tier();
    for (size_t i = 0; i < COUNT(stops); i++) {
        putchar('\n');
        stops[i]();
    }
    return EXIT_SUCCESS;
}
