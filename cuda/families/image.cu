#include "families/families.h"

namespace dc::cuda {

const ImageKernels<float> image_f32 = {unsupported, unsupported, unsupported, unsupported,
                                       unsupported, unsupported, unsupported};
const ImageKernels<double> image_f64 = {unsupported, unsupported, unsupported, unsupported,
                                        unsupported, unsupported, unsupported};

}  // namespace dc::cuda
