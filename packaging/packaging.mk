# Installation, packages and the archive of sources. Included by the Makefile.

PREFIX  ?= /usr/local
DESTDIR ?=
BINDIR  ?= $(PREFIX)/bin
LIBDIR  ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
PKGCONFIGDIR ?= $(LIBDIR)/pkgconfig
DATADIR ?= $(PREFIX)/share
MANDIR  ?= $(DATADIR)/man
LIBEXECDIR ?= $(PREFIX)/libexec
UNITDIR ?= $(PREFIX)/lib/systemd/system
SYSUSERSDIR ?= $(PREFIX)/lib/sysusers.d

INSTALL ?= install
STRIP   ?= strip

# What install lays down and uninstall takes away, below DESTDIR: what running programs takes, what sharing between them
# takes, and what building them takes. The packages are divided in the same way.
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
INSTALLED_SHARE   = $(LIBDIR)/$(SHARE) $(LIBDIR)/libsslsweep-share.so.$(ABI)
INSTALLED_FLEET   = $(LIBEXECDIR)/sslsweep/sslsweep-shared $(UNITDIR)/sslsweep-shared.service $(SYSUSERSDIR)/sslsweep-shared.conf \
                    $(DATADIR)/sslsweep/shared.conf
INSTALLED         = $(INSTALLED_RUNTIME) $(INSTALLED_SHARE) $(INSTALLED_DEV) $(INSTALLED_FLEET)

FILL = sed -e 's|@PREFIX@|$(PREFIX)|g' -e 's|@BINDIR@|$(BINDIR)|g' -e 's|@LIBDIR@|$(LIBDIR)|g' -e 's|@INCLUDEDIR@|$(INCLUDEDIR)|g' \
           -e 's|@DATADIR@|$(DATADIR)|g' -e 's|@LIBEXECDIR@|$(LIBEXECDIR)|g' -e 's|@VERSION@|$(VERSION)|g' -e 's|@ABI@|$(ABI)|g'
# $(call fill,SOURCE,MODE,TARGET)
fill = $(FILL) $1 >$(DESTDIR)$3 && chmod $2 $(DESTDIR)$3

# Of symbols only the debugging information goes: tracers need the notes of the probes, and names in their stacks.
# $(call slim,TARGET)
slim = $(STRIP) --strip-debug $(DESTDIR)$1

install: install-runtime install-share install-dev ##! install below PREFIX (/usr/local), staged in DESTDIR
	@[ -n '$(DESTDIR)' ] || sh packaging/loader.sh '$(LIBDIR)'

install-runtime: lib
	$(INSTALL) -d $(sort $(dir $(INSTALLED_RUNTIME:%=$(DESTDIR)%)))
	$(INSTALL) -m 755 $(LIB)/$(SO) $(DESTDIR)$(LIBDIR)/$(SO)
	$(call slim,$(LIBDIR)/$(SO))
	ln -sf $(SO) $(DESTDIR)$(LIBDIR)/libsslsweep.so.$(ABI)
	$(INSTALL) -m 755 build/bin/sslsweep $(DESTDIR)$(BINDIR)/sslsweep
	$(call slim,$(BINDIR)/sslsweep)
	$(INSTALL) -m 644 build/NOTICES $(DESTDIR)$(DATADIR)/sslsweep/NOTICES
	$(foreach shell,bash zsh fish,$(call completion,$(shell),$(filter %$(if $(filter fish,$(shell)),.fish,sslsweep),$(filter $(DATADIR)/$(shell)%,$(COMPLETIONS)))) &&) :
	$(call fill,docs/man/sslsweep.1.in,644,$(MANDIR)/man1/sslsweep.1)
	$(call fill,docs/man/sslsweep.7.in,644,$(MANDIR)/man7/sslsweep.7)
	$(foreach name,$(SCRIPTS),$(INSTALL) -m 644 docs/bpftrace/$(name).bt $(DESTDIR)$(call script,$(name)) &&) :
	$(INSTALL) -m 644 $(GRAFANA:%=packaging/grafana/%) $(DESTDIR)$(DATADIR)/sslsweep/grafana
	$(foreach service,$(SERVICES),$(call fill,packaging/systemd/$(service).conf.in,644,$(call drop_in,$(service))) &&) :
	@$(DESTDIR)$(BINDIR)/sslsweep run true || echo "install: the command looks for the library in lib, lib64 and the folders of lib, beside $(BINDIR) or one up; for LIBDIR=$(LIBDIR) set LD_PRELOAD instead"

install-share: lib
	$(INSTALL) -d $(DESTDIR)$(LIBDIR)
	$(INSTALL) -m 755 $(LIB)/$(SHARE) $(DESTDIR)$(LIBDIR)/$(SHARE)
	$(call slim,$(LIBDIR)/$(SHARE))
	ln -sf $(SHARE) $(DESTDIR)$(LIBDIR)/libsslsweep-share.so.$(ABI)

