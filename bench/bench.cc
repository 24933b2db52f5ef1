/* Times every kernel on every tier that this CPU runs, over the shapes that classifiers
 * have, against the speed of light (light.h).
 *
 *   bench                        everything, as kernel/pass/tier/shape
 *   bench --table                ... as a Markdown table
 *   bench --quick                a few small shapes, briefly: for emulators
 *   bench --benchmark_filter=X   what the regular expression X finds: avx2/1024x10/, say
 *
 * All of Google Benchmark's flags work; it adds /manual_time to the names. A time is the
 * least over short slices, between which the speed of light is timed too, so that both see
 * the same machine: --benchmark_min_time says for how long (default 0.03 seconds).
 * Counters: ns_per_element; light is its ratio to the speed of light, with a floor of about
 * 1 where every element takes an exp; bytes_per_second counts each logits-sized tensor
 * that has to be read or written once. */
#include "light.h"
#include "table.h"

#include "kernels/list.h"

#include <benchmark/benchmark.h>
#include <xent/xent.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <optional>
#include <random>
#include <string>
#include <vector>

namespace {

/* ---- What the kernels work on ---------------------------------------------- */

struct Shape {
    std::vector<std::int64_t> extents; /* the class axis is 1; or of elementwise kernels: (n) */
    bool quick;                        /* timed with --quick too */

    std::int64_t elements() const
    {
        std::int64_t product = 1;
        for (std::int64_t extent : extents)
            product *= extent;
        return product;
    }

    std::string name() const
    {
        std::string text;
        for (std::int64_t extent : extents)
            text += (text.empty() ? "" : "x") + std::to_string(extent);
        return text;
    }

    std::vector<std::int64_t> without_classes() const
    {
        std::vector<std::int64_t> rows = extents;
        if (rows.size() > 1)
            rows.erase(rows.begin() + 1);
        return rows;
    }
};

const std::vector<Shape> row_shapes = {
    {{1024, 10}, true},    {{4096, 100}, false},   {{512, 1000}, true},    {{4096, 1000}, false},
    {{64, 32000}, false},  {{1024, 32000}, false}, {{256, 128256}, false},
};

/* The same with the classes strided: (1, C, d). */
const std::vector<Shape> strided_shapes = {
    {{1, 10, 1024}, true},    {{1, 100, 4096}, false},   {{1, 1000, 512}, false},   {{1, 1000, 4096}, false},
    {{1, 32000, 64}, false},  {{1, 32000, 1024}, false}, {{1, 128256, 256}, false},
};

const std::vector<Shape> element_shapes = {{{1000}, true}, {{100000}, false}, {{10000000}, false}};

/* Random numbers in memory that all benchmarks share; a shape takes the front of it. */
class Pool {
public:
    /* Uniform in [low, high): a kernel's speed should depend on no more than that. */
    Pool(float low, float high) : low_(low), high_(high) {}

    float *front(std::int64_t count)
    {
        if (count > count_) {
            data_.reset(); /* before the larger one is taken */
            data_.reset(static_cast<float *>(::operator new[](std::size_t(count) * sizeof(float), alignment)));
            count_ = count;
            std::minstd_rand random;
            const float step = (high_ - low_) / float(1 << 23);
            for (std::int64_t i = 0; i < count; i++)
                data_[std::size_t(i)] = low_ + step * float(random() >> 8);
        }
        return data_.get();
    }

private:
    static constexpr std::align_val_t alignment{64};
    struct Free {
        void operator()(float *data) const { ::operator delete[](data, alignment); }
    };

    float low_, high_;
    std::int64_t count_ = 0;
    std::unique_ptr<float[], Free> data_;
};

Pool logits_pool(-8, 8), log_probabilities_pool(-16, 0), probabilities_pool(0, 1), labels_pool(0, 1),
    result_pool(0, 1);

/* Everything that a call may take. */
class Operands {
public:
    Operands(const Shape &shape, xent_tier tier)
        : extents_(shape.extents), rows_(shape.without_classes()), elements_(shape.elements())
    {
        execution_.size = sizeof execution_;
        execution_.tier = tier;
        xent_softmax_options_init(&softmax_options, sizeof softmax_options);
        softmax_options.execution = &execution_;
        xent_cross_entropy_options_init(&cross_entropy_options, sizeof cross_entropy_options);
        cross_entropy_options.execution = &execution_;
        xent_elementwise_options_init(&elementwise_options, sizeof elementwise_options);
        elementwise_options.execution = &execution_;
        xent_bce_options_init(&bce_options, sizeof bce_options);
        bce_options.execution = &execution_;

        const std::int64_t classes = extents_.size() > 1 ? extents_[1] : 1;
        indices_.resize(std::size_t(elements_ / classes));
        row_results_.resize(indices_.size());
        std::minstd_rand random;
        for (std::int64_t &index : indices_)
            index = std::int64_t(random()) % classes;
    }

