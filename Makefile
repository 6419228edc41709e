# sslsweep. `make help` lists the commands.

PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
DATADIR ?= $(PREFIX)/share
MANDIR  ?= $(DATADIR)/man

CARGO   ?= cargo
INSTALL ?= install
OBJCOPY ?= objcopy
STRIP   ?= strip

# The one place for the version is Cargo.toml; the ABI number follows from it as in build.rs.
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
ABI     := $(shell echo $(VERSION) | awk -F. '{ print $$1 == 0 ? $$1 "." $$2 : $$1 }')

LIB     := build/lib
TARGET  := $(or $(CARGO_TARGET_DIR),target)/release
BUILT   := $(or $(CARGO_TARGET_DIR),target)/command/sslsweep
SO      := libsslsweep.so.$(VERSION)
SOURCES := $(shell find src crates/figures -name '*.rs') crates/figures/Cargo.toml build.rs cbindgen.toml Cargo.toml Cargo.lock checks/abi/nodes.map
COMMAND := $(shell find crates -name '*.rs') $(wildcard crates/cli/src/completions/*) crates/cli/Cargo.toml crates/figures/Cargo.toml Cargo.toml Cargo.lock

.DEFAULT_GOAL := lib

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | awk -F'\t' '{ printf "  make %-14s %s\n", $$1, $$2 }'

lib: library build/bin/sslsweep build/NOTICES ## build the release library into build/lib, and the command into build/bin

library: $(LIB)/$(SO)

# The shared library is linked from the static one, because only so do its symbols get their version
# nodes: rustc brings a version script of its own. All is bound at the start and read-only after that.
LINK_SO = $(CC) -shared -o $@ -Wl,-soname,libsslsweep.so.$(ABI) -Wl,--version-script=checks/abi/nodes.map -Wl,-u,sslsweep_version \
          -Wl,--gc-sections -Wl,-z,relro,-z,now,-z,defs,-z,nodelete -Wl,--as-needed

# Messages of panics name source files, which must not depend on where somebody has them.
REMAP = for folder in $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/*; do printf '%s=crates ' "--remap-path-prefix=$$folder"; done

# How both are compiled. Frame pointers, so that a tracer's stack of a probe goes on to the program; they cost nothing that could be measured.
FLAGGED = RUSTFLAGS="$$RUSTFLAGS -C force-frame-pointers=yes $$($(REMAP)) --remap-path-prefix=$(CURDIR)=sslsweep" $(CARGO)

# The standard library registers thread destructors by a weak symbol of the C library's, which takes the loader's lock and memory; by
# another name it is not there, and a key of pthreads serves. (None of ours has one: checks/abi/library.t.)
# Without the rlib of the tests among the crate types, or the dependencies would be left out of the
# link-time optimisation. cargo decides what is stale; only a changed library is copied, so that the tests relink only then.
$(LIB)/$(SO): $(SOURCES)
	@CARGO='$(CARGO)' sh tools/setup.sh build
	$(FLAGGED) rustc --release --locked --lib --crate-type staticlib
	@mkdir -p $(LIB)
	$(OBJCOPY) --redefine-sym __cxa_thread_atexit_impl=sslsweep_no_thread_destructors $(TARGET)/libsslsweep.a
	$(LINK_SO) $(TARGET)/libsslsweep.a -lgcc_s -lpthread -ldl -lc
	$(OBJCOPY) --wildcard --localize-symbol='*@OPENSSL_*' $(TARGET)/libsslsweep.a $(LIB)/libsslsweep.a
	ln -sf $(SO) $(LIB)/libsslsweep.so.$(ABI)
	ln -sf libsslsweep.so.$(ABI) $(LIB)/libsslsweep.so

$(BUILT): $(COMMAND)
	@CARGO='$(CARGO)' sh tools/setup.sh build
	$(FLAGGED) build --profile command --locked -p sslsweep-cli
	@touch $@

# The command knows from a section of its own where it and the library are to be, so that installing need not compile.
# $(call place,TARGET)
place = { printf '%s\0%s\0' '$(BINDIR)' '$(LIBDIR)'; head -c 8192 /dev/zero; } | head -c 8192 >$1.paths && \
        $(OBJCOPY) --update-section .sslsweep.paths=$1.paths $(BUILT) $1 && rm $1.paths && chmod 755 $1

build/NOTICES: $(COMMAND) packaging/notices.pl
	@mkdir -p build
	@CARGO='$(CARGO)' perl packaging/notices.pl >$@.new && mv $@.new $@

# build/ is laid out as an installation, so the command works from there too.
build/bin/sslsweep: override BINDIR := /bin
build/bin/sslsweep: override LIBDIR := /lib
build/bin/sslsweep: $(BUILT) Makefile
	@mkdir -p build/bin
	$(call place,$@)

demo: ## show on real servers what it does: a C program and nginx, with and without (DETAILS=1)
	@sh tools/setup.sh demo
	@MAKE='$(MAKE)' sh examples/demo/run.sh

test: ## run all tests: Rust, C four ways, header, symbols, install, examples, probes, valgrind (MEMCHECK=no: all but the last)
	@sh tools/setup.sh test
	@$(MAKE) --no-print-directory lib test-rust test-c test-command $(if $(filter no,$(MEMCHECK)),,valgrind)

test-fresh: ## make demo and make test on bare Debian trees, as root and as a user (as root; RELEASES="12 13" USERS="root visitor" MEMCHECK=no MIRROR=URL)
	@sh tools/setup.sh fresh
	@MEMCHECK='$(MEMCHECK)' USERS='$(USERS)' MIRROR='$(MIRROR)' sh tools/fresh.sh $(RELEASES)

test-rust: ## the Rust tests: the cache against its oracle, options, boundary, the command
	$(CARGO) test --locked --workspace

test-c: lib ## the C harness: every test on stock and three ways under sslsweep
	@$(MAKE) --no-print-directory -C tests-c LIBDIR=../$(LIB) check
	@cd tests-c && prove header.t install.t effect.t examples.t leaks.t probes.t
	@prove checks/abi/library.t tools/setup.t

test-command: lib ## the sslsweep command: run, doctor, stat, flush and, on a terminal, top
	@sh tools/setup.sh command
	@prove crates/cli/tests/*.t

pictures: ## write docs/metrics.md and the picture of top anew
	SSLSWEEP_WRITE_DOCUMENTS=1 $(CARGO) test --locked --quiet -p sslsweep-cli

test-matrix: lib ## the C harness on released libssl 1.1.1 to 4.0, built in two linkages (VERSIONS="system 3.5")
	@sh tools/setup.sh matrix
	@sh tests-c/matrix.sh $(VERSIONS)

valgrind: lib ## the C harness under memcheck
	@$(MAKE) --no-print-directory -C tests-c LIBDIR=../$(LIB) valgrind

fuzz: ## fuzz the cache against its oracle, and API calls against stock (SECONDS=20 for each, FUZZERS=calls, LIBSSL=3.5)
	@sh tools/setup.sh fuzz
	@FUZZ_SECONDS=$(or $(SECONDS),20) FUZZERS="$(FUZZERS)" LIBSSL="$(LIBSSL)" LINKAGE="$(LINKAGE)" GROW="$(GROW)" sh checks/fuzz/run.sh

fuzz-check: ## check the fuzzers: each of some defects must be found
	@sh tools/setup.sh fuzz
	@FUZZ_SECONDS=$(or $(SECONDS),60) DEFECTS="$(DEFECTS)" sh checks/fuzz/check.sh

test-memory: lib ## fail each allocation in turn, and print how many
	@$(MAKE) --no-print-directory -C tests-c LIBDIR=../$(LIB) check TEST_NAMES='*_memory'
	@for way in preload shared static; do sed -n "s/^# allocations that failed/$$way: &/p" build/tests/out/*_memory.$$way.out; done

asan: ## the C harness under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer (VERSIONS="system 3.5")
	@sh tools/setup.sh asan
	@sh tests-c/sanitizers/asan.sh $(VERSIONS)

miri: ## the cache, and what else needs no libssl, under Miri (needs a nightly toolchain that has it)
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo 'make miri: no Miri here, so nothing was run. It comes with rustup:' \
	    'rustup toolchain install nightly --component miri' >&2; exit 1; }
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --locked --lib

# Kept outside of the checkout: it takes minutes to build.
DENY := $(or $(shell command -v cargo-deny),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sslsweep/tools/bin/cargo-deny)

$(DENY):
	$(CARGO) install --locked --quiet --root $(patsubst %/bin/,%,$(dir $@)) cargo-deny

deny: $(DENY) ## licences, versions and origin of the dependencies, by deny.toml (installs cargo-deny if need be)
	$(DENY) --locked check licenses bans sources

audit: $(DENY) ## known vulnerabilities of the dependencies (fetches the RustSec database from its Git host)
	$(DENY) --locked check advisories

load: ## a TLS server with a million sessions under steady resumption and flushes, with and without (MINUTES=4 LIBSSL="system 3.5")
	@sh tools/setup.sh load
	@$(MAKE) --no-print-directory lib
	@python3 -B bench/load/load.py $(LIB)/libsslsweep.so

load-servers: ## unchanged servers while a flush removes 20,000 sessions, with and without (SERVERS="stunnel h2o nginx" ROUNDS=5)
	@PROGRAMS="$(or $(SERVERS),stunnel h2o nginx)" sh tools/setup.sh programs
	@$(MAKE) --no-print-directory lib
	@python3 -B bench/load/servers.py $(LIB)/libsslsweep.so

load-report: ## put the last results of load into docs/load.md
	@python3 -B bench/load/page.py build/load/results.json

test-models: ## the cache in every order that two or three threads can come, and can its models fail?
	@sh tools/setup.sh models
	cd checks/models && CARGO_TARGET_DIR=../../build/models $(CARGO) test --release --locked -- --nocapture
	@prove checks/models/mutants.t

tsan: ## ThreadSanitizer: the cache, and the threaded C tests with a sanitised library and libssl (VERSIONS="3.5")
	@sh tools/setup.sh tsan
	@sh tests-c/sanitizers/tsan.sh $(VERSIONS)

soak: ## random work of several threads for MINUTES=1 with its books kept (VERSIONS="system 3.5" SEED=1)
	@sh tools/setup.sh $(if $(filter-out system,$(VERSIONS)),matrix,test)
	@$(MAKE) --no-print-directory lib
	@sh tests-c/soak.sh $(or $(MINUTES),1) $(VERSIONS)

test-programs: ## unchanged servers (nginx, h2o, stunnel, vsftpd, redis, ...) on stock and with the library (PROGRAMS="nginx h2o")
	@PROGRAMS="$(PROGRAMS)" sh tools/setup.sh programs
	@$(MAKE) --no-print-directory lib
	@PROGRAMS="$(PROGRAMS)" python3 -B checks/programs/run.py $(LIB)/libsslsweep.so

bench: ## measure against stock in the same run (SIZES="20000 1000000" ROUNDS=5 ONLY=flush LIBSSL="system 3.5"; STATS=1: what figures cost)
	@sh tools/setup.sh bench
	@$(MAKE) --no-print-directory lib
	@python3 bench/run.py $(LIB)/libsslsweep.so

bench-all: ## the same with every libssl and up to four million sessions; takes hours
	@BENCH=full $(MAKE) --no-print-directory bench

bench-report: ## put the last results of bench into docs/benchmarks.md
	@python3 bench/report.py build/bench/results.json

profile: ## where instructions and cache misses go, by callgrind, into docs/benchmarks.md (LIBSSL=3.5)
	@sh tools/setup.sh profile
	@$(MAKE) --no-print-directory lib
	@python3 bench/profile.py $(LIB)/libsslsweep.so

lint: ## rustfmt, clippy and shellcheck, warnings denied
	@sh tools/setup.sh lint
	$(CARGO) fmt --all --check
	cd checks/models && $(CARGO) fmt --check
	cd checks/fuzz && $(CARGO) fmt --check && $(CARGO) metadata --locked --format-version 1 >/dev/null
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	cd checks/models && CARGO_TARGET_DIR=../../build/models $(CARGO) clippy --locked --lib --tests -- -D warnings
	shellcheck tools/*.sh bench/*.sh checks/fuzz/*.sh examples/demo/*.sh tests-c/*.sh tests-c/sanitizers/*.sh .ci/run

tested: ## run the matrix and the programs, and write the README's tables from the results
	@$(MAKE) --no-print-directory test-matrix test-programs
	python3 tools/tested.py

abi-check: ## symbols, versions and prototypes against each libssl, and several in one process
	@sh tools/setup.sh abi
	@$(MAKE) --no-print-directory lib
	@$(MAKE) --no-print-directory -C tests-c LIBDIR=../$(LIB) all TEST_NAMES=presence_several
	@VERSIONS='$(VERSIONS)' prove checks/abi/library.t checks/abi/versions.t checks/abi/several.t

abi-baseline: lib ## take the present ABI for the one that is meant
	@sh tools/setup.sh abi
	abidw --no-corpus-path --no-show-locs --out-file checks/abi/libsslsweep.abi $(LIB)/libsslsweep.so

header: lib ## regenerate include/sslsweep.h from the Rust documentation
	cp "$$(ls -t $(TARGET)/build/sslsweep-*/out/sslsweep.h | head -n 1)" include/sslsweep.h

