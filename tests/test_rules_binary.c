/* A rule each of the binary losses' options, on two rows of four elements, and the sigmoids with
 * their backward, in f32 and in f64, on every tier. The expected values were computed from the
 * formulas alone, the gradients by differentiating the losses numerically, in 80 digits. Weights
 * of losses and all else that is multiplied with a whole gradient are powers of two: they add no
 * rounding, and the bounds are those of xent.h. */
#include <math.h>

#include "rules.h"

enum { ROWS = 2, COLUMNS = 4, COUNT = ROWS * COLUMNS };

/* The logarithm of 2^-148 is below -100, that of 2^-144 above. */
static const double probabilities[COUNT] = {0x1p-148, 1, 0.25, 0.75, 0x1p-144, 0.625, 0x1p-30, 1 - 0x1p-24};
static const double targets_of_probabilities[COUNT] = {1, 0, 0.5, 0.25, 1, 0, 0.125, 0.875};
static const double logits[COUNT] = {0.5, -1.5, 20, -20, 3.25, -0.125, 60, -7};
static const double targets_of_logits[COUNT] = {1, 0, 1, 0, 0.5, 0.25, 1, 1};
static const double weight_of_columns[COLUMNS] = {0.5, 2, 4, 0.25};
static const double pos_weight_of_rows[ROWS] = {3, 0.625};
static const double incoming_of_elements[COUNT] = {2, -0.5, 4, 1, 0.25, -2, -0.125, 8};
static const double incoming_of_all[] = {2};

struct answer {
    double loss[COUNT], sum, divisor, mean, gradient[COUNT], target_gradient[COUNT];
    double largest[COUNT], target_largest[COUNT]; /* of the terms that the gradients are sums of; 0: themselves */
};

struct question {
    bool with_logits, weighted, pos_weighted;
    const double *incoming; /* one an element if the reduction is NONE */
    xent_bce_options options;
};

static xent_bce_options defaults(xent_reduction reduction)
{
    xent_bce_options options;
    assert_int_equal(xent_bce_options_init(&options, sizeof options), XENT_OK);
    options.reduction = reduction;
    return options;
}

/* Bounds: of the loss, of the gradient in the input, and of that in the target. */
static void ask(xent_tier tier, const struct question *q, const struct answer *expected, const double bound[3])
{
    static const xent_dtype dtypes[] = {XENT_F32, XENT_F64};
    for (int d = 0; d < 2; d++) {
        const xent_dtype dtype = dtypes[d];
        struct stored x, y, w, p, g, loss, gradient, target_gradient;
        double sum, divisor, mean;
        const xent_execution execution = check_execution(tier);
        xent_bce_options options = q->options;
        options.execution = &execution;
        if (q->weighted) options.weight = store(&w, dtype, 1, COLUMNS, 1, weight_of_columns);
        if (q->pos_weighted) options.pos_weight = store(&p, dtype, 2, ROWS, 1, pos_weight_of_rows);
        if (q->incoming != NULL)
            options.output_gradient = store(&g, dtype, options.reduction == XENT_REDUCTION_NONE ? 2 : 0, ROWS, COLUMNS, q->incoming);
        const bool focal = options.focal_gamma > 0; /* it has no gradient in the target */
        const xent_bce_outputs outputs = {
            .size = sizeof outputs,
            .loss = store(&loss, dtype, 2, ROWS, COLUMNS, NULL),
            .sum = &sum,
            .divisor = &divisor,
            .mean = &mean,
            .gradient = store(&gradient, dtype, 2, ROWS, COLUMNS, NULL),
            .target_gradient = focal ? NULL : store(&target_gradient, dtype, 2, ROWS, COLUMNS, NULL),
        };
        const xent_tensor *input = store(&x, dtype, 2, ROWS, COLUMNS, q->with_logits ? logits : probabilities);
        const xent_tensor *target = store(&y, dtype, 2, ROWS, COLUMNS, q->with_logits ? targets_of_logits : targets_of_probabilities);
        xent_error error = {0};
        const xent_status status =
            q->with_logits ? xent_bce_with_logits(input, target, &options, &outputs, &error) : xent_bce(input, target, &options, &outputs, &error);
        assert_status(status, XENT_OK, &error);
        assert_all_near("loss", &loss, expected->loss, NULL, bound[0]);
        assert_all_near("gradient", &gradient, expected->gradient, expected->largest, bound[1]);
        if (!focal) assert_all_near("target_gradient", &target_gradient, expected->target_gradient, expected->target_largest, bound[2]);
        assert_same(divisor, expected->divisor);
        assert_near("sum", 0, dtype, sum, expected->sum, 2 * bound[0]); /* ulps of its terms may be twice as large */
        assert_near("mean", 0, dtype, mean, expected->mean, 2 * bound[0]);
    }
}

