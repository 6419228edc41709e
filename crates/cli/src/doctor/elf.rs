//! Reading ELF files. Any file may be damaged or hostile; what can't be read is not there.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela, SectionHeader, Sym};
use object::read::{ReadCache, ReadRef};

/// More than this is not read.
const MOST: u64 = 1 << 30;

/// The command is known by a section, which holds its own name.
#[used]
#[unsafe(link_section = ".sslsweep.command")]
static MARK: [u8; 17] = *b".sslsweep.command";

/// The facts that are asked of a file.
#[derive(Debug, Default, Clone)]
pub struct Elf {
    /// Class and machine, to compare.
    pub kind: (u8, u16),
    pub interpreter: Option<String>,
    /// It is loaded into programs, and is none.
    pub is_library: bool,
    /// It is the `sslsweep` command.
    pub is_command: bool,
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

/// How much of a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it: also what is inside that no header tells.
    Whole,
    /// No more than its headers and its dynamic symbols.
    Headers,
}

/// The kinds of files.
pub enum Content {
    /// An ELF file.
    Elf(Box<Elf>),
    /// A script, and the rest of its first line, which names the interpreter.
    Script(Vec<u8>),
    /// Something else, or damaged.
    Other,
}

/// Reads a regular file.
pub fn read(path: &Path, depth: Depth) -> Result<Content, String> {
    let why = |error: std::io::Error| {
        format!("{}: {}", crate::text::shown(path), crate::run::plain(&error))
    };
    let about = std::fs::metadata(path).map_err(why)?;
    if !about.is_file() || about.len() > MOST {
        return Err(format!("{}: is no regular file of a usual size", crate::text::shown(path)));
    }
    let file = File::open(path).map_err(why)?;
    let mut start = [0; 256];
    let length = file.read_at(&mut start, 0).map_err(why)?;
    if let Some(line) = start[..length].strip_prefix(b"#!") {
        let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default();
        return Ok(Content::Script(line.to_vec()));
    }
    let elf = match depth {
        Depth::Headers => headers(&ReadCache::new(file), depth),
        Depth::Whole => {
            let mut bytes = Vec::new();
            file.take(MOST).read_to_end(&mut bytes).map_err(why)?;
            whole(&bytes)
        }
    };
    Ok(elf.map_or(Content::Other, |elf| Content::Elf(Box::new(elf))))
}

/// The same of what must be an ELF file.
pub fn read_elf(path: &Path, depth: Depth) -> Option<Elf> {
    match read(path, depth) {
        Ok(Content::Elf(elf)) => Some(*elf),
        _ => None,
    }
}

/// The headers of a file; `None` if it is not ELF, or its headers are damaged.
fn headers<'data, R: ReadRef<'data>>(data: R, depth: Depth) -> Option<Elf> {
    let start = data.read_bytes_at(0, 5).ok()?;
    if start[..4] != elf::ELFMAG {
        return None;
    }
    let mut found = match start[4] {
        elf::ELFCLASS64 => of::<FileHeader64<Endianness>, R>(data, depth)?,
        _ => of::<FileHeader32<Endianness>, R>(data, depth)?,
    };
    found.kind.0 = start[4];
    found.has_libssl = found.defines_ssl;
    Some(found)
}

/// All of a file.
fn whole(data: &[u8]) -> Option<Elf> {
    let mut found = headers(data, Depth::Whole)?;
    // The command has all these names inside, and nothing that they mean.
    if found.is_command {
        return Some(found);
    }
    found.version = version(data);
    let has = |mark: &[u8]| find(data, mark).is_some();
    found.other = [("LibreSSL ", "LibreSSL"), ("AWS-LC", "AWS-LC"), ("BoringSSL", "BoringSSL")]
        .into_iter()
        .find_map(|(mark, name)| has(mark.as_bytes()).then_some(name));
    // File names that libssl's error messages have.
    found.has_libssl |= has(b"ssl/ssl_sess.c") || has(b"ssl/ssl_lib.c");
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

/// The version: "OpenSSL ", a number of three parts, and a date. Texts that only speak of some version have no date.
fn version(data: &[u8]) -> Option<String> {
    const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    let mut from = 0;
    while let Some(at) = find(&data[from..], b"OpenSSL ") {
        let text = &data[from + at..];
        let text = &text[..text.len().min(60)];
        let end = text.iter().position(|byte| !(b' '..=b'~').contains(byte));
        let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
        let words: Vec<&str> = text.split_whitespace().take(5).collect();
        if let [name, number, day, month, year] = words[..] {
            let year = year.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()));
            let is_date = day.parse::<u8>().is_ok() && MONTHS.split(' ').any(|it| it == month);
            let is_number = number.starts_with(|first: char| first.is_ascii_digit())
                && number.matches('.').count() == 2;
            if let (true, true, Some(year)) = (is_number, is_date, year) {
                return Some(format!("{name} {number} {day} {month} {year}"));
            }
        }
        from += at + 8;
    }
    None
}

