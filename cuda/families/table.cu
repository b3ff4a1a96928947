// The CUDA back end's tables.
#include "families/families.h"

namespace dc::cuda {

const BackendTable table = {
    .name = "cuda",
    .vector_bytes = 16,
    .f32 = {.conv = &conv_f32,
            .elementwise = &elementwise_f32,
            .image = &image_f32,
            .index = &index_f32,
            .loss = &loss_f32,
            .matmul = &matmul_f32,
            .norm = &norm_f32,
            .optim = &optim_f32,
            .pool = &pool_f32,
            .random = &random_f32,
            .reduce = &reduce_f32},
    .plain = &plain,
    .movement = &movement,
    .peak = &peak,
};

const KernelTable<double> table_f64 = {.conv = &conv_f64,
                                       .elementwise = &elementwise_f64,
                                       .image = &image_f64,
                                       .index = &index_f64,
                                       .loss = &loss_f64,
                                       .matmul = &matmul_f64,
                                       .norm = &norm_f64,
                                       .optim = &optim_f64,
                                       .pool = &pool_f64,
                                       .random = &random_f64,
                                       .reduce = &reduce_f64};

}  // namespace dc::cuda