static const double of_probabilities[] = {4, 4, 3}, of_logits[] = {5, 5, 5};

/* ---- Of probabilities ------------------------------------------------------------------- */

static void clamped_logarithms(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {100, 100, 0.8369882167858358, 1.1116412889528633, 99.81319400063212, 0.9808292530117262,
            2.599301927914702, 2.0794415938339017},
        .sum = 307.42139628113114,
        .divisor = 8,
        .mean = 38.42767453514139,
        .gradient = {-125000000499.47536, 125000000499.47536, -0.16666666666666666, 0.3333333333333333,
            -125000000499.47536, 0.3333333333333333, -16777215.890625, 262143.89062499348},
        .target_gradient = {12.823222840358989, -INFINITY, 0.13732653608351372, -0.13732653608351372,
            12.476649250079015, -0.06385320297074884, 2.5993019269833795, -2.079441534229255},
        .target_largest = {12.8, INFINITY, 0.173, 0.173, 12.5, 0.123, 2.6, 2.08},
    };
    struct question q = {.options = defaults(XENT_REDUCTION_MEAN)};
    ask(tier, &q, &expected, of_probabilities);
}

static void weights_and_a_sum(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {50, 200, 3.347952867143343, 0.2779103222382158, 49.90659700031606, 1.9616585060234524,
            10.397207711658808, 0.5198603984584754},
        .sum = 316.4111868058384,
        .divisor = 8,
        .mean = 39.5513983507298,
        .gradient = {-1000000003995.8029, 4000000015983.2114, -10.666666666666666, 1.3333333333333333,
            -1000000003995.8029, 10.666666666666666, -1073741817, 1048575.5624999739},
        .target_gradient = {102.58578272287191, -INFINITY, 8.788898309344878, -0.5493061443340549,
            99.81319400063212, -2.043302495063963, 166.3553233269363, -8.31776613691702},
        .target_largest = {103, INFINITY, 11.1, 0.693, 99.8, 3.92, 166, 8.32},
    };
    struct question q = {.weighted = true, .incoming = incoming_of_all, .options = defaults(XENT_REDUCTION_SUM)};
    ask(tier, &q, &expected, of_probabilities);
}

static void a_loss_an_element_and_its_incoming_gradient(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {100, 100, 0.8369882167858358, 1.1116412889528633, 99.81319400063212, 0.9808292530117262,
            2.599301927914702, 2.0794415938339017},
        .sum = 307.42139628113114,
        .divisor = 8,
        .mean = 38.42767453514139,
        .gradient = {-2000000007991.6057, -500000001997.9014, -5.333333333333333, 2.6666666666666665,
            -250000000998.9507, -5.333333333333333, 16777215.890625, 16777208.999999583},
        .target_gradient = {205.17156544574382, INFINITY, 4.394449154672439, -1.0986122886681098, 24.95329850015803,
            1.0216512475319814, -2.5993019269833795, -133.08425819067233},
        .target_largest = {205, INFINITY, 5.55, 1.39, 25, 1.96, 2.6, 133},
    };
    struct question q = {.incoming = incoming_of_elements, .options = defaults(XENT_REDUCTION_NONE)};
    ask(tier, &q, &expected, of_probabilities);
}

