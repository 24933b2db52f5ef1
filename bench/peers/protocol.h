/* A worker of the side-by-side benchmark: a process that keeps jobs ready and times them when it
 * is told to. It reads lines from standard input, a verb and key=value words, and answers each
 * with one line:
 *
 *   hello                            ok and what this is, or missing and why
 *   prepare id= op= n= c= ...        ok, or error and why
 *   run id= seconds=                 ok and the least seconds of one call
 *   check id= path= count=           ok and the mean loss (nan: none); count leading elements of
 *                                    the result go to path, as they lie in memory
 *   drop                             ok; forgets all jobs
 *   quit
 *
 * worker.py is the same in Python: same rules of timing. */
#ifndef XENT_BENCH_PEERS_PROTOCOL_H
#define XENT_BENCH_PEERS_PROTOCOL_H

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <stdexcept>
#include <string>

namespace peers {

using Words = std::map<std::string, std::string>;

inline std::int64_t number(const Words &words, const std::string &key)
{
    return std::stoll(words.at(key));
}

inline std::string word(const Words &words, const std::string &key, const std::string &otherwise)
{
    const auto found = words.find(key);
    return found == words.end() ? otherwise : found->second;
}

/* The least time of one call over batches of a quarter of a millisecond, for so many seconds. */
class Timed {
public:
    explicit Timed(std::function<void()> call) : call_(std::move(call)) {}

    double run(double seconds)
    {
        if (calls_ == 0) calibrate();
        double best = std::numeric_limits<double>::infinity();
        const double start = now();
        do
            best = std::min(best, batch(calls_));
        while (now() - start < seconds);
        if (best < slow) best = std::min(best, batch(calls_)); /* the first may have found cold caches */
        return best;
    }

private:
    static constexpr double wanted = 0.25e-3, slow = 0.03;

    static double now()
    {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }

    double batch(std::int64_t calls)
    {
        const double start = now();
        for (std::int64_t i = 0; i < calls; i++) call_();
        return (now() - start) / double(calls);
    }

    void calibrate()
    {
        double each = batch(1);
        each = std::min(each, batch(1));
        for (int i = 0; i < 3 && each < wanted; i++) {
            calls_ = std::int64_t(wanted / std::max(each, 1e-9)) + 1;
            each = std::min(each, batch(calls_));
        }
        calls_ = std::max<std::int64_t>(1, std::int64_t(wanted / std::max(each, 1e-9)));
    }

    std::function<void()> call_;
    std::int64_t calls_ = 0;
};

/* What a worker makes of the words of prepare. */
struct Job {
    std::function<double(double seconds)> run;
    std::function<double()> mean = [] { return std::nan(""); }; /* of the last call */
    const void *result = nullptr;
    std::size_t item = 4; /* bytes */
};

inline Job job_of(std::function<void()> call)
{
    Job job;
    auto timed = std::make_shared<Timed>(std::move(call));
    job.run = [timed](double seconds) { return timed->run(seconds); };
    return job;
}

/* Aligned memory that grows, and keeps what it read from a file. */
class Buffer {
public:
    char *room(std::size_t bytes)
    {
        if (bytes > bytes_) {
            data_.reset(); /* before the larger one is taken */
            data_.reset(static_cast<char *>(::operator new[](bytes, alignment)));
            std::fill_n(data_.get(), bytes, char(0));
            bytes_ = bytes;
            filled_ = 0;
        }
        return data_.get();
    }

    /* The front of a file of the pool. */
    char *front(const std::string &path, std::size_t bytes)
    {
        char *data = room(bytes);
        if (filled_ < bytes) {
            std::ifstream file(path, std::ios::binary);
            if (!file.read(data, std::streamsize(bytes))) throw std::runtime_error("can't read " + path);
            filled_ = bytes;
        }
        return data;
    }

private:
    static constexpr std::align_val_t alignment{64};
    struct Free {
        void operator()(char *data) const { ::operator delete[](data, alignment); }
    };
    std::size_t bytes_ = 0, filled_ = 0;
    std::unique_ptr<char[], Free> data_;
};

inline void write_front(const Job &job, const Words &words)
{
    std::ofstream file(words.at("path"), std::ios::binary);
    file.write(static_cast<const char *>(job.result), std::streamsize(std::size_t(number(words, "count")) * job.item));
    if (!file) throw std::runtime_error("can't write " + words.at("path"));
}

inline int serve(const std::string &hello, const std::function<Job(const Words &)> &prepare)
{
    std::map<std::string, Job> jobs;
    std::cout.precision(17);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream text(line);
        std::string verb, pair;
        text >> verb;
        Words words;
        while (text >> pair) words[pair.substr(0, pair.find('='))] = pair.substr(pair.find('=') + 1);
        if (verb == "quit") break;
        try {
            if (verb == "hello") {
                std::cout << "ok " << hello;
            } else if (verb == "prepare") {
                jobs[words.at("id")] = prepare(words);
                jobs[words.at("id")].run(0);
                std::cout << "ok";
            } else if (verb == "run") {
                std::cout << "ok " << jobs.at(words.at("id")).run(std::stod(words.at("seconds")));
            } else if (verb == "check") {
                const Job &job = jobs.at(words.at("id"));
                job.run(0);
                write_front(job, words);
                std::cout << "ok " << job.mean();
            } else if (verb == "drop") {
                jobs.clear();
                std::cout << "ok";
            } else {
                std::cout << "error unknown verb " << verb;
            }
        } catch (const std::exception &error) {
            std::cout << "error " << error.what();
        }
        std::cout << std::endl;
    }
    return 0;
}

} // namespace peers

#endif
