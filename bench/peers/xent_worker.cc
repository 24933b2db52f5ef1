/* xent's worker: calls the public API as a C program does. Also times what the speed of light is
 * made of, and, for the price of a small call, the bare kernel in it.
 *
 *   xent_worker DATA       DATA: the folder with the pool (data.py)
 *
 * op: ce, softmax, log_softmax, lse, bce_logits, bce, sigmoid; memcpy (of the logits), exp (1024
 * of them, in L1); call (forward cross-entropy alone), kernel (the kernel that it runs), clock (1000 cycles). */
#include "protocol.h"

#include "../light.h"

#include "kernels/job.h"

#include <xent/pthreads.h>
#include <xent/xent.h>

#include <sched.h> /* sched_setaffinity */

#include <cstring>
#include <vector>

/* ---- The bare kernel ----------------------------------------------------------
 * The linker gives the dispatcher these tables instead of the library's own (--wrap), as copies
 * that can be written to. While a kernel is to be timed alone, a table's cross-entropy is a function that
 * times the real one on the job that it was handed. */

#define TABLE(tier)                                            \
    extern "C" const xent_kernels __real_xent_kernels_##tier;  \
    extern "C" xent_kernels __wrap_xent_kernels_##tier;        \
    xent_kernels __wrap_xent_kernels_##tier = __real_xent_kernels_##tier;
#ifdef XENT_HAVE_AVX512
TABLE(avx512_f32)
#endif
#ifdef XENT_HAVE_AVX2
TABLE(avx2_f32)
#endif
#ifdef XENT_HAVE_NEON
TABLE(neon_f32)
#endif

namespace {

xent_kernels *table_of(xent_tier tier)
{
    switch (tier) {
#ifdef XENT_HAVE_AVX512
    case XENT_TIER_AVX512: return &__wrap_xent_kernels_avx512_f32;
#endif
#ifdef XENT_HAVE_AVX2
    case XENT_TIER_AVX2: return &__wrap_xent_kernels_avx2_f32;
#endif
#ifdef XENT_HAVE_NEON
    case XENT_TIER_NEON: return &__wrap_xent_kernels_neon_f32;
#endif
    default: throw std::invalid_argument("the kernels of this tier are not timed alone");
    }
}

struct {
    void (*real)(row_job *) = nullptr;
    double seconds = 0, best = 0;
} bare;

void time_kernel(row_job *job)
{
    peers::Timed timed([job] { bare.real(job); });
    bare.best = timed.run(bare.seconds);
}

} // namespace

namespace {

using peers::Job;
using peers::Words;

std::string pool; /* the folder */
peers::Buffer logits_f32, logits_f64, logits_f16, logits_bf16, probabilities, labels, indices, results, row_results;

struct Type {
    const char *name;
    xent_dtype dtype;
    std::size_t item;
    peers::Buffer &buffer;
};
const Type types[] = {{"f32", XENT_F32, 4, logits_f32},
                      {"f64", XENT_F64, 8, logits_f64},
                      {"f16", XENT_F16, 2, logits_f16},
                      {"bf16", XENT_BF16, 2, logits_bf16}};

const Type &type_of(const std::string &name)
{
    for (const Type &type : types)
        if (name == type.name) return type;
    throw std::invalid_argument("no dtype " + name);
}

xent_tier tier_of(const std::string &name)
{
    for (int tier = 0; tier < XENT_TIER_COUNT; tier++)
        if (name == xent_tier_name(xent_tier(tier))) return xent_tier(tier);
    throw std::invalid_argument("no tier " + name);
}

/* Everything that a call may take; alive as long as its job. */
struct Operands {
    std::vector<std::int64_t> shape, rows;
    std::vector<std::int64_t> targets;
    xent_tensor input = {}, target = {}, result = {}, row_result = {};
    xent_execution execution = {};
    xent_softmax_options softmax;
    xent_cross_entropy_options ce;
    xent_cross_entropy_outputs ce_outputs = {};
    xent_elementwise_options element;
    xent_bce_options bce;
    double mean = std::nan("");

