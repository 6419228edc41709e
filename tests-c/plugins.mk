# Programs that are not linked as all the others are. Included by the Makefile.

# presence_dlopen: the program has no libssl, its plug-in (the same source, -DPLUGIN) brings it along. In
# the shared and static ways it is the plug-in that is linked with our library, before -lssl.
PLUGIN_SOURCES := presence_dlopen.c support.c handshake.c
PLUGIN = $(COMPILE) -MF $(BUILD)/obj/presence_dlopen.so.d -DPLUGIN -fPIC -shared $(LDFLAGS) -o $@ $(PLUGIN_SOURCES)

$(BUILD)/stock/presence_dlopen.so: $(PLUGIN_SOURCES) support.h handshake.h | $(BUILD)/stock $(BUILD)/obj
	$(PLUGIN) $(OPENSSL_LIBS) -ldl
$(BUILD)/shared/presence_dlopen.so: $(PLUGIN_SOURCES) support.h handshake.h $(LIBDIR)/libsslsweep.so | $(BUILD)/shared $(BUILD)/obj
	$(PLUGIN) $(LIBDIR)/libsslsweep.so $(OPENSSL_LIBS) -ldl
$(BUILD)/static/presence_dlopen.so: $(PLUGIN_SOURCES) support.h handshake.h $(LIBDIR)/libsslsweep.a | $(BUILD)/static $(BUILD)/obj
	$(PLUGIN) $(LIBDIR)/libsslsweep.a $(OPENSSL_LIBS) $(STATIC_LIBS)

$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_dlopen: | $(BUILD)/$(way)/presence_dlopen.so))

# Without libssl; from the static library nothing would be linked unless asked for by name.
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_dlopen $(BUILD)/$(way)/presence_none: override private OPENSSL_LIBS =))
$(foreach way,stock shared static,$(eval $(BUILD)/$(way)/presence_crypto: override private OPENSSL_LIBS := $(filter-out -lssl,$(OPENSSL_LIBS))))
$(BUILD)/static/presence_none $(BUILD)/static/presence_crypto: private LDFLAGS += -Wl,-u,SSL_CTX_flush_sessions_ex -Wl,-u,sslsweep_version

# A linker that drops what seems unneeded would leave our library out.
$(BUILD)/shared/presence_none $(BUILD)/shared/presence_crypto: private LDFLAGS += -Wl,--no-as-needed
