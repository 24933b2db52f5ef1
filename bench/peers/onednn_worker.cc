/* oneDNN's worker: softmax and log-softmax of its CPU engine, memory and primitive made
 * beforehand.
 *
 *   onednn_worker DATA */
#include "protocol.h"

#include <oneapi/dnnl/dnnl.hpp>

#include <unordered_map>

namespace {

std::string pool; /* the folder */
peers::Buffer logits, results;

peers::Job prepare(const peers::Words &words)
{
    static const dnnl::engine engine(dnnl::engine::kind::cpu, 0);
    const std::string op = words.at("op");
    if (op != "softmax" && op != "log_softmax") throw std::invalid_argument("no " + op);
    const auto algorithm = op == "softmax" ? dnnl::algorithm::softmax_accurate : dnnl::algorithm::softmax_log;
    const std::int64_t n = peers::number(words, "n"), c = peers::number(words, "c");
    const auto bytes = std::size_t(n * c * 4);
    const dnnl::memory::desc shape({n, c}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::ab);
    const dnnl::softmax_forward::primitive_desc description(engine, dnnl::prop_kind::forward_inference, algorithm,
                                                            shape, shape, 1);
    const dnnl::softmax_forward primitive(description);
    const std::unordered_map<int, dnnl::memory> arguments = {
        {DNNL_ARG_SRC, dnnl::memory(shape, engine, logits.front(pool + "/logits.f32", bytes))},
        {DNNL_ARG_DST, dnnl::memory(shape, engine, results.room(bytes))},
    };
    dnnl::stream stream(engine);
    peers::Job job = peers::job_of([=]() mutable {
        primitive.execute(stream, arguments);
        stream.wait();
    });
    job.result = results.room(bytes);
    return job;
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 2) return std::fputs("usage: onednn_worker DATA\n", stderr), 2;
    pool = argv[1];
    const dnnl_version_t *version = dnnl_version();
    return peers::serve(std::to_string(version->major) + "." + std::to_string(version->minor) + "."
                            + std::to_string(version->patch),
                        prepare);
}
