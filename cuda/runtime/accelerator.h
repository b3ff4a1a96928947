// The CUDA back end as the rest of the library sees it.
#pragma once
#include <memory>
#include <vector>

#include "core/accelerator.h"

namespace dc {

struct Context;
class CudaRecording;

class CudaAccelerator final : public Accelerator {
 public:
  CudaAccelerator();
  ~CudaAccelerator() override;
  bool emulated() const override;
  int device_count() const override;
  std::string reason() const override;
  AcceleratorProperties properties(int device) const override;
  std::unique_ptr<RawAllocator> allocator(int device) override;
  void* stream(int device) override;
  void copy(void* to, Device to_device, const void* from, Device from_device, size_t bytes) override;
  uint64_t send(int device, const std::vector<StagedPiece>& pieces) override;
  void arrive(int device, uint64_t ticket) override;
  int device_of(const void* p) override;
  void order(int device, void* first, void* later) override;
  void finish(int device) override;
  void check_range(int device, const RangeCheck& check, const int64_t* values, int64_t* checked) override;
  void synchronize(int device) override;
  void begin_recording(int device) override;
  std::unique_ptr<Recording> end_recording(int device) override;
  void empty_cache(int device) override;
  const BackendTable& table() const override;
  const KernelTable<double>& table_f64() const override;

 private:
  struct PerCard;
  PerCard& card(int device);
  void upload(PerCard& card, void* to, const void* from, size_t bytes);

  std::mutex mutex_;
  std::vector<std::unique_ptr<PerCard>> cards_;
  std::unique_ptr<CudaRecording> recording_;  // under way
};

CudaAccelerator& cuda_accelerator();

}  // namespace dc