static void smoothed_probabilities_and_a_given_divisor(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {43.75, 175, 3.347952867143343, 0.2607445052277766, 43.66827237527655, 1.8339521000819548,
            18.195113492608947, 0.9097556861264607},
        .sum = 286.965791026465,
        .divisor = 64,
        .mean = 4.483840484788516,
        .gradient = {-6835937527.315059, 27343750109.260235, -0.08333333333333333, 0.009114583333333334,
            -6835937527.315059, 0.06666666666666667, -14680063.951171875, 14335.996948242006},
        .target_gradient = {0.6010885706418275, -INFINITY, 0.05149745103131764, -0.0032185906894573527,
            0.5848429335974539, -0.011972475557015406, 0.9747382226187673, -0.048736910958498164},
        .target_largest = {0.601, INFINITY, 0.065, 0.00406, 0.585, 0.023, 0.975, 0.0487},
    };
    struct question q = {.weighted = true, .options = defaults(XENT_REDUCTION_MEAN)};
    q.options.label_smoothing = 0.25;
    q.options.divisor_kind = XENT_DIVISOR_GIVEN;
    q.options.divisor = 64;
    ask(tier, &q, &expected, of_probabilities);
}

/* ---- Of logits -------------------------------------------------------------------------- */

static void a_mean(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.4740769841801067, 0.2014132779827524, 2.061153620314381e-9, 2.061153620314381e-9,
            1.6630413716877832, 0.6638490353171691, 8.75651076269652e-27, 7.000911466453775},
        .sum = 10.003292139743893,
        .divisor = 8,
        .mean = 1.2504115174679866,
        .gradient = {-0.04719258359976818, 0.022803190475794544, -2.5764420227377547e-10, 2.5764420227377547e-10,
            0.057834139081983815, 0.027348828328280467, -1.094563845337065e-27, -0.12488611860069992},
        .target_gradient = {-0.0625, 0.1875, -2.5, 2.5, -0.40625, 0.015625, -7.5, 0.875},
        .largest = {0.0472, 0.0228, 2.58e-10, 2.58e-10, 0.0602, 0.0439, 1.09e-27, 0.125},
        .target_largest = {0.122, 0.213, 2.5, 2.5, 0.411, 0.0947, 7.5, 0.875},
    };
    struct question q = {.with_logits = true, .options = defaults(XENT_REDUCTION_MEAN)};
    ask(tier, &q, &expected, of_logits);
    q.options.divisor_kind = XENT_DIVISOR_ROWS; /* elements, either way */
    ask(tier, &q, &expected, of_logits);
}

static void pos_weights_weights_and_a_sum(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.71111547627016, 0.4028265559655048, 2.473384344377257e-8, 5.152884050785952e-10,
            0.8279543072481619, 1.185648251512369, 2.1891276906741302e-26, 1.0938924166334023},
        .sum = 4.22143703287873,
        .divisor = 8,
        .mean = 0.5276796291098412,
        .gradient = {-1.1326220063944363, 0.7297020952254254, -4.9467686836564886e-8, 1.0305768090951019e-9,
            0.4696719040328948, 1.0743660215201336, -4.3782553813482603e-26, -0.3122152965017498},
        .target_gradient = {0.4481539683602134, 19.61130622386202, -159.99999996702155, 30.000000002061153,
            -3.2642655143829185, -0.6363985529757537, -480, 2.1873291000399173},
        .largest = {1.13, 0.73, 4.95e-8, 1.03e-9, 0.481, 1.41, 4.38e-26, 0.312},
        .target_largest = {1.42, 20.4, 160, 30, 3.29, 2.53, 480, 2.19},
    };
    struct question q = {.with_logits = true, .weighted = true, .pos_weighted = true, .incoming = incoming_of_all,
                         .options = defaults(XENT_REDUCTION_SUM)};
    ask(tier, &q, &expected, of_logits);
}

