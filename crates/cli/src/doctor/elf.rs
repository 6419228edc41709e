//! Reads ELF files. Any file may be damaged or hostile; a part that cannot be read counts as missing.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::Path;

use memchr::memmem;
use object::Endianness;
use object::elf::{self, FileHeader32, FileHeader64};
use object::read::elf::{Dyn, FileHeader, ProgramHeader, Rela, SectionHeader, SectionTable, Sym};
use object::read::{ReadCache, ReadRef};

use crate::text::{plain, shown};

/// Larger files are not read.
const MAX_SIZE: u64 = 1 << 30;

/// The command is known by a section, which holds its own name.
#[used]
#[unsafe(link_section = ".sslsweep.command")]
static MARK: [u8; 17] = *b".sslsweep.command";

/// The facts about a file.
#[derive(Debug, Default, Clone)]
pub struct Elf {
    /// Class and machine, to compare.
    pub kind: (u8, u16),
    /// The dynamic loader.
    pub interpreter: Option<String>,
    /// It is a library, not a program.
    pub is_library: bool,
    /// It is the `sslsweep` command.
    pub is_command: bool,
    /// DT_NEEDED
    pub needed: Vec<String>,
    /// DT_RPATH
    pub rpath: Vec<String>,
    /// DT_RUNPATH
    pub runpath: Vec<String>,
    /// DT_SONAME
    pub soname: Option<String>,
    /// It binds its own calls itself.
    pub symbolic: bool,
    /// It defines functions of libssl.
    pub defines_ssl: bool,
    /// The version node of these functions.
    pub node: Option<String>,
    /// It defines `sslsweep_version`.
    pub defines_ours: bool,
    /// It calls dlopen.
    pub calls_dlopen: bool,
    /// Its calls to functions of its own go through the PLT.
    pub own_plt: bool,
    /// "OpenSSL 3.0.19 27 Jan 2026" and the like.
    pub version: Option<String>,
    /// Another library with the functions of libssl, by the marks that it leaves in a file.
    pub other: Option<&'static str>,
    /// It has parts of libssl inside.
    pub has_libssl: bool,
    /// It is a Go program.
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

/// The part of a file that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// All of it, for marks that no header shows.
    Whole,
    /// Its headers and its dynamic symbols.
    Headers,
}

/// The contents of a file.
pub enum Content {
    /// An ELF file.
    Elf(Box<Elf>),
    /// A script: the rest of its first line, which names the interpreter.
    Script(Vec<u8>),
    /// Something else, or damaged.
    Other,
}

/// Reads a regular file.
pub fn read(path: &Path, depth: Depth) -> Result<Content, String> {
    let why = |error: std::io::Error| format!("{}: {}", shown(path), plain(&error));
    let about = std::fs::metadata(path).map_err(why)?;
    if !about.is_file() || about.len() > MAX_SIZE {
        return Err(format!("{}: is no regular file of a usual size", shown(path)));
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
            file.take(MAX_SIZE).read_to_end(&mut bytes).map_err(why)?;
            whole(&bytes)
        }
    };
    Ok(elf.map_or(Content::Other, |elf| Content::Elf(Box::new(elf))))
}

/// Reads an ELF file; `None` if it is none.
pub fn read_elf(path: &Path, depth: Depth) -> Option<Elf> {
    match read(path, depth) {
        Ok(Content::Elf(elf)) => Some(*elf),
        _ => None,
    }
}

/// Reads the headers of a file; `None` if it is not ELF, or its headers are damaged.
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

/// Reads all of a file.
fn whole(data: &[u8]) -> Option<Elf> {
    let mut found = headers(data, Depth::Whole)?;
    // The command has all these marks inside without what they mean.
    if found.is_command {
        return Some(found);
    }
    found.version = version(data);
    let has = |mark: &str| memmem::find(data, mark.as_bytes()).is_some();
    found.other = [("LibreSSL ", "LibreSSL"), ("AWS-LC", "AWS-LC"), ("BoringSSL", "BoringSSL")]
        .into_iter()
        .find_map(|(mark, name)| has(mark).then_some(name));
    // libssl's error messages have these file names.
    found.has_libssl |= has("ssl/ssl_sess.c") || has("ssl/ssl_lib.c");
    Some(found)
}