# What install lays down and uninstall takes away, below DESTDIR: what running programs takes, and what
# building them takes. The packages are divided in the same way.
SERVICES          = nginx redis-server
MAN3              = SSL_CTX_flush_sessions_ex sslsweep_flush sslsweep_for_each_session sslsweep_get_statistics
man3              = $(1:%=$(MANDIR)/man3/%.3sslsweep)
SCRIPTS           = flushes rates who-flushes
script            = $(1:%=$(DATADIR)/sslsweep/bpftrace/%.bt)
GRAFANA           = sslsweep.json sslsweep-alerts.yml
COMPLETIONS       = $(DATADIR)/bash-completion/completions/sslsweep $(DATADIR)/zsh/site-functions/_sslsweep \
                    $(DATADIR)/fish/vendor_completions.d/sslsweep.fish
# $(call completion,SHELL,TARGET)
completion        = build/bin/sslsweep completions $1 >$(DESTDIR)$2 && chmod 644 $(DESTDIR)$2
drop_in           = $(1:%=$(DATADIR)/sslsweep/systemd/%.service.d/sslsweep.conf)
INSTALLED_RUNTIME = $(BINDIR)/sslsweep $(LIBDIR)/$(SO) $(LIBDIR)/libsslsweep.so.$(ABI) \
                    $(MANDIR)/man1/sslsweep.1 $(MANDIR)/man7/sslsweep.7 $(call drop_in,$(SERVICES)) \
                    $(call script,$(SCRIPTS)) $(GRAFANA:%=$(DATADIR)/sslsweep/grafana/%) $(COMPLETIONS) $(DATADIR)/sslsweep/NOTICES