fn of<'data, H, R>(data: R, depth: Depth) -> Option<Elf>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut found = Elf { kind: (0, header.e_machine(endian)), ..Elf::default() };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    for segment in header.program_headers(endian, data).ok()? {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, data) {
            found.interpreter = Some(text(interpreter));
        }
    }
    let mut is_pie = false;
    let Ok(sections) = header.sections(endian, data) else { return Some(found) };
    let has = |name: &[u8]| sections.section_by_name(endian, name).is_some();
    found.go = has(b".go.buildinfo");
    // Read from memory, or the linker would leave the section out.
    found.is_command = has(std::hint::black_box(&MARK));
    if let Ok(Some((entries, strings))) = sections.dynamic(endian, data) {
        let strings = sections.strings(endian, data, strings).unwrap_or_default();
        for entry in entries {
            let tag = entry.tag32(endian).unwrap_or(0);
            let value: u64 = entry.d_val(endian).into();
            let string = || strings.get(u32::try_from(value).ok()?).ok().map(text);
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
                elf::DT_FLAGS_1 => is_pie = value & u64::from(elf::DF_1_PIE) != 0,
                elf::DT_SYMBOLIC => found.symbolic = true,
                elf::DT_FLAGS => found.symbolic |= value & u64::from(elf::DF_SYMBOLIC) != 0,
                _ => {}
            }
        }
    }
    // A position-independent program is of the same type, and libc can be run.
    found.is_library = header.e_type(endian) == elf::ET_DYN
        && !is_pie
        && (found.interpreter.is_none() || found.soname.is_some());
    let versions = sections.versions(endian, data).ok().flatten();
    for kind in [elf::SHT_DYNSYM, elf::SHT_SYMTAB] {
        if depth == Depth::Headers && kind == elf::SHT_SYMTAB {
            continue;
        }
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
        if kind == elf::SHT_DYNSYM && depth == Depth::Whole {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_a_date() {
        for (data, wanted) in [
            (
                &b"OpenSSL 3.0 legacy provider\0OpenSSL 3.0.19 27 Jan 2026\0"[..],
                Some("OpenSSL 3.0.19 27 Jan 2026"),
            ),
            (b"OpenSSL 1.1.1 or later of unknown version", None),
            (b"OpenSSL 1.1.1w  11 Sep 2023", Some("OpenSSL 1.1.1w 11 Sep 2023")),
            (b"OpenSSL 3.0.19 27 Jan 2026CPUINFO", Some("OpenSSL 3.0.19 27 Jan 2026")),
            (b"OpenSSL 3.0.19 27 J", None),
            (b"OpenSSL \xff", None),
            (b"OpenSSL ", None),
        ] {
            assert_eq!(version(data).as_deref(), wanted, "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn this_very_program_is_no_library_whatever_is_read_of_it() {
        let path = Path::new("/proc/self/exe");
        for depth in [Depth::Whole, Depth::Headers] {
            let own = read_elf(path, depth).expect("an ELF file");
            assert!(own.interpreter.is_some() && !own.is_library && !own.calls_ssl, "{depth:?}");
            assert!(own.is_command && own.needed.iter().any(|name| name.starts_with("libc.so")));
        }
        assert!(read_elf(Path::new("/proc/self/status"), Depth::Whole).is_none());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(mut bytes: Vec<u8>) {
            version(&bytes);
            whole(&bytes);
            bytes.splice(0..0, [0x7f, b'E', b'L', b'F', 2, 1, 1]);
            whole(&bytes);
        }
    }
}
