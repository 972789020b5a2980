# The LibTorch inside the PyPI torch wheel. The wheel's own find_package(Torch) fails where there is no
# CUDA toolkit, and would link libtorch_cuda; we link torch_cpu and c10 only and load CUDA at run time.
find_path(TorchWheel_INCLUDE_DIR ATen/ATen.h PATHS ${ME2_TORCH_DIR}/include NO_DEFAULT_PATH)
find_library(TorchWheel_CPU_LIBRARY torch_cpu PATHS ${ME2_TORCH_DIR}/lib NO_DEFAULT_PATH)
find_library(TorchWheel_C10_LIBRARY c10 PATHS ${ME2_TORCH_DIR}/lib NO_DEFAULT_PATH)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(TorchWheel
  REASON_FAILURE_MESSAGE "run `make -f Makefile.pipeline setup` first, or give -DME2_TORCH_DIR=<wheel>/torch"
  REQUIRED_VARS TorchWheel_INCLUDE_DIR TorchWheel_CPU_LIBRARY TorchWheel_C10_LIBRARY)
if(TorchWheel_FOUND AND NOT TARGET TorchWheel::torch)
  add_library(TorchWheel::torch INTERFACE IMPORTED)
  target_include_directories(TorchWheel::torch SYSTEM INTERFACE
    ${TorchWheel_INCLUDE_DIR} ${TorchWheel_INCLUDE_DIR}/torch/csrc/api/include)
  target_link_options(TorchWheel::torch INTERFACE -Wl,-rpath,${ME2_TORCH_DIR}/lib)
  target_link_libraries(TorchWheel::torch INTERFACE ${TorchWheel_CPU_LIBRARY} ${TorchWheel_C10_LIBRARY})
endif()
