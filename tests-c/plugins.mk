# Programs that are not linked as all the others are. Included by the Makefile.

COMMA := ,
SUPPORT := support/support.c support/handshake.c
SUPPORT_H := $(SUPPORT:.c=.h)

# What a static libcrypto asks for, which depends on how it was built: its .pc file knows.
STATIC_NEEDS := $(filter-out -L% -lssl -lcrypto,$(shell \
    PKG_CONFIG_PATH='$(patsubst -L%,%/pkgconfig,$(filter -L%,$(OPENSSL_LIBS)))' pkg-config --static --libs libcrypto 2>/dev/null)) -ldl -pthread

# presence_dlopen, presence_memory: the program has no libssl, its plug-in (the same source, -DPLUGIN) brings it along.
# In the shared and static ways it is the plug-in that is linked with our library, before -lssl.
PLUGIN = $(COMPILE) -MF $(BUILD)/obj/$(@F).d -DPLUGIN -fPIC -shared $(LDFLAGS) -o $@ $(filter %.c,$^)

define plugin
$(BUILD)/stock/$1.so: presence/$1.c $(SUPPORT) $(SUPPORT_H) | $(BUILD)/stock $(BUILD)/obj
	$$(PLUGIN) $$(OPENSSL_LIBS) -ldl
$(BUILD)/shared/$1.so: presence/$1.c $(SUPPORT) $(SUPPORT_H) $(LIBDIR)/libsslsweep.so | $(BUILD)/shared $(BUILD)/obj
	$$(PLUGIN) $(LIBDIR)/libsslsweep.so $$(OPENSSL_LIBS) -ldl
$(BUILD)/static/$1.so: presence/$1.c $(SUPPORT) $(SUPPORT_H) $(LIBDIR)/libsslsweep.a | $(BUILD)/static $(BUILD)/obj
	$$(PLUGIN) $(LIBDIR)/libsslsweep.a $$(OPENSSL_LIBS) $$(STATIC_LIBS)
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/$1: | $(BUILD)/$(way)/$1.so))
endef
$(foreach name,presence_dlopen presence_memory,$(eval $(call plugin,$(name))))

# presence_several: the program has no libssl; of its two plug-ins (the same source, -DPLUGIN) the second is
# linked with a copy of libssl that has another name. They are nobody's but their own: what they share
# with the program in the static way they must not take from there. (The path has no $$ORIGIN: memcheck complains of
# how the loader reads that.)
SEVERAL_SOURCES := presence/presence_several.c $(SUPPORT)
SEVERAL = $(COMPILE) -MF $@.d -DPLUGIN -fPIC -shared -Wl,-Bsymbolic $(LDFLAGS) -o $@ $(SEVERAL_SOURCES)

$(BUILD)/obj/libssl-so: plugins.mk | $(BUILD)/obj
	libssl=$$($(CC) $(LDFLAGS) -shared -o $@.tmp $(OPENSSL_LIBS) -Wl,-t | grep '/libssl\.') && \
	LC_ALL=C sed 's/libssl\.so\./libssl-so./g' "$$libssl" >$@.tmp
	soname=$$(readelf -dW $@.tmp | sed -n 's/.*(SONAME).*\[\(libssl-so.*\)\]/\1/p') && \
	mv $@.tmp $(BUILD)/obj/$$soname && echo $(BUILD)/obj/$$soname >$@
$(BUILD)/obj/presence_several.1.so: $(SEVERAL_SOURCES) $(SUPPORT_H) | $(BUILD)/obj
	$(SEVERAL) $(OPENSSL_LIBS) -ldl
$(BUILD)/obj/presence_several.2.so: $(SEVERAL_SOURCES) $(SUPPORT_H) $(BUILD)/obj/libssl-so
	$(SEVERAL) $$(cat $(BUILD)/obj/libssl-so) $(filter-out -lssl,$(OPENSSL_LIBS)) -ldl -Wl,-rpath,$(abspath $(BUILD)/obj)