INSTALLED_DEV     = $(LIBDIR)/libsslsweep.so $(LIBDIR)/libsslsweep.a $(INCLUDEDIR)/sslsweep.h \
                    $(PKGCONFIGDIR)/sslsweep.pc $(PKGCONFIGDIR)/sslsweep-static.pc $(call man3,$(MAN3))
INSTALLED         = $(INSTALLED_RUNTIME) $(INSTALLED_DEV)

FILL = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
           -e 's|@DATADIR@|$(DATADIR)|g' -e 's|@VERSION@|$(VERSION)|g' -e 's|@ABI@|$(ABI)|g'
# $(call fill,SOURCE,MODE,TARGET)
fill = $(FILL) $1 >$(DESTDIR)$3 && chmod $2 $(DESTDIR)$3

# Of symbols only the debugging information goes: tracers need the notes of the probes, and names in their stacks.
# $(call slim,TARGET)
slim = $(STRIP) --strip-debug $(DESTDIR)$1

install: install-runtime install-dev ## install below PREFIX (/usr/local), staged in DESTDIR; STRIP=: keeps debugging information
	@[ -n '$(DESTDIR)' ] || sh packaging/loader.sh '$(LIBDIR)'

install-runtime: lib
	$(INSTALL) -d $(sort $(dir $(INSTALLED_RUNTIME:%=$(DESTDIR)%)))
	$(INSTALL) -m 755 $(LIB)/$(SO) $(DESTDIR)$(LIBDIR)/$(SO)
	$(call slim,$(LIBDIR)/$(SO))
	ln -sf $(SO) $(DESTDIR)$(LIBDIR)/libsslsweep.so.$(ABI)
	$(call place,$(DESTDIR)$(BINDIR)/sslsweep)
	$(call slim,$(BINDIR)/sslsweep)
	$(INSTALL) -m 644 build/NOTICES $(DESTDIR)$(DATADIR)/sslsweep/NOTICES
	$(foreach shell,bash zsh fish,$(call completion,$(shell),$(filter %$(if $(filter fish,$(shell)),.fish,sslsweep),$(filter $(DATADIR)/$(shell)%,$(COMPLETIONS)))) &&) :
	$(call fill,docs/man/sslsweep.1.in,644,$(MANDIR)/man1/sslsweep.1)
	$(call fill,docs/man/sslsweep.7.in,644,$(MANDIR)/man7/sslsweep.7)
	$(foreach name,$(SCRIPTS),$(INSTALL) -m 644 docs/bpftrace/$(name).bt $(DESTDIR)$(call script,$(name)) &&) :
	$(INSTALL) -m 644 $(GRAFANA:%=packaging/grafana/%) $(DESTDIR)$(DATADIR)/sslsweep/grafana
	$(foreach service,$(SERVICES),$(call fill,packaging/systemd/$(service).conf.in,644,$(call drop_in,$(service))) &&) :

