#include "core/storage.h"

#include "core/allocator.h"

namespace dc {

std::shared_ptr<Storage> Storage::allocate(size_t bytes, Device device) {
  void* p = pool(device).allocate(bytes);
  return std::make_shared<Storage>(p, bytes, device, false, nullptr);
}

std::shared_ptr<Storage> Storage::wrap(void* data, size_t bytes, Device device, bool readonly,
                                       std::function<void()> release) {
  return std::make_shared<Storage>(data, bytes, device, readonly, std::move(release));
}

Storage::~Storage() {
  if (release_)
    release_();
  else
    pool(device_).release(data_, bytes_);
}

}  // namespace dc
