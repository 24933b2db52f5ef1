/* The table of --table: a row a kernel and shape, a column a tier, in Markdown. */
#ifndef XENT_BENCH_TABLE_H
#define XENT_BENCH_TABLE_H

#include <benchmark/benchmark.h>

#include <limits>
#include <map>
#include <string>
#include <vector>

/* Benchmarks named kernel/pass/tier/shape, with the counters ns_per_element and light.
 * A row is printed as soon as a benchmark of another row, or the end, follows. */
class TableReporter final : public benchmark::BenchmarkReporter {
public:
    explicit TableReporter(std::vector<std::string> tiers) : tiers_(std::move(tiers)) {}

    bool ReportContext(const Context &) override;
    void ReportRuns(const std::vector<Run> &runs) override;
    void Finalize() override { print_row(); }

private:
    struct Cell {
        double nanoseconds = std::numeric_limits<double>::infinity(); /* unless it ran */
        double light = 1;
    };

    void print_row();

    std::vector<std::string> tiers_;
    std::string row_;                   /* its first two columns */
    std::map<std::string, Cell> cells_; /* of the row, by tier */
};

#endif