static void smoothing_and_all_weights(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.6831058532476467, 1.628533194956881, 10.00000002267269, 1.8750000006441105, 0.8279543072481619,
            1.1657607967318766, 30, 0.9571843478809073},
        .sum = 47.137538523382275,
        .divisor = 8,
        .mean = 5.892192315422784,
        .gradient = {-0.9132368391949, 0.14696809524205456, 1.9999999093092409, -0.0937499993558895,
            0.05870898800411185, -0.8741669002739232, -0.0625, -1.0925257749575241},
        .target_gradient = {0.33611547627016003, -3.6771199169741284, -239.9999999505323, 11.250000000772932,
            -0.3060248919733986, 0.4772989147318152, 22.5, 6.561987300119752},
        .largest = {0.991, 0.307, 2, 0.0937, 0.0602, 1.29, 0.0625, 1.09},
        .target_largest = {1.07, 3.83, 240, 11.3, 0.308, 1.9, 22.5, 6.56},
    };
    struct question q = {.with_logits = true, .weighted = true, .pos_weighted = true, .incoming = incoming_of_elements,
                         .options = defaults(XENT_REDUCTION_NONE)};
    q.options.label_smoothing = 0.25;
    ask(tier, &q, &expected, of_logits);
}

static void focal_loss(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.06757349051750364, 0.006702846926575657, 8.756510717575235e-27, 8.756510717575235e-27,
            0.4157603429219458, 0.15576475401267775, 6.714184288211594e-79, 6.988160899803445},
        .sum = 7.633962334182147,
        .divisor = 8,
        .mean = 0.9542452917727684,
        .gradient = {-0.017242124668864302, 0.002128888152904491, -3.283691513450553e-27, 3.283691513450553e-27,
            0.014458534770495954, 0.0164268627536586, -2.5178191080793474e-79, -0.12625031004653858},
        .largest = {0.0105, 0.00137, 2.19e-27, 2.19e-27, 0.015, 0.0103, 1.68e-79, 0.125},
    };
    struct question q = {.with_logits = true, .options = defaults(XENT_REDUCTION_MEAN)};
    q.options.focal_gamma = 2;
    ask(tier, &q, &expected, (const double[]){16, 16, 0});
}

static void focal_loss_with_alpha_and_weights(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.013746891205987523, 0.02354007052189776, 1.9287498400130184e-22, 3.6164059500244096e-23,
            0.14699347891427614, 0.279755890873095, 7.175095973164411e-66, 0.4369591476703646},
        .sum = 0.9009954791856211,
        .divisor = 8,
        .mean = 0.11262443489820263,
        .gradient = {-0.047565864510668326, 0.10037905603490684, -9.643749184163294e-22, 1.8082029720306175e-22,
            0.08178982385791338, 0.40013559168118995, -3.5875479865822053e-65, -0.12590976746697266},
        .largest = {0.0257, 0.0577, 5.79e-22, 1.08e-22, 0.0851, 0.296, 2.15e-65, 0.125},
    };
    struct question q = {.with_logits = true, .weighted = true, .incoming = incoming_of_all, .options = defaults(XENT_REDUCTION_SUM)};
    q.options.focal_gamma = 1.5;
    q.options.focal_alpha = 0.25;
    ask(tier, &q, &expected, (const double[]){14, 14, 0});
}

/* ---- Both ------------------------------------------------------------------------------- */

/* The mean of no element, and what is divided by. */
static void an_empty_mean(xent_tier tier)
{
    const xent_execution execution = check_execution(tier);
    for (int which = 0; which < 4; which++) {
        struct stored x, y;
        double sum = 7, divisor = 7, mean = 7;
        xent_bce_options options = defaults(XENT_REDUCTION_MEAN);
        options.execution = &execution;
        options.empty_mean_is_zero = which / 2;
        const xent_bce_outputs outputs = {.size = sizeof outputs, .sum = &sum, .divisor = &divisor, .mean = &mean};
        const xent_tensor *input = store(&x, XENT_F32, 2, 0, COLUMNS, NULL), *target = store(&y, XENT_F32, 2, 0, COLUMNS, NULL);
        xent_error error = {0};
        const xent_status status = which % 2 == 0 ? xent_bce(input, target, &options, &outputs, &error)
                                                  : xent_bce_with_logits(input, target, &options, &outputs, &error);
        assert_status(status, XENT_OK, &error);
        assert_same(sum, 0);
        assert_same(divisor, 0);
        assert_same(mean, which / 2 ? 0 : (double)NAN);
    }
}