    explicit Operands(const Words &words)
    {
        const std::int64_t n = peers::number(words, "n"), c = peers::number(words, "c");
        const std::string op = words.at("op");
        const bool of_elements = op == "bce" || op == "bce_logits" || op == "sigmoid";
        const bool strided = peers::word(words, "layout", "rows") == "strided";
        const Type &type = type_of(peers::word(words, "dtype", "f32"));
        const std::size_t count = std::size_t(n * c), bytes = count * type.item;
        if (of_elements) shape = rows = {n};
        else if (strided) shape = {1, c, n}, rows = {1, n};
        else shape = {n, c}, rows = {n};

        input = op == "bce" ? tensor(probabilities.front(pool + "/probabilities.f32", bytes), XENT_F32, shape)
                            : tensor(type.buffer.front(pool + "/logits." + type.name, bytes), type.dtype, shape);
        result = tensor(results.room(count * 8), type.dtype, shape); /* one size for all jobs of a shape */
        row_result = tensor(row_results.room(std::size_t(n) * 8), type.dtype == XENT_F64 ? XENT_F64 : XENT_F32, rows);
        if (of_elements) {
            target = tensor(labels.front(pool + "/labels.f32", bytes), XENT_F32, shape);
        } else {
            const char *all = indices.front(pool + "/targets.i64", std::size_t(n) * 8);
            targets.resize(std::size_t(n));
            std::memcpy(targets.data(), all, std::size_t(n) * 8);
            for (std::int64_t &index : targets) index %= c;
            target = tensor(targets.data(), XENT_I64, rows);
        }

        execution.size = sizeof execution;
        execution.tier = tier_of(peers::word(words, "tier", "auto"));
        lend_threads(int(std::stol(peers::word(words, "threads", "1"))));
        xent_softmax_options_init(&softmax, sizeof softmax);
        xent_cross_entropy_options_init(&ce, sizeof ce);
        ce_outputs.size = sizeof ce_outputs;
        xent_elementwise_options_init(&element, sizeof element);
        xent_bce_options_init(&bce, sizeof bce);
        softmax.execution = ce.execution = element.execution = bce.execution = &execution;
    }

    Operands(const Operands &) = delete;
    Operands &operator=(const Operands &) = delete;

private:
    /* The pool of xent's own example, whose threads look for work for a moment before they sleep. They may run anywhere;
     * the caller stays on the CPU that this process was started on, as in the jobs of one thread. */
    void lend_threads(int count)
    {
        if (count == 1) return;
        static xent_pthreads threads;
        static const int failed = [count] {
            cpu_set_t here, anywhere;
            std::memset(&anywhere, -1, sizeof anywhere);
            return sched_getaffinity(0, sizeof here, &here) || sched_setaffinity(0, sizeof anywhere, &anywhere)
                || xent_pthreads_start(&threads, count) || sched_setaffinity(0, sizeof here, &here);
        }();
        if (failed) throw std::runtime_error("can't start threads");
        execution.parallel_for = xent_pthreads_for;
        execution.host = &threads;
    }