    Operands(const Operands &) = delete;
    Operands &operator=(const Operands &) = delete;

    std::int64_t elements() const { return elements_; }

    xent_tensor logits() const { return whole(logits_pool); }
    xent_tensor log_probabilities() const { return whole(log_probabilities_pool); }
    xent_tensor probabilities() const { return whole(probabilities_pool); }
    xent_tensor labels() const { return whole(labels_pool); }
    xent_tensor result() const { return whole(result_pool); }

    xent_tensor target() { return tensor(indices_.data(), XENT_I64, rows_); }
    xent_tensor row_result() { return tensor(row_results_.data(), XENT_F32, rows_); }

    xent_softmax_options softmax_options;
    xent_cross_entropy_options cross_entropy_options;
    xent_elementwise_options elementwise_options;
    xent_bce_options bce_options;

private:
    using Extents = std::vector<std::int64_t>;

    static xent_tensor tensor(void *data, xent_dtype dtype, const Extents &extents)
    {
        return {data, dtype, std::int32_t(extents.size()), extents.data(), nullptr};
    }
    xent_tensor whole(Pool &pool) const { return tensor(pool.front(elements_), XENT_F32, extents_); }

    Extents extents_, rows_;
    std::int64_t elements_;
    std::vector<std::int64_t> indices_;
    std::vector<float> row_results_;
    xent_execution execution_{};
};

/* ---- The kernels' calls ------------------------------------------------------ */

using Call = std::function<xent_status()>;

/* What the kernels' functions look like. The options outlive the call. */

template <typename Options>
Call forward(xent_status (*function)(const xent_tensor *, const Options *, const xent_tensor *, xent_error *),
             const Options &options, xent_tensor input, xent_tensor output)
{
    return [=, &options] { return function(&input, &options, &output, nullptr); };
}

template <typename Options>
Call backward(xent_status (*function)(const xent_tensor *, const xent_tensor *, const Options *,
                                      const xent_tensor *, xent_error *),
              const Options &options, xent_tensor input, xent_tensor incoming, xent_tensor gradient)
{
    return [=, &options] { return function(&input, &incoming, &options, &gradient, nullptr); };
}

/* The mean loss, and its gradient if there is a place for it. */
template <typename Options, typename Outputs>
Call loss(xent_status (*function)(const xent_tensor *, const xent_tensor *, const Options *, const Outputs *,
                                  xent_error *),
          const Options &options, xent_tensor input, xent_tensor target,
          std::optional<xent_tensor> gradient = std::nullopt)
{
    return [=, &options] {
        double mean;
        Outputs outputs = {};
        outputs.size = sizeof outputs;
        outputs.mean = &mean;
        outputs.gradient = gradient ? &*gradient : nullptr;
        return function(&input, &target, &options, &outputs, nullptr);
    };
}

Call reduce(const xent_softmax_options &options, xent_tensor logits, xent_tensor lse,
            std::optional<xent_tensor> gradient = std::nullopt)
{
    return [=, &options] {
        xent_log_sum_exp_outputs outputs = {};
        outputs.size = sizeof outputs;
        outputs.lse = &lse;
        outputs.gradient = gradient ? &*gradient : nullptr;
        return xent_log_sum_exp(&logits, &options, &outputs, nullptr);
    };
}

/* A way to call a kernel. */
struct Pass {
    Call (*prepare)(Operands &); /* NULL: the kernel has no such pass */
    int streams;                 /* logits-sized tensors that it has to read and to write */
};

struct Kernel {
    Pass forward, gradient; /* the gradient of a loss is taken along with the loss */
    bool strided = false;   /* over the strided shapes too */
};

const Kernel log_sum_exp = {
    {[](Operands &o) { return reduce(o.softmax_options, o.logits(), o.row_result()); }, 1},
    {[](Operands &o) { return reduce(o.softmax_options, o.logits(), o.row_result(), o.result()); }, 2},
};

const Kernel softmax = {
    {[](Operands &o) { return forward(xent_softmax, o.softmax_options, o.logits(), o.result()); }, 2},
    {},
};

const Kernel log_softmax = {
    {[](Operands &o) { return forward(xent_log_softmax, o.softmax_options, o.logits(), o.result()); }, 2},
    {},
};

const Kernel softmax_backward = {
    {},
    {[](Operands &o) {
         return backward(xent_softmax_backward, o.softmax_options, o.probabilities(), o.logits(), o.result());
     },
     3},
};

const Kernel log_softmax_backward = {
    {},
    {[](Operands &o) {
         return backward(xent_log_softmax_backward, o.softmax_options, o.log_probabilities(), o.logits(),
                         o.result());
     },
     3},
};

const Kernel cross_entropy = {
    {[](Operands &o) { return loss(xent_cross_entropy, o.cross_entropy_options, o.logits(), o.target()); }, 1},
    {[](Operands &o) {
         return loss(xent_cross_entropy, o.cross_entropy_options, o.logits(), o.target(), o.result());
     },
     2},
    true,
};

/* Takes no exp, reads one element a row, and fills the gradient with zeros. */
const Kernel nll = {
    {[](Operands &o) { return loss(xent_nll, o.cross_entropy_options, o.log_probabilities(), o.target()); }, 0},
    {[](Operands &o) {
         return loss(xent_nll, o.cross_entropy_options, o.log_probabilities(), o.target(), o.result());
     },
     1},
};

const Kernel sigmoid = {
    {[](Operands &o) { return forward(xent_sigmoid, o.elementwise_options, o.logits(), o.result()); }, 2},
    {},
};

const Kernel sigmoid_backward = {
    {},
    {[](Operands &o) {
         return backward(xent_sigmoid_backward, o.elementwise_options, o.probabilities(), o.logits(), o.result());
     },
     3},
};

const Kernel log_sigmoid = {
    {[](Operands &o) { return forward(xent_log_sigmoid, o.elementwise_options, o.logits(), o.result()); }, 2},
    {},
};

const Kernel log_sigmoid_backward = {
    {},
    {[](Operands &o) {
         return backward(xent_log_sigmoid_backward, o.elementwise_options, o.logits(), o.probabilities(),
                         o.result());
     },
     3},
};

const Kernel bce = {
    {[](Operands &o) { return loss(xent_bce, o.bce_options, o.probabilities(), o.labels()); }, 2},
    {[](Operands &o) { return loss(xent_bce, o.bce_options, o.probabilities(), o.labels(), o.result()); }, 3},
};

const Kernel bce_with_logits = {
    {[](Operands &o) { return loss(xent_bce_with_logits, o.bce_options, o.logits(), o.labels()); }, 2},
    {[](Operands &o) { return loss(xent_bce_with_logits, o.bce_options, o.logits(), o.labels(), o.result()); },
     3},
};

enum class Job { row_job, element_job };

struct Entry {
    const char *name;
    Job job;
    const Kernel &kernel;
};

/* A kernel of the list that is missing above does not compile. */
#define ENTRY(name, job) {#name, Job::job, name},
const Entry entries[] = {XENT_KERNELS(ENTRY)};
#undef ENTRY

/* ---- The benchmarks ----------------------------------------------------------- */

constexpr double kernel_slice = 100e-6, light_slice = 50e-6; /* seconds */

bool failed = false;

void time_pass(benchmark::State &state, const Pass &pass, const Shape &shape, xent_tier tier)
{
    Operands operands(shape, tier);
    const Call call = pass.prepare(operands);
    xent_status status = XENT_OK;
    Fastest kernel([&] { status = call(); }, kernel_slice);
    if (status != XENT_OK) {
        failed = true;
        state.SkipWithError(xent_status_string(status));
        return;
    }

    const auto elements = double(operands.elements());
    const xent_tensor from = operands.logits(), to = operands.result();
    Fastest copy(
        [&] {
            std::memcpy(to.data, from.data, std::size_t(operands.elements()) * sizeof(float));
            benchmark::ClobberMemory();
        },
        light_slice);
    Fastest exp(light_exp, light_slice);

    /* A slow call fills the benchmark's time at once: even so, see it, and the light, more
     * than once. */
    const bool slow = kernel.seconds() > 0.02;
    const int slices = slow && kernel.seconds() < 0.2 ? 3 : 1;
    const double light_share = kernel.slice_seconds() / (copy.slice_seconds() + exp.slice_seconds()) / 4;
    const int light_slices = int(std::clamp(light_share, slow ? 3.0 : 1.0, 8.0));
    while (state.KeepRunningBatch(kernel.calls() * slices)) {
        for (int i = 0; i < slices; i++) {
            for (int j = 0; j < light_slices; j++) {
                copy.slice();
                exp.slice();
            }
            kernel.slice();
        }
    }

    const auto iterations = state.iterations();
    state.SetIterationTime(kernel.seconds() * double(iterations));
    state.SetItemsProcessed(iterations * operands.elements());
    if (pass.streams > 0)
        state.SetBytesProcessed(iterations * operands.elements() * pass.streams * std::int64_t(sizeof(float)));
    const double light = std::max(copy.seconds() / elements, exp.seconds() / double(light_exp_elements));
    state.counters["ns_per_element"] = kernel.seconds() / elements * 1e9;
    state.counters["light"] = kernel.seconds() / elements / light;
}

/* All shapes and tiers of a pass: the tiers of a shape one after the other. */
void register_pass(const Entry &entry, const char *pass_name, const Pass &pass,
                   const std::vector<xent_tier> &tiers, bool quick)
{
    if (!pass.prepare)
        return;
    std::vector<Shape> shapes = entry.job == Job::row_job ? row_shapes : element_shapes;
    if (entry.kernel.strided)
        shapes.insert(shapes.end(), strided_shapes.begin(), strided_shapes.end());
    for (const Shape &shape : shapes) {
        if (quick && !shape.quick)
            continue;
        for (const xent_tier tier : tiers) {
            const std::string name = std::string(entry.name) + '/' + pass_name + '/' + xent_tier_name(tier) + '/'
                + shape.name();
            benchmark::RegisterBenchmark(name.c_str(), [=, &pass](benchmark::State &state) {
                time_pass(state, pass, shape, tier);
            })->UseManualTime();
        }
    }
}

/* The tiers to time; says which are not, and why. */
std::vector<xent_tier> runnable_tiers()
{
    std::vector<xent_tier> tiers;
    xent_info info;
    if (xent_get_info(&info, sizeof info) != XENT_OK)
        return tiers;
    for (int i = XENT_TIER_AUTO + 1; i < XENT_TIER_COUNT; i++) {
        const auto tier = xent_tier(i);
        if (info.available >> i & 1)
            tiers.push_back(tier);
        else
            std::fprintf(stderr, "%s: skipped, %s\n", xent_tier_name(tier),
                         info.built >> i & 1 ? "this CPU can't run it" : "not in this build");
    }
    return tiers;
}

} // namespace