install-dev: lib
	$(INSTALL) -d $(sort $(dir $(INSTALLED_DEV:%=$(DESTDIR)%)))
	ln -sf libsslsweep.so.$(ABI) $(DESTDIR)$(LIBDIR)/libsslsweep.so
	$(INSTALL) -m 644 $(LIB)/libsslsweep.a $(DESTDIR)$(LIBDIR)/libsslsweep.a
	$(call slim,$(LIBDIR)/libsslsweep.a)
	$(INSTALL) -m 644 include/sslsweep.h $(DESTDIR)$(INCLUDEDIR)/sslsweep.h
	$(call fill,packaging/sslsweep.pc.in,644,$(PKGCONFIGDIR)/sslsweep.pc)
	$(call fill,packaging/sslsweep-static.pc.in,644,$(PKGCONFIGDIR)/sslsweep-static.pc)
	$(foreach page,$(MAN3),$(call fill,docs/man/$(page).3sslsweep.in,644,$(call man3,$(page))) &&) :

uninstall: ## remove what install put there
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	@[ -n '$(DESTDIR)' ] || sh packaging/loader.sh '$(LIBDIR)' >/dev/null
	[ ! -d $(DESTDIR)$(DATADIR)/sslsweep ] || find $(DESTDIR)$(DATADIR)/sslsweep -depth -type d -empty -delete

