#include "table.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <sstream>

namespace {

std::string number(const char *format, double value)
{
    char text[32];
    std::snprintf(text, sizeof text, format, value);
    return text;
}

} // namespace

bool TableReporter::ReportContext(const Context &)
{
    std::ostream &out = GetOutputStream();
    out << "ns per element (times the speed of light); light: the speed of light, in ns\n\n"
        << "| kernel | shape | light |";
    for (const std::string &tier : tiers_)
        out << ' ' << tier << " |";
    out << "\n|---|---|---|";
    for (std::size_t i = 0; i < tiers_.size(); i++)
        out << "---|";
    out << std::endl;
    return true;
}

void TableReporter::ReportRuns(const std::vector<Run> &runs)
{
    for (const Run &run : runs) {
        if (run.run_type != Run::RT_Iteration)
            continue; /* an aggregate */

        std::istringstream name(run.run_name.function_name);
        std::string kernel, pass, tier, shape;
        std::getline(name, kernel, '/');
        std::getline(name, pass, '/');
        std::getline(name, tier, '/');
        std::getline(name, shape);

        const std::string row = kernel + ' ' + pass + " | " + shape;
        if (row != row_) {
            print_row();
            row_ = row;
        }
        Cell &cell = cells_[tier];
        const auto nanoseconds = run.counters.find("ns_per_element");
        const auto light = run.counters.find("light");
        if (nanoseconds == run.counters.end() || light == run.counters.end())
            continue; /* it failed */
        if (nanoseconds->second.value < cell.nanoseconds)
            cell = {nanoseconds->second.value, light->second.value};
    }
}

void TableReporter::print_row()
{
    if (cells_.empty())
        return;
    double light = std::numeric_limits<double>::infinity();
    for (const auto &[tier, cell] : cells_)
        light = std::min(light, cell.nanoseconds / cell.light);

    std::ostream &out = GetOutputStream();
    out << "| " << row_ << " | " << number("%.3f", light) << " |";
    for (const std::string &tier : tiers_) {
        const auto cell = cells_.find(tier);
        if (cell == cells_.end())
            out << " |";
        else if (std::isinf(cell->second.nanoseconds))
            out << " failed |";
        else
            out << ' ' << number("%.3f", cell->second.nanoseconds) << " ("
                << number("%.2f", cell->second.light) << ") |";
    }
    out << std::endl;
    cells_.clear();
}
