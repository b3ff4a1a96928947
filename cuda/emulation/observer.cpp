#include "emulation/observer.h"

namespace dc::emulation {

const Observer* observer = nullptr;

}  // namespace dc::emulation