$(BUILD)/stock/presence_several.%.so $(BUILD)/shared/presence_several.%.so $(BUILD)/static/presence_several.%.so: $(BUILD)/obj/presence_several.%.so | $(BUILD)/stock $(BUILD)/shared $(BUILD)/static
	for way in stock shared static; do ln -sf ../obj/$(<F) $(BUILD)/$$way/$(<F); done

$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_several: | $(BUILD)/$(way)/presence_several.1.so $(BUILD)/$(way)/presence_several.2.so))

# presence_embedded: the program has no libssl; one plug-in (the same source, -DPLUGIN) has a static OpenSSL inside, and exports what a
# plain link exports. The other one is linked with a shared libssl.
EMBEDDED_SOURCES := presence/presence_embedded.c $(SUPPORT)
EMBEDDED = $(COMPILE) -MF $@.d -DPLUGIN -fPIC -shared $(LDFLAGS) -o $@ $(EMBEDDED_SOURCES)
$(BUILD)/obj/presence_embedded.inside.so: $(EMBEDDED_SOURCES) $(SUPPORT_H) | $(BUILD)/obj
	$(EMBEDDED) -DINSIDE -Wl,-Bstatic $(OPENSSL_LIBS) -Wl,-Bdynamic $(STATIC_NEEDS)
$(BUILD)/obj/presence_embedded.beside.so: $(EMBEDDED_SOURCES) $(SUPPORT_H) | $(BUILD)/obj
	$(EMBEDDED) -Wl,-Bsymbolic $(OPENSSL_LIBS) -ldl

# presence_names: libraries with functions of the names in checks/abi/symbols.tsv, and plug-ins that are linked with them.
NAMED = $(COMPILE) -MF $@.d -DNAMES='"$1.inc"' -I$(BUILD)/obj -fPIC -shared $(LDFLAGS) -o $@ presence/presence_names.c
NAMED_LIBRARY = -DLIBRARY -Wl,-soname,$(@F)
NAMED_PLUGIN = -DPLUGIN $(word 2,$^) -Wl,-rpath,$(abspath $(dir $(word 2,$^))) -Wl,--disable-new-dtags
$(BUILD)/obj/names.inc: ../checks/abi/symbols.tsv plugins.mk | $(BUILD)/obj
	sed -n 's/^\([A-Z][A-Za-z0-9_]*\).*/X(\1)/p; $$a X(SSL_SESSION_get_timeout)' $< >$@
$(BUILD)/obj/few.inc: $(BUILD)/obj/names.inc
	grep flush_sessions $< >$@
$(BUILD)/obj/names.map: plugins.mk | $(BUILD)/obj
	echo 'NAMES_1 { *; };' >$@
$(BUILD)/obj/libnames.so: presence/presence_names.c $(BUILD)/obj/names.inc $(BUILD)/obj/names.map
	$(call NAMED,names) $(NAMED_LIBRARY) -Wl,--version-script=$(BUILD)/obj/names.map
$(BUILD)/obj/names/libssl.so: presence/presence_names.c $(BUILD)/obj/names.inc
	@mkdir -p $(@D)
	$(call NAMED,names) $(NAMED_LIBRARY)
$(BUILD)/obj/libfew.so: presence/presence_names.c $(BUILD)/obj/few.inc
	$(call NAMED,few) $(NAMED_LIBRARY)
$(BUILD)/obj/presence_names.versioned.so: presence/presence_names.c $(BUILD)/obj/libnames.so
	$(call NAMED,names) $(NAMED_PLUGIN)
$(BUILD)/obj/presence_names.plain.so: presence/presence_names.c $(BUILD)/obj/names/libssl.so
	$(call NAMED,names) $(NAMED_PLUGIN)
$(BUILD)/obj/presence_names.few.so: presence/presence_names.c $(BUILD)/obj/libfew.so
	$(call NAMED,few) $(NAMED_PLUGIN)

define beside
$(BUILD)/$1/$2.so: $(BUILD)/obj/$2.so | $(BUILD)/$1
	ln -sf ../obj/$2.so $$@
$(BUILD)/$1/$(basename $2): | $(BUILD)/$1/$2.so
endef
$(foreach way,stock shared static,$(foreach name,presence_embedded.inside presence_embedded.beside presence_names.versioned presence_names.plain presence_names.few,\
    $(eval $(call beside,$(way),$(name)))))

