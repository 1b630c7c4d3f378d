# Toolchain: for 64-bit ARM, on another machine. (Preset aarch64-emulated builds with it what `tools/test --only aarch64` runs, for machines where every
# step takes long; nothing to install.)
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_LIBRARY_ARCHITECTURE aarch64-linux-gnu)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64)
