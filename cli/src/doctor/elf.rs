//! What an ELF file says of itself. Any file may be damaged or hostile; what can't be read is not there.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela, SectionHeader, Sym};

/// More than this is not read.
const MOST: u64 = 1 << 30;

/// What is asked of a file.
#[derive(Debug, Default, Clone)]
pub struct Elf {
    /// Class and machine, to compare.
    pub kind: (u8, u16),
    pub interpreter: Option<String>,
    pub dynamic: bool,
    pub needed: Vec<String>,
    /// DT_RPATH and DT_RUNPATH.
    pub rpath: Vec<String>,
    pub runpath: Vec<String>,
    pub soname: Option<String>,
    /// It binds its own calls itself.
    pub symbolic: bool,
    /// It defines functions of libssl.
    pub defines_ssl: bool,
    /// The version node that those have.
    pub node: Option<String>,
    /// It defines the library's own function.
    pub defines_ours: bool,
    /// It calls libssl, dlopen.
    pub calls_ssl: bool,
    pub calls_dlopen: bool,
    /// Calls to functions that it defines itself go through the PLT.
    pub own_plt: bool,
    /// "OpenSSL 3.0.19 27 Jan 2026" and the like.
    pub version: Option<String>,
    /// Names of others of its kind, by what they leave in a file.
    pub other: Option<&'static str>,
    /// It has parts of libssl inside.
    pub has_libssl: bool,
    pub go: bool,
}

/// Class and machine, in words.
pub fn kind_name((class, machine): (u8, u16)) -> String {
    let machine = match machine {
        elf::EM_X86_64 => "x86-64".to_string(),
        elf::EM_386 => "x86".to_string(),
        elf::EM_AARCH64 => "ARM 64".to_string(),
        elf::EM_ARM => "ARM".to_string(),
        elf::EM_RISCV => "RISC-V".to_string(),
        elf::EM_PPC64 => "POWER".to_string(),
        elf::EM_S390 => "s390".to_string(),
        other => format!("machine {other}"),
    };
    format!("{machine}, {} bit", if class == elf::ELFCLASS64 { 64 } else { 32 })
}

/// The bytes of a regular file.
pub fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let why = |error: std::io::Error| {
        format!("{}: {}", crate::text::shown(path), crate::run::plain(&error))
    };
    let about = std::fs::metadata(path).map_err(why)?;
    if !about.is_file() || about.len() > MOST {
        return Err(format!("{}: is no regular file of a usual size", crate::text::shown(path)));
    }
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(MOST).read_to_end(&mut bytes)).map_err(why)?;
    Ok(bytes)
}

/// Reads a file's bytes; `None` if they are not ELF, or its headers are damaged.
pub fn parse(data: &[u8]) -> Option<Elf> {
    if data.get(..4)? != elf::ELFMAG {
        return None;
    }
    let mut found = match data.get(4)? {
        &elf::ELFCLASS64 => of::<FileHeader64<Endianness>>(data)?,
        _ => of::<FileHeader32<Endianness>>(data)?,
    };
    found.kind.0 = data[4];
    found.version = version(data);
    let has = |mark: &[u8]| find(data, mark).is_some();
    found.other = [("LibreSSL ", "LibreSSL"), ("AWS-LC", "AWS-LC"), ("BoringSSL", "BoringSSL")]
        .into_iter()
        .find_map(|(mark, name)| has(mark.as_bytes()).then_some(name));
    // File names that libssl's error messages have.
    found.has_libssl = found.defines_ssl || has(b"ssl/ssl_sess.c") || has(b"ssl/ssl_lib.c");
    Some(found)
}