# Both are programs without libssl, which in the static way export no name that a library of those names has.
STANDS_IN := presence_embedded presence_names
$(foreach way,stock shared,$(STANDS_IN:%=$(BUILD)/$(way)/%)): override private OPENSSL_LIBS =
$(STANDS_IN:%=$(BUILD)/static/%): override private OPENSSL_LIBS = -Wl,--no-export-dynamic -Wl,--export-dynamic-symbol='sslsweep_*'
$(STANDS_IN:%=$(BUILD)/static/%): private LDFLAGS += -Wl,-u,SSL_CTX_flush_sessions_ex -Wl,-u,sslsweep_version -Wl,-u,sslsweep_get_statistics
$(STANDS_IN:%=$(BUILD)/shared/%): private LDFLAGS += -Wl,--no-as-needed

# Without libssl; from the static library nothing would be linked unless asked for by name.
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_dlopen $(BUILD)/$(way)/presence_memory $(BUILD)/$(way)/presence_none $(BUILD)/$(way)/presence_several: override private OPENSSL_LIBS =))
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_crypto: override private OPENSSL_LIBS := $(filter-out -lssl,$(OPENSSL_LIBS))))
$(BUILD)/static/presence_none $(BUILD)/static/presence_several $(BUILD)/static/presence_crypto: private LDFLAGS += -Wl,-u,SSL_CTX_flush_sessions_ex -Wl,-u,sslsweep_version

# A linker that drops what seems unneeded would leave our library out.
$(BUILD)/shared/presence_none $(BUILD)/shared/presence_several $(BUILD)/shared/presence_crypto: private LDFLAGS += -Wl,--no-as-needed

# regress_loading: a preloaded wrapper, and a program whose OpenSSL is embedded in a shared object that is
# not called libssl. The latter only where there is a static OpenSSL of the version of the headers.
LOADING_SOURCES := regress/regress_loading.c $(SUPPORT)
EMBED = -Wl,-Bstatic $(OPENSSL_LIBS) -Wl,-Bdynamic $(STATIC_NEEDS)
EMBED_PROBE = \#include <openssl/crypto.h>\nint main(void) { return OpenSSL_version_num() >> 20 != OPENSSL_VERSION_NUMBER >> 20; }\n
EMBED_LINK = test ! -s $< || $(COMPILE) -MF $@.d -DEMBEDDED $(LDFLAGS) -o $@ $(LOADING_SOURCES)

# Empty where there is none. (muldefs: some releases have a few objects in both of their archives.)
$(BUILD)/obj/libembedded.so: plugins.mk | $(BUILD)/obj
	@if printf '$(EMBED_PROBE)' | $(CC) $(OPENSSL_CFLAGS) $(CFLAGS) -x c -o $@.probe - -x none $(EMBED) 2>$@.log && $@.probe; \
	then $(CC) $(CFLAGS) $(LDFLAGS) -shared -o $@ -Wl,-soname,libembedded.so -Wl,-z,muldefs -Wl,--whole-archive $(EMBED) -Wl,--no-whole-archive; \
	else : >$@; fi

$(BUILD)/stock/regress_loading.embedded: $(BUILD)/obj/libembedded.so $(LOADING_SOURCES) $(SUPPORT_H) | $(BUILD)/stock
	$(EMBED_LINK) $< -ldl -Wl,-rpath,'$$ORIGIN/../obj'
$(BUILD)/shared/regress_loading.embedded: $(BUILD)/obj/libembedded.so $(LOADING_SOURCES) $(SUPPORT_H) $(LIBDIR)/libsslsweep.so | $(BUILD)/shared
	$(EMBED_LINK) $(LIBDIR)/libsslsweep.so $< -ldl -Wl,-rpath,'$$ORIGIN/../obj'
$(BUILD)/static/regress_loading.embedded: $(BUILD)/obj/libembedded.so $(LOADING_SOURCES) $(SUPPORT_H) $(LIBDIR)/libsslsweep.a | $(BUILD)/static
	$(EMBED_LINK) -rdynamic $(LIBDIR)/libsslsweep.a $< $(STATIC_LIBS) -Wl,-rpath,'$$ORIGIN/../obj'

