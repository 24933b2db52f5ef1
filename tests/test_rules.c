/* A rule each of cross-entropy's options, on three rows of four classes, in f32 and in f64, on
 * every tier. The expected values were computed from the formulas alone, the gradients by
 * differentiating the losses numerically, in 60 digits. */
#include "rules.h"

enum { ROWS = 3, CLASSES = 4, COUNT = ROWS * CLASSES };

static const double logits[COUNT] = {1.5, -0.5, 2.25, 0.75, -3, 4, 0.5, 1, 0.25, 0.25, -1, 3};
static const int64_t labels[ROWS] = {0, 3, -100}; /* the last is ignored */
static const double distribution[COUNT] = {0.125, 0.25, 0.5, 0.125, 0.5, 0, 0.25, 0.25, 0.0625, 0.75, 0.125, 0.25};
static const double class_weight[CLASSES] = {0.5, 2, 1.5, 0.25};
static const double weight_of_rows[ROWS] = {1.5, 0.5, 3};
static const double incoming[ROWS] = {2, -0.75, 5};

struct answer {
    double loss[ROWS], sum, divisor, mean, gradient[COUNT], target_gradient[COUNT], z_loss[ROWS];
    double largest[COUNT]; /* of the terms that a gradient is the sum of; 0: itself */
};

/* What a call is given beside the logits; NULL: labels as targets, no weights. */
struct question {
    const double *distribution, *class_weight, *row_weight, *incoming;
    xent_cross_entropy_options options;
};

/* Loss within 3 ulp, gradients within 5 (f64: 4 and 7); sums of terms of both signs, as the mixed ones are, within 12 of the largest term. */
static void ask(xent_tier tier, const struct question *q, const struct answer *expected, bool mixed)
{
    static const xent_dtype dtypes[] = {XENT_F32, XENT_F64};
    for (int d = 0; d < 2; d++) {
        const xent_dtype dtype = dtypes[d];
        struct stored x, y, w, r, g, loss, gradient, target_gradient, z_loss;
        double sum, divisor, mean;
        const xent_execution execution = check_execution(tier);
        xent_cross_entropy_options options = q->options;
        options.execution = &execution;
        if (q->class_weight != NULL) options.weight = store(&w, dtype, 1, CLASSES, 1, q->class_weight);
        if (q->row_weight != NULL) options.row_weight = store(&r, dtype, 1, ROWS, 1, q->row_weight);
        if (q->incoming != NULL)
            options.output_gradient = store(&g, dtype, options.reduction == XENT_REDUCTION_NONE, ROWS, 1, q->incoming);
        const xent_tensor label_tensor = {(void *)(uintptr_t)labels, XENT_I64, 1, (const int64_t[]){ROWS}, NULL};
        const xent_tensor *target = &label_tensor;
        if (q->distribution != NULL) target = store(&y, dtype, 2, ROWS, CLASSES, q->distribution);
        const xent_cross_entropy_outputs outputs = {
            .size = sizeof outputs,
            .loss = store(&loss, dtype, 1, ROWS, 1, NULL),
            .sum = &sum,
            .divisor = &divisor,
            .mean = &mean,
            .gradient = store(&gradient, dtype, 2, ROWS, CLASSES, NULL),
            .target_gradient = q->distribution == NULL ? NULL : store(&target_gradient, dtype, 2, ROWS, CLASSES, NULL),
            .z_loss = store(&z_loss, dtype, 1, ROWS, 1, NULL),
        };
        xent_error error = {0};
        assert_status(xent_cross_entropy(store(&x, dtype, 2, ROWS, CLASSES, logits), target, &options, &outputs, &error), XENT_OK, &error);
        const double loss_bound = mixed ? 12 : dtype == XENT_F32 ? 3 : 4, gradient_bound = mixed ? 12 : dtype == XENT_F32 ? 5 : 7;
        assert_all_near("loss", &loss, expected->loss, NULL, loss_bound);
        assert_all_near("gradient", &gradient, expected->gradient, expected->largest, gradient_bound);
        if (q->distribution != NULL) assert_all_near("target_gradient", &target_gradient, expected->target_gradient, NULL, gradient_bound);
        if (options.z_loss > 0) assert_all_near("z_loss", &z_loss, expected->z_loss, NULL, 6); /* of lse squared: twice its bound, and more */
        assert_same(divisor, expected->divisor);
        assert_near("sum", 0, dtype, sum, expected->sum, loss_bound);
        assert_near("mean", 0, dtype, mean, expected->mean, loss_bound);
    }
}

static void class_weights_and_their_mean(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.657493404527556, 0.76944765889754767, 0},
        .sum = 1.4269410634251037,
        .divisor = 0.75,
        .mean = 1.9025880845668049,
        .gradient = {-0.48768142353826947, 0.02422301857395562, 0.37891176267624048, 0.084546642288073374,
            2.8121166266581893e-4, 0.30838603381613527, 0.0093124513052339158, -0.317979696784035, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    ask(tier, &q, &expected, false);
}

