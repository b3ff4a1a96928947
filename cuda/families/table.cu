// The CUDA back end's tables.
#include "families/families.h"

namespace dc::cuda {

const BackendTable table = {
    .name = "cuda",
    .vector_bytes = 16,
    .f32 = {DC_FAMILIES(DC_FAMILY_ENTRY_F32)},
    .plain = &plain,
    .movement = &movement,
    .peak = &peak,
};

const KernelTable<double> table_f64 = {DC_FAMILIES(DC_FAMILY_ENTRY_F64)};

}  // namespace dc::cuda
