# Measurements against stock libssl, and the pages that report them. Included by the Makefile.

bench: ##! against stock, in some 30 minutes (SIZES=20000 ROUNDS=5)
	@$(SETUP) bench
	@$(AGAIN) lib
	@python3 bench/run.py $(LIB)/libsslsweep.so

bench-all: ## bench with every libssl and up to four million sessions; takes hours (bench and bench-all: LIBSSL="system 3.5"; STATS=1: what figures cost)
	@BENCH=full $(AGAIN) bench

bench-report: ## put the last results of bench into docs/benchmarks.md
	@python3 bench/report.py build/bench/results.json

profile: ## where instructions and cache misses go, by callgrind, into docs/benchmarks.md (LIBSSL=3.5)
	@$(SETUP) profile
	@$(AGAIN) lib
	@python3 bench/profile.py $(LIB)/libsslsweep.so

bench-sharing: ## what sharing costs, into docs/benchmarks.md: the share library's calls, and a resumption from another context's session (ROUNDS=5)
	@$(SETUP) bench
	@$(AGAIN) library
	@CARGO='$(CARGO)' OPENSSL_LIBS='$(OPENSSL_LIBS)' python3 -B bench/sharing.py $(LIB)/libsslsweep.so $(LIB)/$(SHARE)

bench-fleet: ## what sessions of other machines cost, with agents and an engine, into docs/benchmarks.md (ROUNDS=5)
	@$(SETUP) bench
	@PROGRAMS=redis $(SETUP) programs
	@$(AGAIN) lib fleet
	@$(FLAGGED) build --quiet --profile command --locked -p sslsweep-agent --examples
	@OPENSSL_LIBS='$(OPENSSL_LIBS)' python3 -B bench/fleet.py $(LIB)/libsslsweep.so $(LIB)/$(SHARE) $(BUILDS)/command

model-fleet: ## a model of many machines: what is resumed, fetched and lost when something fails (MODEL="MACHINES CLIENTS VISITS")
	@python3 -B bench/fleet_model.py $(MODEL)

load: ##! a TLS server with a million sessions (MINUTES=4)
	@$(SETUP) load
	@$(AGAIN) lib
	@python3 -B bench/load/load.py $(LIB)/libsslsweep.so

load-capacity: ## handshakes a second of nginx and of the server of load, on one processor; some 15 minutes (SERVERS="nginx threads" SIZES="20000 1000000" ROUNDS=3 SECONDS=2 LIBSSL="system")
	@$(SETUP) load
	@PROGRAMS=nginx $(SETUP) programs
	@$(AGAIN) lib
	@python3 -B bench/load/capacity.py $(LIB)/libsslsweep.so

load-report: ## put the last results of load and load-capacity into docs/load.md
	@python3 -B bench/load/page.py build/load/results.json build/load/capacity.json

load-servers: ## unchanged servers while a flush removes 20,000 sessions, with and without (SERVERS="stunnel h2o nginx" ROUNDS=5)
	@PROGRAMS="$(or $(SERVERS),stunnel h2o nginx)" $(SETUP) programs
	@$(AGAIN) lib
	@python3 -B bench/load/servers.py $(LIB)/libsslsweep.so

figures: ## measure all that docs/benchmarks.md and docs/load.md report, and write both, in some 80 minutes; on a machine with nothing else to do (ROUNDS=3 LIBSSL="system 3.5")
	@$(AGAIN) bench bench-report bench-sharing bench-fleet
	@$(AGAIN) profile LIBSSL=
	@$(AGAIN) load LIBSSL="$(or $(LIBSSL),system 1.1.1 3.5 4.0)" MINUTES="$(or $(MINUTES),16)"
	@$(AGAIN) load-capacity load-report

.PHONY: bench bench-all bench-fleet bench-sharing bench-report figures load load-capacity load-report load-servers model-fleet profile
