// Chooses the CPU table once: the best instruction set the machine has, or the one DEEPCORE_ISA names.
#pragma once
#include "kernels/table.h"

namespace dc {

const BackendTable& cpu_table();
// Another table from now on, for tests and benches that compare instruction sets in one process.
void select_cpu_table(const char* isa);
const KernelTable<double>& cpu_table_f64();
// Names of the tables that this machine can run, best first, separated by spaces.
const char* cpu_supported();

}  // namespace dc