static void a_sum(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.657493404527556, 0.76944765889754767, 0},
        .sum = 1.4269410634251037,
        .divisor = 0.75,
        .mean = 1.9025880845668049,
        .gradient = {-0.3657610676537021, 0.018167263930466715, 0.28418382200718036, 0.063409981716055031,
            2.109087469993642e-4, 0.23128952536210145, 0.0069843384789254368, -0.23848477258802625, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_SUM)};
    ask(tier, &q, &expected, false);
}

static void a_loss_a_row_and_its_incoming_gradient(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.657493404527556, 0.76944765889754767, 0},
        .sum = 1.4269410634251037,
        .divisor = 0.75,
        .mean = 1.9025880845668049,
        .gradient = {-0.73152213530740421, 0.03633452786093343, 0.56836764401436072, 0.12681996343211006,
            -1.5818156024952315e-4, -0.17346714402157609, -0.0052382538591940776, 0.17886357944101969, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .incoming = incoming, .options = cross_entropy_defaults(XENT_REDUCTION_NONE)};
    ask(tier, &q, &expected, false);
}

static void label_smoothing(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.84565653953924357, 0.98047327032467641, 0},
        .sum = 1.82612980986392,
        .divisor = 0.75,
        .mean = 2.4348397464852266,
        .gradient = {-0.40001162372333862, -0.055703952772415204, 0.36969622930258679, 0.086019347193167026,
            -0.020437879432709525, 0.35033452672060689, -0.049404365352014806, -0.28049228193588256, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.label_smoothing = 0.125;
    ask(tier, &q, &expected, true);
}

static void label_smoothing_of_1(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {1.814986809055112, 3.4527906355901907, 0},
        .sum = 5.2677774446453027,
        .divisor = 2,
        .mean = 2.6338887223226513,
        .gradient = {0.0092389323462978966, -0.10683273606953329, 0.15918382200718036, -0.061590018283944969,
            -0.12457818250600127, 0.33757905072420291, -0.11103132304214913, -0.10196954517605251, 0, 0, 0, 0},
    };
    struct question q = {.options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.label_smoothing = 1;
    ask(tier, &q, &expected, true);
}

