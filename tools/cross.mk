# ARCH=arm64: all is cross-built by Debian's tools, gcc-aarch64-linux-gnu and libstd-rust-dev:arm64. Included by the Makefile.
# (Into the build/ of all builds, so use a checkout of its own, as checks/reach/arm64.sh does.)

ifeq ($(ARCH),arm64)
CC      := aarch64-linux-gnu-gcc
CXX     := aarch64-linux-gnu-g++
AR      := aarch64-linux-gnu-ar
OBJCOPY := aarch64-linux-gnu-objcopy
STRIP   := aarch64-linux-gnu-strip
export CC CXX AR OBJCOPY STRIP
export CARGO_BUILD_TARGET := aarch64-unknown-linux-gnu
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER := $(CC)
export PKG_CONFIG_LIBDIR := /usr/lib/aarch64-linux-gnu/pkgconfig:/usr/share/pkgconfig
export DEB_HOST_ARCH := arm64
else ifneq ($(ARCH),)
$(error ARCH can be arm64, or nothing for the processor of this machine; not '$(ARCH)')
endif