int main(int argc, char **argv)
{
    /* Own flags, and a shorter default than Google's, which a flag of the user's, coming
     * later, overrides. */
    bool table = false, quick = false;
    std::string min_time = "--benchmark_min_time=0.03";
    std::vector<char *> arguments = {argv[0], min_time.data()};
    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], "--table") == 0)
            table = true;
        else if (std::strcmp(argv[i], "--quick") == 0)
            quick = true;
        else
            arguments.push_back(argv[i]);
        if (std::strcmp(argv[i], "--help") == 0)
            std::puts("bench [--table] [--quick], and Google Benchmark's flags:\n");
    }
    if (quick)
        min_time = "--benchmark_min_time=0.005";
    arguments[1] = min_time.data();
    int count = int(arguments.size());
    arguments.push_back(nullptr);
    benchmark::Initialize(&count, arguments.data());
    if (benchmark::ReportUnrecognizedArguments(count, arguments.data()))
        return 1;

    const double error = frozen_exp_error();
    if (error > 1e-6) {
        std::fprintf(stderr, "the frozen exp (%s) is off by %g: miscompiled?\n", frozen_exp().isa, error);
        return 1;
    }
    std::fprintf(stderr, "speed of light: memcpy, and the frozen exp for %s\n", frozen_exp().isa);

    const std::vector<xent_tier> tiers = runnable_tiers();
    for (const Entry &entry : entries) {
        register_pass(entry, "forward", entry.kernel.forward, tiers, quick);
        register_pass(entry, "gradient", entry.kernel.gradient, tiers, quick);
    }

    if (table) {
        std::vector<std::string> columns;
        for (const xent_tier tier : tiers)
            columns.emplace_back(xent_tier_name(tier));
        TableReporter reporter(columns);
        benchmark::RunSpecifiedBenchmarks(&reporter);
    } else {
        benchmark::RunSpecifiedBenchmarks();
    }
    benchmark::Shutdown();
    return failed ? 1 : 0;
}
