# sslsweep. `make help` lists the commands.

PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig

CARGO   ?= cargo
INSTALL ?= install

# The one place for the version is Cargo.toml; the ABI number follows from it as in build.rs.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
ABI     := $(shell echo $(VERSION) | awk -F. '{ print $$1 == 0 ? $$1 "." $$2 : $$1 }')

LIB     := build/lib
TARGET  := $(or $(CARGO_TARGET_DIR),target)/release
SO      := libsslsweep.so.$(VERSION)
SOURCES := $(shell find src -name '*.rs') build.rs cbindgen.toml Cargo.toml Cargo.lock

.DEFAULT_GOAL := lib

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'

lib: $(LIB)/$(SO) build/bin/sslsweep ## build the release library into build/lib

# Without the rlib of the tests among the crate types, or the dependencies would be left out of the
# link-time optimisation. cargo decides what is stale; only a changed library is copied, so that the tests relink only then.
$(LIB)/$(SO): $(SOURCES)
	@sh scripts/setup.sh build
	$(CARGO) rustc --release --locked --lib --crate-type cdylib,staticlib
	@mkdir -p $(LIB)
	cp $(TARGET)/libsslsweep.a $(LIB)/libsslsweep.a
	cp $(TARGET)/libsslsweep.so $@
	ln -sf $(SO) $(LIB)/libsslsweep.so.$(ABI)
	ln -sf libsslsweep.so.$(ABI) $(LIB)/libsslsweep.so

# build/ is laid out as an installation, so the command works from there too.
build/bin/sslsweep: override BINDIR := /bin
build/bin/sslsweep: override LIBDIR := /lib
build/bin/sslsweep: scripts/sslsweep.in Cargo.toml Makefile
	@mkdir -p build/bin
	@$(FILL) $< >$@
	@chmod 755 $@

demo: ## show on real servers what it does: a C program and nginx, with and without
	@sh scripts/setup.sh demo
	@$(MAKE) --no-print-directory lib
	@sh demo/run.sh $(LIB)/libsslsweep.so

test: ## run all tests: Rust, C four ways, header, symbols, install, valgrind
	@sh scripts/setup.sh test
	@$(MAKE) --no-print-directory lib test-rust test-c valgrind

test-rust: ## the Rust tests: the cache against its oracle, options, boundary
	$(CARGO) test --locked

test-c: lib ## the C harness: every test on stock and three ways under sslsweep
	@$(MAKE) --no-print-directory -C tests-c LIBDIR=../$(LIB) check
	@cd tests-c && prove header.t symbols.t install.t

test-matrix: lib ## the C harness on released libssl 1.1.1 to 4.0, built in two linkages (VERSIONS="system 3.5")
	@sh scripts/setup.sh matrix
	@sh tests-c/matrix.sh $(VERSIONS)

valgrind: lib ## the C harness under memcheck
	@$(MAKE) --no-print-directory -C tests-c LIBDIR=../$(LIB) valgrind

bench: ## measure against stock in the same run (SIZES="20000 1000000" ROUNDS=7)
	@sh scripts/setup.sh bench
	@$(MAKE) --no-print-directory lib
	@python3 bench/run.py $(LIB)/libsslsweep.so

lint: ## rustfmt, clippy and shellcheck, warnings denied
	@sh scripts/setup.sh lint
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	shellcheck scripts/*.sh scripts/sslsweep.in demo/*.sh tests-c/*.sh .ci/run

header: lib ## regenerate include/sslsweep.h from the Rust documentation
	cp "$$(ls -t $(TARGET)/build/sslsweep-*/out/sslsweep.h | head -n 1)" include/sslsweep.h

# What install lays down and uninstall takes away, below DESTDIR.
INSTALLED = $(BINDIR)/sslsweep $(LIBDIR)/$(SO) $(LIBDIR)/libsslsweep.so.$(ABI) $(LIBDIR)/libsslsweep.so \
            $(LIBDIR)/libsslsweep.a $(INCLUDEDIR)/sslsweep.h $(PKGCONFIGDIR)/sslsweep.pc
FILL = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
           -e 's|@VERSION@|$(VERSION)|g' -e 's|@ABI@|$(ABI)|g'

install: lib ## install below PREFIX (/usr/local), staged in DESTDIR
	$(INSTALL) -d $(sort $(dir $(INSTALLED:%=$(DESTDIR)%)))
	$(INSTALL) -m 755 $(LIB)/$(SO) $(DESTDIR)$(LIBDIR)/$(SO)
	ln -sf $(SO) $(DESTDIR)$(LIBDIR)/libsslsweep.so.$(ABI)
	ln -sf libsslsweep.so.$(ABI) $(DESTDIR)$(LIBDIR)/libsslsweep.so
	$(INSTALL) -m 644 $(LIB)/libsslsweep.a $(DESTDIR)$(LIBDIR)/libsslsweep.a
	$(INSTALL) -m 644 include/sslsweep.h $(DESTDIR)$(INCLUDEDIR)/sslsweep.h
	$(FILL) scripts/sslsweep.pc.in >$(DESTDIR)$(PKGCONFIGDIR)/sslsweep.pc
	chmod 644 $(DESTDIR)$(PKGCONFIGDIR)/sslsweep.pc
	$(FILL) scripts/sslsweep.in >$(DESTDIR)$(BINDIR)/sslsweep
	chmod 755 $(DESTDIR)$(BINDIR)/sslsweep

uninstall: ## remove what install put there
	rm -f $(INSTALLED:%=$(DESTDIR)%)

clean: ## remove what was built
	rm -rf build
	$(CARGO) clean

.PHONY: help lib demo test test-rust test-c test-matrix valgrind bench lint header install uninstall clean