static void z_loss(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {2.6385310883161264, 4.9265417758243105, 0},
        .sum = 7.5650728641404369,
        .divisor = 0.75,
        .mean = 4.9716539849244715,
        .gradient = {-0.29874101163003438, 0.049793322734398885, 0.77889861782477975, 0.17379577333463375,
            0.001141253376143887, 1.2515362944478125, 0.037793121350388298, -0.27102301027679699, 0, 0, 0, 0},
        .z_loss = {1.9810376837885704, 4.1570941169267628, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.z_loss = 0.25;
    ask(tier, &q, &expected, true);
}

static void softcap(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.57585072950802283, 0.37273494564240966, 0},
        .sum = 0.94858567515043249,
        .divisor = 0.75,
        .mean = 1.2647809002005767,
        .gradient = {-0.27200395955249596, 0.03407601877094074, 0.10300465596722849, 0.10558939632855319,
            8.80550537706336e-4, 0.014469146555873438, 0.045693068424861258, -0.20312347044861217, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.softcap = 2;
    ask(tier, &q, &expected, true);
}

static void focal_loss(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.35184091774761242, 0.70019720655219568, 0},
        .sum = 1.0520381242998081,
        .divisor = 0.75,
        .mean = 1.4027174990664108,
        .gradient = {-0.51286767231868864, 0.025474013470562515, 0.39848061533286017, 0.088913043515265954,
            3.3196241907696749e-4, 0.36404099611192646, 0.010993085541034602, -0.37536604407203803, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.focal_gamma = 2;
    ask(tier, &q, &expected, true);
}

static void row_weights(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.98624010679133401, 0.38472382944877383, 0},
        .sum = 1.3709639362401078,
        .divisor = 0.875,
        .mean = 1.5668159271315518,
        .gradient = {-0.62701897312063218, 0.031143881023657226, 0.48717226629802347, 0.10870282579895148,
            1.2051928399963669e-4, 0.13216544306405797, 0.0039910505593859639, -0.13627701290744357, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .row_weight = weight_of_rows, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    ask(tier, &q, &expected, false);
}

static void the_divisor_may_be_the_rows(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {0.98624010679133401, 0.38472382944877383, 0},
        .sum = 1.3709639362401078,
        .divisor = 2,
        .mean = 0.68548196812005392,
        .gradient = {-0.27432080074027658, 0.013625447947850036, 0.21313786650538527, 0.047557486287041273,
            5.272718674984105e-5, 0.057822381340525363, 0.0017460846197313592, -0.059621193147006563, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .row_weight = weight_of_rows, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.divisor_kind = XENT_DIVISOR_ROWS;
    ask(tier, &q, &expected, false);
}

static void the_divisor_may_be_given(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {2.6385310883161264, 4.9265417758243105, 0},
        .sum = 7.5650728641404369,
        .divisor = 7.5,
        .mean = 1.0086763818853916,
        .gradient = {0.0016159674883690763, 0.009241049633513766, 0.14455433764056785, 0.032254432507890104,
            2.5746562319406671e-4, 0.28234533955006078, 0.0085260904758978936, -0.019276186609806698, 0, 0, 0, 0},
        .z_loss = {1.9810376837885704, 4.1570941169267628, 0},
        .largest = {0.0667, 0.00682, 0.107, 0.0238, 2.29e-4, 0.252, 0.00759, 0.0333, 0, 0, 0, 0},
    };
    struct question q = {.class_weight = class_weight, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.divisor_kind = XENT_DIVISOR_GIVEN;
    q.options.divisor = 7.5;
    q.options.z_loss = 0.25;
    ask(tier, &q, &expected, true);
}

static void a_distribution_as_target(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {1.533736809055112, 5.2027906355901907, 2.8963822252422786},
        .sum = 9.6329096698875813,
        .divisor = 3,
        .mean = 3.2109698899625271,
        .gradient = {0.047825954897531931, -0.071221824046355523, 0.022789214671453572, 6.0665447737002034e-4,
            -0.16638545500400085, 0.30838603381613527, -0.074020882028099418, -0.067979696784035005,
            0.0012443238553555736, -0.22792234281131109, -0.035341311978672436, 0.26201933093462796},
        .target_gradient = {0.438328936351704, 1.1049956030183707, 0.188328936351704, 0.688328936351704,
            2.3592635451967302, 0.025930211863396892, 1.1925968785300636, 1.0259302118633969, 0.96214237901537645,
            0.96214237901537645, 1.3788090456820431, 0.045475712348709779},
        .largest = {0.0895, 0.0833, 0.189, 0.0423, 0.167, 0.308, 0.0833, 0.0833, 0.0208, 0.25, 0.0417, 0.291},
    };
    struct question q = {.distribution = distribution, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    ask(tier, &q, &expected, true);
}

static void a_smoothed_and_weighted_distribution(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {3.3174943344841788, 1.5460119670274182, 14.231661635026325},
        .sum = 19.095167936537922,
        .divisor = 5,
        .mean = 3.8190335873075843,
        .gradient = {0.079129434245843237, -0.13611907490312778, 0.020259201502361242, 0.036730439154923297,
            -0.021809091016562699, 0.059777976675656704, -0.035317394225335801, -0.0026514914337582042,
            0.02078391778043557, -0.69640358221956443, -0.12526936921138243, 0.80088903365051129},
        .target_gradient = {0.1479360160187001, 1.4917440640748004, 0.1906830480561003, 0.11615550800935005,
            0.26541714883463215, 0.011668595338528601, 0.40250144650389645, 0.057708574417316075, 0.6494461058353791,
            2.5977844233415164, 2.7920883175061373, 0.01534805291768955},
    };
    struct question q = {.distribution = distribution, .class_weight = class_weight, .row_weight = weight_of_rows, .options = cross_entropy_defaults(XENT_REDUCTION_MEAN)};
    q.options.label_smoothing = 0.25;
    ask(tier, &q, &expected, true);
}

static void everything_at_once(xent_tier tier)
{
    static const struct answer expected = {
        .loss = {3.9063617589252026, 1.6795720564210053, 0},
        .sum = 5.5859338153462079,
        .divisor = 0.875,
        .mean = 3.8110834546507652,
        .gradient = {0.25118264126144631, 0.050644794214533322, 2.1307997891726612, 0.773691555399103,
            0.002129760357152409, -0.24681035773563172, -0.029721525540744986, 0.0071365009512409921, 0, 0, 0, 0},
        .z_loss = {2.6934241889418246, 1.3087727755502436, 0},
    };
    struct question q = {.class_weight = class_weight, .row_weight = weight_of_rows, .incoming = incoming, .options = cross_entropy_defaults(XENT_REDUCTION_NONE)};
    q.options.label_smoothing = 0.125;
    q.options.z_loss = 0.25;
    q.options.softcap = 4;
    ask(tier, &q, &expected, true);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        on_every_tier(class_weights_and_their_mean),
        on_every_tier(a_sum),
        on_every_tier(a_loss_a_row_and_its_incoming_gradient),
        on_every_tier(label_smoothing),
        on_every_tier(label_smoothing_of_1),
        on_every_tier(z_loss),
        on_every_tier(softcap),
        on_every_tier(focal_loss),
        on_every_tier(row_weights),
        on_every_tier(the_divisor_may_be_the_rows),
        on_every_tier(the_divisor_may_be_given),
        on_every_tier(a_distribution_as_target),
        on_every_tier(a_smoothed_and_weighted_distribution),
        on_every_tier(everything_at_once),
    };
    return check_run("rules", tests, sizeof tests / sizeof *tests, argc, argv);
}