    static xent_tensor tensor(void *data, xent_dtype dtype, const std::vector<std::int64_t> &shape)
    {
        return {data, dtype, std::int32_t(shape.size()), shape.data(), nullptr};
    }
};

using Call = xent_status (*)(Operands &);

/* Mean loss, and its gradient too, as a training step wants them. The struct of outputs is set up beforehand, as the
 * options are: clearing it takes 20 cycles of a small call, and none of them are xent's. */
template <bool with_gradient> xent_status cross_entropy(Operands &o)
{
    o.ce_outputs.mean = &o.mean;
    o.ce_outputs.gradient = with_gradient ? &o.result : nullptr;
    return xent_cross_entropy(&o.input, &o.target, &o.ce, &o.ce_outputs, nullptr);
}

xent_status log_sum_exp(Operands &o)
{
    xent_log_sum_exp_outputs outputs = {};
    outputs.size = sizeof outputs;
    outputs.lse = &o.row_result;
    return xent_log_sum_exp(&o.input, &o.softmax, &outputs, nullptr);
}

template <xent_status (*function)(const xent_tensor *, const xent_tensor *, const xent_bce_options *,
                                  const xent_bce_outputs *, xent_error *)>
xent_status binary(Operands &o)
{
    xent_bce_outputs outputs = {};
    outputs.size = sizeof outputs;
    outputs.mean = &o.mean;
    outputs.gradient = &o.result;
    return function(&o.input, &o.target, &o.bce, &outputs, nullptr);
}

const std::map<std::string, Call> calls = {
    {"ce", cross_entropy<true>},
    {"call", cross_entropy<false>},
    {"kernel", cross_entropy<false>},
    {"softmax", [](Operands &o) { return xent_softmax(&o.input, &o.softmax, &o.result, nullptr); }},
    {"log_softmax", [](Operands &o) { return xent_log_softmax(&o.input, &o.softmax, &o.result, nullptr); }},
    {"lse", log_sum_exp},
    {"bce_logits", binary<xent_bce_with_logits>},
    {"bce", binary<xent_bce>},
    {"sigmoid", [](Operands &o) { return xent_sigmoid(&o.input, &o.element, &o.result, nullptr); }},
};

Job light(const std::string &op, const Words &words)
{
    if (op == "exp") return peers::job_of(light_exp);
    const auto bytes = std::size_t(peers::number(words, "n") * peers::number(words, "c") * 4);
    char *from = logits_f32.front(pool + "/logits.f32", bytes), *to = results.room(bytes);
    return peers::job_of([=] {
        std::memcpy(to, from, bytes);
        __asm__ volatile("" : : "r"(to) : "memory");
    });
}

/* A chain that takes 1000 cycles: an exclusive or of two registers has a latency of one cycle on every x86 and
 * Arm core. Additions of a constant won't do, which newer cores take together as they rename registers, nor
 * multiplications, whose latency is not the same on all Arm cores. */
void thousand_cycles()
{
    long value = 1, other = 3;
#if defined(__x86_64__)
    __asm__ volatile(".rept 1000\n\txor %1, %0\n\t.endr" : "+r"(value) : "r"(other));
#elif defined(__aarch64__)
    __asm__ volatile(".rept 1000\n\teor %0, %0, %1\n\t.endr" : "+r"(value) : "r"(other));
#else
    throw std::runtime_error("the clock's cycle is only measured on x86 and Arm");
#endif
}

Job prepare(const Words &words)
{
    const std::string op = words.at("op");
    if (op == "memcpy" || op == "exp") return light(op, words);
    if (op == "clock") return peers::job_of(thousand_cycles);

    auto operands = std::make_shared<Operands>(words);
    const Call call = calls.at(op);
    if (call(*operands)) throw std::runtime_error("xent refuses the call");
    Job job = peers::job_of([=] { call(*operands); });
    if (op == "kernel") {
        xent_kernels *table = table_of(operands->execution.tier);
        job.run = [=](double seconds) {
            bare = {table->cross_entropy, seconds, 0};
            table->cross_entropy = time_kernel;
            call(*operands);
            table->cross_entropy = bare.real;
            return bare.best;
        };
    }
    job.mean = [=] { return operands->mean; };
    const xent_tensor &result = op == "lse" ? operands->row_result : operands->result;
    job.result = result.data;
    for (const Type &type : types)
        if (type.dtype == result.dtype) job.item = type.item;
    return job;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) return std::fputs("usage: xent_worker DATA\n", stderr), 2;
    pool = argv[1];
    xent_info info;
    if (xent_get_info(&info, sizeof info)) return 1;
    std::string hello = std::to_string(XENT_VERSION_MAJOR) + "." + std::to_string(XENT_VERSION_MINOR) + " exp="
        + frozen_exp().isa + " tiers=";
    for (int tier = XENT_TIER_COUNT - 1; tier > 0; tier--)
        if (info.available >> tier & 1) hello += std::string(xent_tier_name(xent_tier(tier))) + ",";
    hello.pop_back();
    return peers::serve(hello, prepare);
}