fn find(data: &[u8], mark: &[u8]) -> Option<usize> {
    let mut from = 0;
    while let Some(at) = data[from..].iter().position(|&byte| byte == mark[0]) {
        if data[from + at..].starts_with(mark) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// "OpenSSL " with a number behind it.
fn version(data: &[u8]) -> Option<String> {
    let mut from = 0;
    while let Some(at) = find(&data[from..], b"OpenSSL ") {
        let text = &data[from + at..];
        if text.get(8).is_some_and(u8::is_ascii_digit) && text.get(9) == Some(&b'.') {
            let end = text
                .iter()
                .take(60)
                .position(|byte| !(b' '..=b'~').contains(byte))
                .unwrap_or(60.min(text.len()));
            return Some(
                String::from_utf8_lossy(&text[..end])
                    .split_whitespace()
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        from += at + 8;
    }
    None
}

fn of<H: FileHeader<Endian = Endianness>>(data: &[u8]) -> Option<Elf> {
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut found = Elf { kind: (0, header.e_machine(endian)), ..Elf::default() };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for segment in header.program_headers(endian, data).ok()? {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, data) {
            found.interpreter = Some(text(interpreter));
        }
        found.dynamic |= segment.p_type(endian) == elf::PT_DYNAMIC;
    }
    let Ok(sections) = header.sections(endian, data) else { return Some(found) };
    found.go = sections.section_by_name(endian, b".go.buildinfo").is_some();
    if let Ok(Some((entries, strings))) = sections.dynamic(endian, data) {
        let strings = sections.strings(endian, data, strings).unwrap_or_default();
        for entry in entries {
            let tag = entry.tag32(endian).unwrap_or(0);
            let value: u64 = entry.d_val(endian).into();
            let string = || entry.string(endian, strings).ok().map(text);
            match tag {
                elf::DT_NEEDED => found.needed.extend(string()),
                elf::DT_SONAME => found.soname = string(),
                elf::DT_RPATH => {
                    found.rpath =
                        string().iter().flat_map(|it| it.split(':')).map(String::from).collect()
                }
                elf::DT_RUNPATH => {
                    found.runpath =
                        string().iter().flat_map(|it| it.split(':')).map(String::from).collect()
                }
                elf::DT_SYMBOLIC => found.symbolic = true,
                elf::DT_FLAGS => found.symbolic |= value & u64::from(elf::DF_SYMBOLIC) != 0,
                _ => {}
            }
        }
    }
    let versions = sections.versions(endian, data).ok().flatten();
    for kind in [elf::SHT_DYNSYM, elf::SHT_SYMTAB] {
        let Ok(symbols) = sections.symbols(endian, data, kind) else { continue };
        for (index, symbol) in symbols.enumerate() {
            let Ok(name) = symbols.symbol_name(endian, symbol) else { continue };
            let defined = !symbol.is_undefined(endian);
            match name {
                b"SSL_CTX_new" | b"SSL_CTX_new_ex" if defined => {
                    found.defines_ssl = true;
                    if let (elf::SHT_DYNSYM, Some(versions)) = (kind, &versions) {
                        let version = versions.version(versions.version_index(endian, index));
                        let version = version.ok().flatten().map(|version| text(version.name()));
                        found.node = found.node.or(version);
                    }
                }
                b"sslsweep_version" if defined => found.defines_ours = true,
                b"dlopen" if !defined => found.calls_dlopen = true,
                _ if !defined && name.starts_with(b"SSL_") => found.calls_ssl = true,
                _ => {}
            }
        }
        if kind == elf::SHT_DYNSYM {
            for section in sections.iter() {
                let Ok(Some((relocations, _))) = section.rela(endian, data) else { continue };
                if sections.section_name(endian, section) != Ok(b".rela.plt") {
                    continue;
                }
                found.own_plt |= relocations.iter().any(|relocation| {
                    let index = relocation.symbol(endian, false);
                    index.and_then(|index| symbols.symbol(index).ok()).is_some_and(|symbol| {
                        !symbol.is_undefined(endian)
                            && symbols
                                .symbol_name(endian, symbol)
                                .is_ok_and(|name| name.starts_with(b"SSL_"))
                    })
                });
            }
        }
    }
    Some(found)
}
