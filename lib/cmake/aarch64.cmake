# Toolchain: for 64-bit ARM, built and tested on another machine (preset aarch64, `tools/test --long`). Tests run under QEMU's user emulation, where
# everything takes long (ARUS_EMULATED).
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CXX_FLAGS_INIT -DARUS_EMULATED=1)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
