LIB := build/lib
.PHONY: lib
lib:
	cargo build --release
	mkdir -p $(LIB)
	cp target/release/libsslsweep.so $(LIB)/libsslsweep.so.0.1.0
	ln -sf libsslsweep.so.0.1.0 $(LIB)/libsslsweep.so.0.1
	ln -sf libsslsweep.so.0.1 $(LIB)/libsslsweep.so
	cp target/release/libsslsweep.a $(LIB)/