/* ---- Sigmoid and log-sigmoid ------------------------------------------------------------ */

typedef xent_status forward_function(const xent_tensor *, const xent_elementwise_options *, const xent_tensor *, xent_error *);
typedef xent_status backward_function(const xent_tensor *, const xent_tensor *, const xent_elementwise_options *, const xent_tensor *, xent_error *);

/* One of the two functions, in both types. */
static void map(xent_tier tier, forward_function *forward, backward_function *backward, const double *input, const double *incoming,
                const double *expected, double bound)
{
    static const xent_dtype dtypes[] = {XENT_F32, XENT_F64};
    for (int d = 0; d < 2; d++) {
        struct stored x, g, out;
        const xent_execution execution = check_execution(tier);
        const xent_elementwise_options options = {sizeof options, &execution};
        const xent_tensor *from = store(&x, dtypes[d], 2, ROWS, COLUMNS, input), *to = store(&out, dtypes[d], 2, ROWS, COLUMNS, NULL);
        xent_error error = {0};
        const xent_status status = forward != NULL ? forward(from, &options, to, &error)
                                                   : backward(from, store(&g, dtypes[d], 2, ROWS, COLUMNS, incoming), &options, to, &error);
        assert_status(status, XENT_OK, &error);
        assert_all_near("output", &out, expected, NULL, bound);
    }
}

static const double incoming_of_map[COUNT] = {0.5, -1.25, 3, 1, 0.75, -7, 11, 0.125};

static void sigmoid(xent_tier tier)
{
    static const double expected[COUNT] =
        {0.6224593312018546, 0.18242552380635635, 0.9999999979388464, 2.0611536181902037e-9,
        0.9626731126558705, 0.46879062662624377, 1, 0.0009110511944006454};
    map(tier, xent_sigmoid, NULL, logits, NULL, expected, 2.5);
}

static void sigmoid_backward(xent_tier tier)
{
    static const double outputs[COUNT] = {0.5, 0.125, 1, 0, 0x1p-20, 1 - 0x1p-24, 0.875, 0.375};
    static const double expected[COUNT] =
        {0.125, -0.13671875, 0, 0, 7.152550551836612e-7, -4.172324885587386e-7, 1.203125, 0.029296875};
    map(tier, NULL, xent_sigmoid_backward, outputs, incoming_of_map, expected, 3);
}

static void log_sigmoid(xent_tier tier)
{
    static const double expected[COUNT] =
        {-0.4740769841801067, -1.7014132779827524, -2.061153620314381e-9, -20.000000002061153,
        -0.038041371687783126, -0.7575990353171691, -8.75651076269652e-27, -7.000911466453775};
    map(tier, xent_log_sigmoid, NULL, logits, NULL, expected, 2);
}

static void log_sigmoid_backward(xent_tier tier)
{
    static const double expected[COUNT] =
        {0.18877033439907273, -1.0219680952420547, 6.183460854570611e-9, 0.9999999979388464,
        0.027995165508097095, -3.718465613616294, 9.632161838966172e-26, 0.12488611860069992};
    map(tier, NULL, xent_log_sigmoid_backward, logits, incoming_of_map, expected, 3);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(clamped_logarithms),
        on_every_tier(weights_and_a_sum),
        on_every_tier(a_loss_an_element_and_its_incoming_gradient),
        on_every_tier(smoothed_probabilities_and_a_given_divisor),
        on_every_tier(a_mean),
        on_every_tier(pos_weights_weights_and_a_sum),
        on_every_tier(smoothing_and_all_weights),
        on_every_tier(focal_loss),
        on_every_tier(focal_loss_with_alpha_and_weights),
        on_every_tier(an_empty_mean),
        on_every_tier(sigmoid),
        on_every_tier(sigmoid_backward),
        on_every_tier(log_sigmoid),
        on_every_tier(log_sigmoid_backward),
    };
    return check_run("rules, binary", tests, sizeof tests / sizeof *tests, argc, argv);
}
