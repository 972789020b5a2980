// Holds the precompiled LibTorch header that the torch layers share (libcommon/CMakeLists.txt).