# Not part of `install`: only a machine of a fleet needs it.
install-fleet: fleet ## install the agent that shares sessions with other machines, and its unit
	$(INSTALL) -d $(sort $(dir $(INSTALLED_FLEET:%=$(DESTDIR)%)))
	$(INSTALL) -m 755 build/bin/sslsweep-shared $(DESTDIR)$(LIBEXECDIR)/sslsweep/sslsweep-shared
	$(call slim,$(LIBEXECDIR)/sslsweep/sslsweep-shared)
	$(call fill,packaging/systemd/sslsweep-shared.service.in,644,$(UNITDIR)/sslsweep-shared.service)
	$(INSTALL) -m 644 packaging/systemd/sslsweep-shared.sysusers $(DESTDIR)$(SYSUSERSDIR)/sslsweep-shared.conf
	$(INSTALL) -m 644 packaging/systemd/shared.conf $(DESTDIR)$(DATADIR)/sslsweep/shared.conf

install-dev: lib
	$(INSTALL) -d $(sort $(dir $(INSTALLED_DEV:%=$(DESTDIR)%)))
	ln -sf libsslsweep.so.$(ABI) $(DESTDIR)$(LIBDIR)/libsslsweep.so
	$(INSTALL) -m 644 $(LIB)/libsslsweep.a $(DESTDIR)$(LIBDIR)/libsslsweep.a
	$(call slim,$(LIBDIR)/libsslsweep.a)
	$(INSTALL) -m 644 include/sslsweep.h $(DESTDIR)$(INCLUDEDIR)/sslsweep.h
	$(call fill,packaging/sslsweep.pc.in,644,$(PKGCONFIGDIR)/sslsweep.pc)
	$(call fill,packaging/sslsweep-static.pc.in,644,$(PKGCONFIGDIR)/sslsweep-static.pc)
	$(foreach page,$(MAN3),$(call fill,docs/man/$(page).3sslsweep.in,644,$(call man3,$(page))) &&) :

uninstall: ##! remove what install put there
	rm -f $(INSTALLED:%=$(DESTDIR)%)
	@[ -n '$(DESTDIR)' ] || sh packaging/loader.sh '$(LIBDIR)' >/dev/null
	[ ! -d $(DESTDIR)$(DATADIR)/sslsweep ] || find $(DESTDIR)$(DATADIR)/sslsweep -depth -type d -empty -delete

dist: ##! a source archive that builds without a network
	@CARGO='$(CARGO)' sh packaging/dist.sh $(VERSION) build/dist

# A package of the same sources is the same, byte for byte: its times are that of the last commit.
deb rpm: export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || stat -c %Y CHANGELOG.md)
# The distributor of a package is its maintainer.
PACKAGER ?= sslsweep maintainers <maintainers@sslsweep.example>
PACKAGES := build/packages

deb: ##! build Debian packages into build/packages
	@$(SETUP) deb
	@$(AGAIN) lib fleet
	rm -rf $(PACKAGES)/deb $(PACKAGES)/*.deb
	mkdir -p $(PACKAGES)/deb
	cp -R packaging/debian $(PACKAGES)/deb
	sh packaging/packaged-docs.sh $(CURDIR)/$(PACKAGES)/deb "/usr/lib/$$(dpkg-architecture -qDEB_HOST_MULTIARCH)" /usr/share
	printf 'sslsweep (%s-1) unstable; urgency=medium\n\n  * Version %s.\n\n -- %s  %s\n' '$(VERSION)' '$(VERSION)' \
	    '$(PACKAGER)' "$$(LC_ALL=C date -Ru -d @$$SOURCE_DATE_EPOCH)" >$(PACKAGES)/deb/debian/changelog
	sed -i 's|@PACKAGER@|$(PACKAGER)|' $(PACKAGES)/deb/debian/control
	cd $(PACKAGES)/deb && TOP=$(CURDIR) debian/rules binary

rpm: ##! build RPM packages into build/packages
	@$(SETUP) rpm
	@$(AGAIN) lib fleet
	rm -rf $(PACKAGES)/rpm $(PACKAGES)/*.rpm
	rpmbuild -bb --quiet --define 'top $(CURDIR)' --define '_topdir $(CURDIR)/$(PACKAGES)/rpm' --define '_rpmdir $(CURDIR)/$(PACKAGES)' \
	    --define 'version $(VERSION)' --define 'packager $(PACKAGER)' packaging/sslsweep.spec

test-packages: ## build the packages; install, try and remove them (Debian, as root)
	@[ "$$(id -u)" = 0 ] || { echo 'installing needs root; please run: sudo env "PATH=$$PATH" make test-packages' >&2; exit 1; }
	@$(SETUP) packages
	@$(AGAIN) deb rpm
	@prove packaging/packages.t packaging/dist.t

.PHONY: install install-runtime install-share install-fleet install-dev uninstall dist deb rpm test-packages
