#!/usr/bin/env bash
# me2-preprocess links no LibTorch (it has to start within 50 ms), and the other tools no CUDA (they start without a driver).
#     preprocess_without_torch.sh BIN
bin=$(realpath "$1")
status=0
if ldd "$bin/me2-preprocess" | grep -E 'libtorch|libc10'; then echo "  ^ in me2-preprocess"; status=1; fi
for tool in "$bin"/me2-*; do
  if ldd "$tool" | grep -E 'torch_cuda|libcuda\.|cudnn|cublas'; then echo "  ^ in $tool"; status=1; fi
done
exit $status