dist: ## build a source archive with the crates, which builds without a network, into build/dist
	@CARGO='$(CARGO)' sh packaging/dist.sh $(VERSION) build/dist

# A package of the same sources is the same, byte for byte: its times are that of the last commit.
deb rpm: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
# Who answers for a package is who gives it to others.
PACKAGER ?= sslsweep maintainers <maintainers@sslsweep.example>
PACKAGES := build/packages

deb: ## build Debian packages of the release into build/packages
	@sh tools/setup.sh deb
	@$(MAKE) --no-print-directory lib
	rm -rf $(PACKAGES)/deb $(PACKAGES)/*.deb
	mkdir -p $(PACKAGES)/deb
	cp -R packaging/debian $(PACKAGES)/deb
	perl packaging/packaged-docs.pl $(CURDIR)/$(PACKAGES)/deb "/usr/lib/$$(dpkg-architecture -qDEB_HOST_MULTIARCH)" /usr/share
	printf 'sslsweep (%s-1) unstable; urgency=medium\n\n  * Version %s.\n\n -- %s  %s\n' '$(VERSION)' '$(VERSION)' \
	    '$(PACKAGER)' "$$(LC_ALL=C date -Ru -d @$$SOURCE_DATE_EPOCH)" >$(PACKAGES)/deb/debian/changelog
	sed -i 's|@PACKAGER@|$(PACKAGER)|' $(PACKAGES)/deb/debian/control
	cd $(PACKAGES)/deb && TOP=$(CURDIR) debian/rules binary

rpm: ## build RPM packages of the release into build/packages
	@sh tools/setup.sh rpm
	@$(MAKE) --no-print-directory lib
	rm -rf $(PACKAGES)/rpm $(PACKAGES)/*.rpm
	rpmbuild -bb --quiet --define 'top $(CURDIR)' --define '_topdir $(CURDIR)/$(PACKAGES)/rpm' --define '_rpmdir $(CURDIR)/$(PACKAGES)' \
	    --define 'version $(VERSION)' --define 'packager $(PACKAGER)' packaging/sslsweep.spec

test-packages: ## build the packages; install, try and remove them (Debian, as root)
	@[ "$$(id -u)" = 0 ] || { echo 'installing needs root; please run: sudo env "PATH=$$PATH" make test-packages' >&2; exit 1; }
	@sh tools/setup.sh packages
	@$(MAKE) --no-print-directory deb rpm
	@prove packaging/packages.t packaging/dist.t

clean: ## remove what was built
	rm -rf build
	$(CARGO) clean

.PHONY: help lib library test-fresh test-command pictures demo test test-rust test-c test-matrix valgrind fuzz fuzz-check test-memory test-programs tested bench bench-all bench-report lint abi-check abi-baseline header asan miri deny audit load load-servers load-report test-models tsan soak profile \
        install install-runtime install-dev uninstall dist deb rpm test-packages clean
