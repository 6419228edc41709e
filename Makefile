# sslsweep. `make help` lists the commands. Recipes for checks, measurements, and installation and packages are in
# checks/checks.mk, bench/bench.mk and packaging/packaging.mk.

CARGO   ?= cargo
OBJCOPY ?= objcopy
include tools/cross.mk

# The one place for the version is Cargo.toml; the ABI number follows from it as in build.rs.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
NUMBERS := $(subst ., ,$(VERSION))
ABI     := $(word 1,$(NUMBERS))$(if $(filter 0,$(word 1,$(NUMBERS))),.$(word 2,$(NUMBERS)))

LIB     := build/lib
BUILDS  := $(or $(CARGO_TARGET_DIR),target)$(CARGO_BUILD_TARGET:%=/%)
TARGET  := $(BUILDS)/release
BUILT   := $(BUILDS)/command/sslsweep
AGENT   := $(BUILDS)/command/sslsweep-shared
SO      := libsslsweep.so.$(VERSION)
SHARE   := libsslsweep-share.so.$(VERSION)
# $(call crates,NAMES): the sources of these crates
crates   = $(foreach crate,$(wildcard $(1:%=crates/%)),$(crate)/Cargo.toml $(shell find $(crate)/src -name '*.rs')) Cargo.toml Cargo.lock
SOURCES := $(shell find src -name '*.rs') $(call crates,figures share-table) build.rs cbindgen.toml $(wildcard checks/abi/*.map)
SHARED  := $(call crates,share share-table seal segment) crates/share/exports.map
COMMAND := $(shell find crates -name '*.rs') $(wildcard crates/cli/src/completions/* crates/*/Cargo.toml) Cargo.toml Cargo.lock
# Installs what WORD of tools/setup.sh needs, or names it: $(SETUP) WORD
SETUP    = CARGO='$(CARGO)' sh tools/setup.sh
AGAIN    = $(MAKE) --no-print-directory

.DEFAULT_GOAL := lib
comma := ,

# The commands whose comment begins so, in two columns: $(call list,MARK)
list = sed -n 's/^\([a-z0-9-]*\):.*$1 \(.*\)/  make \1               \2/p' $(MAKEFILE_LIST) | sed 's/^\(.\{22\}\) */\1/; s/ \{13,\}/ /'