/// Finds the version: "OpenSSL ", a number of three parts, and a date. Texts that only mention a version have no date.
fn version(data: &[u8]) -> Option<String> {
    const MONTHS: &str = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec";
    memmem::find_iter(data, "OpenSSL ").find_map(|at| {
        let text = &data[at..data.len().min(at + 60)];
        let end = text.iter().position(|byte| !(b' '..=b'~').contains(byte));
        let text = String::from_utf8_lossy(&text[..end.unwrap_or(text.len())]);
        let words: Vec<&str> = text.split_whitespace().take(5).collect();
        let [name, number, day, month, year] = words[..] else { return None };
        let year = year.get(..4).filter(|year| year.bytes().all(|byte| byte.is_ascii_digit()))?;
        let is_date = day.parse::<u8>().is_ok() && MONTHS.split(' ').any(|it| it == month);
        let is_number = number.starts_with(|first: char| first.is_ascii_digit())
            && number.matches('.').count() == 2;
        (is_number && is_date).then(|| format!("{name} {number} {day} {month} {year}"))
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads a file of this class.
fn of<'data, H, R>(data: R, depth: Depth) -> Option<Elf>
where
    H: FileHeader<Endian = Endianness>,
    R: ReadRef<'data>,
{
    let header = H::parse(data).ok()?;
    let endian = header.endian().ok()?;
    let mut found = Elf { kind: (0, header.e_machine(endian)), ..Elf::default() };
    for segment in header.program_headers(endian, data).ok()? {
        if let Ok(Some(interpreter)) = segment.interpreter(endian, data) {
            found.interpreter = Some(text(interpreter));
        }
    }
    let Ok(table) = header.sections(endian, data) else { return Some(found) };
    let sections = Sections { table, endian, data };
    let has = |name: &[u8]| sections.table.section_by_name(endian, name).is_some();
    found.go = has(b".go.buildinfo");
    // Read from memory, or the linker would leave the section out.
    found.is_command = has(std::hint::black_box(&MARK));
    let is_pie = sections.dynamic(&mut found);
    // A position-independent program has the same type, and libc can be run.
    found.is_library = header.e_type(endian) == elf::ET_DYN
        && !is_pie
        && (found.interpreter.is_none() || found.soname.is_some());
    sections.symbols(elf::SHT_DYNSYM, &mut found);
    if depth == Depth::Whole {
        sections.symbols(elf::SHT_SYMTAB, &mut found);
        found.own_plt = sections.calls_itself().unwrap_or(false);
    }
    Some(found)
}

/// The sections of a file.
struct Sections<'data, H: FileHeader, R: ReadRef<'data>> {
    table: SectionTable<'data, H, R>,
    endian: Endianness,
    data: R,
}

impl<'data, H: FileHeader<Endian = Endianness>, R: ReadRef<'data>> Sections<'data, H, R> {
    /// Reads the dynamic section; returns whether it is that of a position-independent program.
    fn dynamic(&self, found: &mut Elf) -> bool {
        let (sections, endian, data) = (&self.table, self.endian, self.data);
        let mut is_pie = false;
        let Ok(Some((entries, strings))) = sections.dynamic(endian, data) else { return false };
        let strings = sections.strings(endian, data, strings).unwrap_or_default();
        for entry in entries {
            let value: u64 = entry.d_val(endian).into();
            let string = || strings.get(u32::try_from(value).ok()?).ok().map(text);
            let paths = || string().iter().flat_map(|it| it.split(':')).map(String::from).collect();
            match entry.tag32(endian).unwrap_or(0) {
                elf::DT_NEEDED => found.needed.extend(string()),
                elf::DT_SONAME => found.soname = string(),
                elf::DT_RPATH => found.rpath = paths(),
                elf::DT_RUNPATH => found.runpath = paths(),
                elf::DT_FLAGS_1 => is_pie = value & u64::from(elf::DF_1_PIE) != 0,
                elf::DT_SYMBOLIC => found.symbolic = true,
                elf::DT_FLAGS => found.symbolic |= value & u64::from(elf::DF_SYMBOLIC) != 0,
                _ => {}
            }
        }
        is_pie
    }

    /// Reads a table of symbols.
    fn symbols(&self, kind: u32, found: &mut Elf) {
        let (sections, endian, data) = (&self.table, self.endian, self.data);
        let Ok(symbols) = sections.symbols(endian, data, kind) else { return };
        let versions = sections.versions(endian, data).ok().flatten();
        let versions = versions.filter(|_| kind == elf::SHT_DYNSYM);
        for (index, symbol) in symbols.enumerate() {
            let Ok(name) = symbols.symbol_name(endian, symbol) else { continue };
            match (name, symbol.is_undefined(endian)) {
                (b"SSL_CTX_new" | b"SSL_CTX_new_ex", false) => {
                    found.defines_ssl = true;
                    let version = versions.as_ref().and_then(|versions| {
                        versions.version(versions.version_index(endian, index)).ok().flatten()
                    });
                    found.node = found.node.take().or(version.map(|version| text(version.name())));
                }
                (b"sslsweep_version", false) => found.defines_ours = true,
                (b"dlopen", true) => found.calls_dlopen = true,
                _ => {}
            }
        }
    }

    /// Returns whether calls to functions of its own go through the PLT.
    fn calls_itself(&self) -> Option<bool> {
        let (sections, endian, data) = (&self.table, self.endian, self.data);
        let symbols = sections.symbols(endian, data, elf::SHT_DYNSYM).ok()?;
        let (_, section) = sections.section_by_name(endian, b".rela.plt")?;
        let (relocations, _) = section.rela(endian, data).ok()??;
        Some(relocations.iter().any(|relocation| {
            let index = relocation.symbol(endian, false);
            let symbol = index.and_then(|index| symbols.symbol(index).ok());
            symbol.is_some_and(|symbol| {
                let name = symbols.symbol_name(endian, symbol);
                !symbol.is_undefined(endian) && name.is_ok_and(|name| name.starts_with(b"SSL_"))
            })
        }))
    }
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
            assert!(own.interpreter.is_some() && !own.is_library, "{depth:?}");
            assert!(own.needed.iter().any(|name| name.starts_with("libc.so")));
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