$(BUILD)/%/regress_loading.wrapper.so: regress/regress_loading.c | $(BUILD)/obj $(BUILD)/stock $(BUILD)/shared $(BUILD)/static
	$(COMPILE) -MF $(BUILD)/obj/$*.wrapper.so.d -DWRAPPER -fPIC -shared $(LDFLAGS) -o $@ $< -ldl

$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/regress_loading: | $(BUILD)/$(way)/regress_loading.embedded $(BUILD)/$(way)/regress_loading.wrapper.so))

# flush_exception: its exceptions are thrown and caught in C++.
CXX ?= c++
$(BUILD)/obj/flush_exception.cc.o: flush/flush_exception.cc | $(BUILD)/obj
	$(CXX) -Wall -Wextra -Werror -pthread $(CFLAGS) -c -o $@ $<
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/flush_exception: $(BUILD)/obj/flush_exception.cc.o))
$(BUILD)/stock/flush_exception $(BUILD)/shared/flush_exception: override private OPENSSL_LIBS += -lstdc++
$(BUILD)/static/flush_exception: override private OPENSSL_LIBS += -lstdc++

# presence_unload: the program has neither libssl nor sslsweep in any way. Of its plug-ins (the same source,
# -DPLUGIN) both have libssl, and one of them sslsweep in the shared and static ways. What they share they must
# not take from one another.
UNLOAD_SOURCES := presence/presence_unload.c $(SUPPORT)
UNLOAD = $(COMPILE) -MF $@.d -DPLUGIN -fPIC -shared -Wl,-Bsymbolic $(LDFLAGS) -o $@ $(UNLOAD_SOURCES)

$(BUILD)/stock/presence_unload.so: $(UNLOAD_SOURCES) $(SUPPORT_H) | $(BUILD)/stock
	$(UNLOAD) $(OPENSSL_LIBS) -ldl
$(BUILD)/shared/presence_unload.so: $(UNLOAD_SOURCES) $(SUPPORT_H) $(LIBDIR)/libsslsweep.so | $(BUILD)/shared
	$(UNLOAD) $(LIBDIR)/libsslsweep.so $(OPENSSL_LIBS) -ldl
$(BUILD)/static/presence_unload.so: $(UNLOAD_SOURCES) $(SUPPORT_H) $(LIBDIR)/libsslsweep.a | $(BUILD)/static
	$(UNLOAD) $(LIBDIR)/libsslsweep.a $(OPENSSL_LIBS) $(STATIC_LIBS)
$(BUILD)/%/presence_unload.plain.so: $(UNLOAD_SOURCES) $(SUPPORT_H) | $(BUILD)/stock $(BUILD)/shared $(BUILD)/static
	$(UNLOAD) $(OPENSSL_LIBS) -ldl
$(BUILD)/stock/presence_unload: override private OPENSSL_LIBS =
$(BUILD)/shared/presence_unload $(BUILD)/static/presence_unload: $(BUILD)/stock/presence_unload | $(BUILD)/shared $(BUILD)/static
	cp $< $@
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_unload: | $(BUILD)/$(way)/presence_unload.so $(BUILD)/$(way)/presence_unload.plain.so))

# presence_setuid: found by a path in the program, since the loader ignores LD_LIBRARY_PATH for it.
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_setuid: private LDFLAGS += $(patsubst -L%,-Wl$(COMMA)-rpath$(COMMA)%,$(filter -L%,$(OPENSSL_LIBS))) -Wl$(COMMA)-rpath$(COMMA)$(abspath $(LIBDIR))))

# presence_static: a program with a static libssl, which the distributions' packages for developers bring along.
STATIC_SOURCES := presence/presence_static.c $(SUPPORT)
STATIC_LINK = $(COMPILE) -MF $@.d -DLINKED $(LDFLAGS) -o $@ $(STATIC_SOURCES)
STATIC_OPENSSL = -Wl,-Bstatic $(OPENSSL_LIBS) -Wl,-Bdynamic $(STATIC_NEEDS)
$(BUILD)/stock/presence_static.linked $(BUILD)/static/presence_static.linked: $(STATIC_SOURCES) $(SUPPORT_H) | $(BUILD)/stock $(BUILD)/static
	$(STATIC_LINK) $(STATIC_OPENSSL)