help: ##! list the commands that most people need
	@$(call list,##!)

help-all: ##! list all commands, with their settings
	@$(call list,##!\{0$(comma)1\})

lib: library build/bin/sslsweep build/NOTICES ##! build the library and the command, into build/

library: $(LIB)/$(SO) $(LIB)/$(SHARE)

# Whether it is built for musl, whose loader knows no version nodes.
MUSL = $(findstring musl,$(or $(CARGO_BUILD_TARGET),$(shell rustc -vV | grep '^host:')))

# How the shared libraries are linked, each from a static one: $(call link_so,NAME,VERSION SCRIPT,FUNCTION,STATIC LIBRARY)
# Only so do the symbols of the core get their version nodes: rustc brings a version script of its own. All is bound at the start
# and read-only after that.
link_so = $(CC) -shared -o $@ -Wl,-soname,$1.so.$(ABI) -Wl,--version-script=$2 -Wl,-u,$3 \
          -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,defs,-z,nodelete -Wl,--as-needed $(TARGET)/$4.a -lgcc_s -lpthread -ldl -lc

# Messages of panics name source files, which must not depend on where somebody has them.
REMAP = for folder in $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*; do printf '%s=crates ' "--remap-path-prefix=$$folder"; done

# How all are compiled. Frame pointers, so that a tracer's stack of a probe goes on to the program; they cost nothing that could be measured.
FLAGGED = RUSTFLAGS="$$RUSTFLAGS -C force-frame-pointers=yes $$($(REMAP)) --remap-path-prefix=$(CURDIR)=sslsweep" $(CARGO)

# The standard library registers thread destructors by a weak symbol of the C library's, which takes the loader's lock and memory; by
# another name it is not there, and a key of pthreads serves. (None of ours has one: checks/abi/library.t.)
no_destructors = $(OBJCOPY) --redefine-sym __cxa_thread_atexit_impl=sslsweep_no_thread_destructors $(TARGET)/$1.a

# Without the rlib of the tests among the crate types, or the dependencies would be left out of the
# link-time optimisation. cargo decides what is stale; only a changed library is copied, so that the tests relink only then.
$(LIB)/$(SO): $(SOURCES)
	@$(SETUP) build
	$(FLAGGED) rustc --release --locked --lib --crate-type staticlib
	@mkdir -p $(LIB)
	$(call no_destructors,libsslsweep)
	$(call link_so,libsslsweep,checks/abi/$(if $(MUSL),plain,nodes).map,sslsweep_version,libsslsweep)
	$(OBJCOPY) --wildcard --localize-symbol='*@OPENSSL_*' $(TARGET)/libsslsweep.a $(LIB)/libsslsweep.a
	ln -sf $(SO) $(LIB)/libsslsweep.so.$(ABI)
	ln -sf libsslsweep.so.$(ABI) $(LIB)/libsslsweep.so

# The share library, which the core opens by its soname. Nobody links with it.
$(LIB)/$(SHARE): $(SHARED)
	@$(SETUP) build
	$(FLAGGED) rustc --release --locked -p sslsweep-share --lib --crate-type staticlib
	@mkdir -p $(LIB)
	$(call no_destructors,libsslsweep_share)
	$(call link_so,libsslsweep-share,crates/share/exports.map,sslsweep_share,libsslsweep_share)
	ln -sf $(SHARE) $(LIB)/libsslsweep-share.so.$(ABI)

$(BUILT): $(COMMAND)
	@$(SETUP) build
	$(FLAGGED) build --profile command --locked -p sslsweep-cli
	@touch $@

# build/ is laid out as an installation: the command finds the library in the tree in which it lies itself.
build/bin/sslsweep: $(BUILT)
	@mkdir -p build/bin
	$(INSTALL) -m 755 $(BUILT) $@

# The agent of a fleet. It is apart from `lib`: nobody needs it who shares on one machine, and its TLS takes a while to build.
fleet: build/bin/sslsweep-shared ## build the agent that shares sessions with other machines, into build/

$(AGENT): $(call crates,agent segment seal)
	@$(SETUP) build
	$(FLAGGED) build --profile command --locked -p sslsweep-agent
	@touch $@

build/bin/sslsweep-shared: $(AGENT)
	@mkdir -p build/bin
	$(INSTALL) -m 755 $(AGENT) $@

build/NOTICES: $(COMMAND) packaging/notices.sh
	@mkdir -p build
	@CARGO='$(CARGO)' sh packaging/notices.sh >$@.new && mv $@.new $@

demo: ##! show on real servers what it does (DETAILS=1: each step)
	@$(SETUP) demo
	@MAKE='$(MAKE)' python3 -B examples/demo/run.py

test: ##! run all tests (MEMCHECK=no: without valgrind)
	@$(SETUP) test
	@$(AGAIN) lib test-rust test-c test-command $(if $(filter no,$(MEMCHECK)),,valgrind)

test-rust: ##! the Rust tests: the cache against its oracle, the command
	$(CARGO) test --locked $(or $(CRATES:%=-p %),--workspace)

test-harness: library ## the C programs alone (TEST_NAMES="flush_* hs_sni" TEST_WAYS="stock preload" TEST_JOBS=4)
	@$(AGAIN) -C tests-c LIBDIR=../$(LIB) check

test-c: lib test-harness ##! the C programs on stock and three ways, header, install
	@cd tests-c && prove header.t install.t effect.t examples.t leaks.t probes.t
	@prove checks/abi/library.t checks/abi/share.t tools/setup.t examples/demo/summary.t

test-command: lib ##! the sslsweep command: run, doctor, stat, flush and top
	@$(SETUP) command
	@prove crates/cli/tests/*.t

test-fresh: ## make demo and make test on bare Debian trees, as root and as a user (as root; RELEASES="12 13" USERS="root visitor" MEMCHECK=no MIRROR=URL)
	@$(SETUP) fresh
	@MEMCHECK='$(MEMCHECK)' USERS='$(USERS)' MIRROR='$(MIRROR)' sh tools/fresh.sh $(RELEASES)

lint: ##! rustfmt, clippy and shellcheck, warnings denied
	@$(SETUP) lint
	$(CARGO) fmt --all --check
	cd checks/models && $(CARGO) fmt --check
	cd checks/fuzz && $(CARGO) fmt --check && $(CARGO) metadata --locked --format-version 1 >/dev/null
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd checks/models && CARGO_TARGET_DIR=../../build/models $(CARGO) clippy --locked --lib --tests -- -D warnings
	perl checks/models/mutants.t texts
	python3 -B checks/fuzz/check.py texts
	shellcheck $$(find bench checks examples packaging tests-c tools -name '*.sh') .ci/run

header: lib ## regenerate include/sslsweep.h from the Rust documentation
	cp "$$(ls -t $(TARGET)/build/sslsweep-*/out/sslsweep.h | head -n 1)" include/sslsweep.h

pictures: ## write docs/metrics.md and the picture of top anew
	SSLSWEEP_WRITE_DOCUMENTS=1 $(CARGO) test --locked --quiet -p sslsweep-cli

clean: ##! remove what was built
	rm -rf build
	$(CARGO) clean

.PHONY: help help-all lib library fleet demo test test-rust test-harness test-c test-command test-fresh lint header pictures clean

include checks/checks.mk bench/bench.mk packaging/packaging.mk
