# Checks beside the tests: other releases of libssl, real programs, fuzzers, models and sanitizers. Included by the Makefile.

test-matrix: lib ##! the C programs on libssl 1.1.1 to 4.0 (VERSIONS="3.5")
	@$(SETUP) matrix
	@python3 -B tests-c/matrix.py $(VERSIONS)

test-programs: ##! unchanged servers, stock and preloaded (PROGRAMS=nginx)
	@PROGRAMS="$(PROGRAMS)" $(SETUP) programs
	@$(AGAIN) library
	@PROGRAMS="$(PROGRAMS)" python3 -B checks/programs/run.py $(LIB)/libsslsweep.so

test-sharing: ##! shared sessions in real servers (MINUTES=5: longer storms)
	@PROGRAMS="nginx stunnel vsftpd proftpd redis mariadb" $(SETUP) programs
	@$(SETUP) matrix
	@$(AGAIN) lib
	@SCENARIOS="$(SCENARIOS)" VERSIONS="$(VERSIONS)" MINUTES="$(MINUTES)" python3 -B checks/sharing/run.py $(LIB)/libsslsweep.so

test-fleet: ##! agents, engines and hosts of a fleet (SCENARIOS="hosts/4")
	@$(SETUP) fleet
	@PROGRAMS="nginx redis" $(SETUP) programs
	@$(AGAIN) lib fleet
	@$(FLAGGED) build --quiet --profile command --locked -p sslsweep-agent --examples
	@SCENARIOS="$(SCENARIOS)" ENGINE="$(ENGINE)" python3 -B checks/fleet/run.py $(BUILDS)/command $(LIB)/libsslsweep.so

test-arm64: ## C and Rust tests, nginx and the packages on arm64 under emulation, in a tree of Debian 13 (as root; NAMES="flush_*" WAYS=preload PARTS="harness threads nginx packages" MIRROR=URL)
	@$(SETUP) fresh
	@NAMES='$(NAMES)' WAYS='$(WAYS)' PARTS='$(PARTS)' MIRROR='$(MIRROR)' sh checks/reach/arm64.sh

test-distributions: ## the C programs on the libssl of Debian 12, 13 and sid, in trees (as root; RELEASES="12 13 sid" NAMES="flush_*" WAYS=preload MIRROR=URL)
	@$(SETUP) fresh
	@NAMES='$(NAMES)' WAYS='$(WAYS)' MIRROR='$(MIRROR)' sh checks/reach/distributions.sh $(RELEASES)

tested-systems: ## run test-arm64, test-distributions and test-musl, and write the README's table of systems from the results
	@$(AGAIN) test-arm64 test-distributions test-musl
	python3 tools/tested.py systems

tested: ## run the matrix and the programs, and write the README's tables from the results
	@$(AGAIN) test-matrix test-programs
	python3 tools/tested.py

abi-check: ##! symbols, versions and prototypes against each libssl
	@$(SETUP) abi
	@$(AGAIN) lib
	@$(AGAIN) -C tests-c LIBDIR=../$(LIB) all TEST_NAMES=presence_several
	@VERSIONS='$(VERSIONS)' prove checks/abi/library.t checks/abi/share.t checks/abi/versions.t checks/abi/several.t

abi-baseline: lib ## take the present ABI for the one that is meant
	@$(SETUP) abi
	abidw --no-corpus-path --no-show-locs --out-file checks/abi/libsslsweep.abi $(LIB)/libsslsweep.so

fuzz: ##! fuzz cache, records, and calls against stock (SECONDS=20)
	@$(SETUP) fuzz
	@FUZZ_SECONDS=$(or $(SECONDS),20) FUZZERS="$(FUZZERS)" LIBSSL="$(LIBSSL)" LINKAGE="$(LINKAGE)" GROW="$(GROW)" python3 -B checks/fuzz/run.py

fuzz-check: ## check the fuzzers: each of some defects must be found
	@$(SETUP) fuzz
	@FUZZ_SECONDS=$(or $(SECONDS),60) DEFECTS="$(DEFECTS)" python3 -B checks/fuzz/check.py

test-models: ##! cache and segment in every order of two or three threads
	@$(SETUP) models
	cd checks/models && CARGO_TARGET_DIR=../../build/models $(CARGO) test --release --locked -- --nocapture
	@prove checks/models/mutants.t

test-musl: ## library, command, the C programs and nginx for musl, in a tree of Debian (as root; PARTS="command harness nginx" NAMES="flush_*" WAYS=preload)
	@$(SETUP) fresh
	@PARTS='$(PARTS)' NAMES='$(NAMES)' WAYS='$(WAYS)' MIRROR='$(MIRROR)' sh checks/reach/musl.sh

valgrind: lib ## the C programs under memcheck
	@$(AGAIN) -C tests-c LIBDIR=../$(LIB) valgrind

asan: ## the C programs under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer (VERSIONS="system 3.5")
	@$(SETUP) asan
	@sh tests-c/sanitizers/asan.sh $(VERSIONS)

tsan: ## ThreadSanitizer: the cache, and the threaded C programs with a sanitised library and libssl (VERSIONS="3.5")
	@$(SETUP) tsan
	@sh tests-c/sanitizers/tsan.sh $(VERSIONS)

test-memory: lib ## fail each allocation in turn, and print how many
	@$(AGAIN) -C tests-c LIBDIR=../$(LIB) check TEST_NAMES='*_memory'
	@for way in preload shared static; do sed -n "s/^# allocations that failed/$$way: &/p" build/tests/out/*_memory.$$way.out; done

soak: ## random work of several threads for MINUTES=1 with its books kept (VERSIONS="system 3.5" SEED=1)
	@$(SETUP) $(if $(filter-out system,$(VERSIONS)),matrix,test)
	@$(AGAIN) lib
	@python3 -B tests-c/soak.py $(or $(MINUTES),1) $(VERSIONS)

miri: ## the cache, and what else needs no libssl, under Miri (needs a nightly toolchain that has it)
	@$(CARGO) +nightly miri --version >/dev/null 2>&1 || { echo 'make miri: no Miri here, so nothing was run. It comes with rustup:' \
	    'rustup toolchain install nightly --component miri' >&2; exit 1; }
	MIRIFLAGS=-Zmiri-disable-isolation $(CARGO) +nightly miri test --locked --lib

# Kept outside of the checkout: it takes minutes to build.
DENY := $(or $(shell command -v cargo-deny),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sslsweep/tools/bin/cargo-deny)

$(DENY):
	$(CARGO) install --locked --quiet --root $(patsubst %/bin/,%,$(dir $@)) cargo-deny

deny: $(DENY) ## licences, versions and origin of the dependencies, by deny.toml (installs cargo-deny if need be)
	$(DENY) --workspace --locked check licenses bans sources

audit: $(DENY) ## known vulnerabilities of the dependencies (fetches the RustSec database from its Git host)
	$(DENY) --workspace --locked check advisories

.PHONY: test-matrix test-programs test-sharing test-fleet test-arm64 test-distributions tested tested-systems abi-check abi-baseline fuzz fuzz-check test-models valgrind asan tsan test-memory soak miri deny audit test-musl