$(BUILD)/shared/presence_static.linked: $(STATIC_SOURCES) $(SUPPORT_H) $(LIBDIR)/libsslsweep.so | $(BUILD)/shared
	$(STATIC_LINK) -Wl,--no-as-needed $(LIBDIR)/libsslsweep.so $(STATIC_OPENSSL)
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_static: | $(BUILD)/$(way)/presence_static.linked))

# presence_wrapped: a library for each function of its wrapper, which exports that one alone.
$(BUILD)/obj/presence_wrapped.wrapper.o: presence/presence_wrapped.c | $(BUILD)/obj
	$(COMPILE) -MF $@.d -DWRAPPER -fPIC -c -o $@ $<
$(BUILD)/obj/presence_wrapped.wrappers: $(BUILD)/obj/presence_wrapped.wrapper.o plugins.mk | $(BUILD)/stock $(BUILD)/shared $(BUILD)/static
	for name in $$(nm $< | sed -n 's/.* T //p'); do \
	    echo "{ global: $$name; wrapped_calls; local: *; };" >$@.map && \
	    $(LINK) -shared -Wl,--version-script=$@.map -o $(BUILD)/obj/presence_wrapped.$$name.so $< -ldl && \
	    for way in stock shared static; do ln -sf ../obj/presence_wrapped.$$name.so $(BUILD)/$$way/ || exit; done || exit; \
	done; echo >$@
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_wrapped: | $(BUILD)/obj/presence_wrapped.wrappers))

# presence_loader: two plug-ins, of which the second has a libssl of its own, and a program without any.
LOADER = $(COMPILE) -MF $@.d $(LDFLAGS) -o $@ presence/presence_loader.c
$(BUILD)/obj/presence_loader.1.so: presence/presence_loader.c | $(BUILD)/obj
	$(LOADER) -DPLUGIN -fPIC -shared $(OPENSSL_LIBS)
$(BUILD)/obj/presence_loader.2.so: presence/presence_loader.c $(BUILD)/obj/libssl-so
	$(LOADER) -DPLUGIN -fPIC -shared $$(cat $(BUILD)/obj/libssl-so) $(filter-out -lssl,$(OPENSSL_LIBS)) -Wl,-rpath,$(abspath $(BUILD)/obj)
$(BUILD)/stock/presence_loader.host: presence/presence_loader.c | $(BUILD)/stock
	$(LOADER) -DHOST -ldl
$(BUILD)/shared/presence_loader.host: presence/presence_loader.c $(LIBDIR)/libsslsweep.so | $(BUILD)/shared
	$(LOADER) -DHOST -Wl,--no-as-needed $(LIBDIR)/libsslsweep.so -ldl
$(BUILD)/static/presence_loader.host: presence/presence_loader.c $(LIBDIR)/libsslsweep.a | $(BUILD)/static
	$(LOADER) -DHOST -rdynamic -Wl,-u,SSL_CTX_flush_sessions_ex -Wl,-u,sslsweep_version $(LIBDIR)/libsslsweep.a $(STATIC_LIBS)
$(BUILD)/%/presence_loader.paths: $(BUILD)/obj/presence_loader.1.so $(BUILD)/obj/presence_loader.2.so $(BUILD)/%/presence_loader.host
	copy=$$(cat $(BUILD)/obj/libssl-so) && soname=$$(readelf -dW $< | sed -n 's/.*(NEEDED).*\[\(libssl\.so.*\)\]/\1/p') && \
	echo $(abspath $(BUILD)/obj) $$soname $(abspath $(BUILD)/obj)/$$(basename $$copy) >$@
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_loader: | $(BUILD)/$(way)/presence_loader.paths))

# With a hole between a program's segments, as programs have on arm64, the loader tells of one segment alone.
$(foreach way,stock shared static,$(BUILD)/$(way)/presence_private $(BUILD)/$(way)/presence_fork_own): private LDFLAGS += -Wl,-z,max-page-size=0x200000
