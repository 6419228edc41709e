//! The lines of a key file, and what each step makes of them. Lines that are no keys stay where they are.
//!
//! A staged key has the comment `# staged` behind it. Its place alone does not tell it from an old key, which `retire`
//! removes, and the file must say it on every machine to which it is copied.

use zeroize::Zeroizing;

use sslsweep_seal::MOST_KEYS;

const STAGED: &[u8] = b" # staged";

/// A new text, and what to tell the operator.
#[derive(Debug)]
pub struct Edited {
    pub text: Zeroizing<Vec<u8>>,
    pub said: String,
}

/// The id in the line of a key, for messages.
pub fn id(line: &[u8]) -> String {
    String::from_utf8_lossy(key(line).get(..8).unwrap_or_default()).to_lowercase()
}

/// A line without its comment and the space around it: empty, or a key.
fn key(line: &[u8]) -> &[u8] {
    line.split(|&byte| byte == b'#').next().unwrap_or_default().trim_ascii()
}

fn is_staged(line: &[u8]) -> bool {
    let comment = line.splitn(2, |&byte| byte == b'#').nth(1);
    !key(line).is_empty() && comment.is_some_and(|comment| comment.trim_ascii() == b"staged")
}

/// The lines of a text, and which of them are keys: the first, the staged and the old ones.
struct Lines<'text> {
    all: Vec<&'text [u8]>,
    first: usize,
    staged: Vec<usize>,
    old: Vec<usize>,
}

impl<'text> Lines<'text> {
    fn of(text: &'text [u8]) -> Self {
        let all: Vec<&[u8]> =
            text.strip_suffix(b"\n").unwrap_or(text).split(|&byte| byte == b'\n').collect();
        let keys = |&line: &usize| !key(all[line]).is_empty();
        let mut keys = (0..all.len()).filter(keys).collect::<Vec<_>>().into_iter();
        let first = keys.next().unwrap_or_default();
        let (staged, old) = keys.partition(|&line| is_staged(all[line]));
        Self { all, first, staged, old }
    }

    fn named(&self, lines: &[usize]) -> String {
        let ids: Vec<String> = lines.iter().map(|&line| id(self.all[line])).collect();
        format!("{} {}", if ids.len() == 1 { "key" } else { "keys" }, ids.join(" and "))
    }
}

/// The lines as a text, which is made in one piece, so that no copy is left behind.
pub fn joined(lines: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut text =
        Zeroizing::new(Vec::with_capacity(lines.iter().map(|line| line.len() + 1).sum()));
    for line in lines {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text
}

/// Adds a key at the end.
pub fn stage(text: &[u8], line: &str) -> Result<Edited, String> {
    let lines = Lines::of(text);
    if !lines.staged.is_empty() {
        return Err(format!("{} waits already; promote it first", lines.named(&lines.staged)));
    }
    if lines.old.len() + 1 >= MOST_KEYS {
        return Err(format!(
            "the file has {MOST_KEYS} keys, which is the limit; retire the old ones first"
        ));
    }
    let mut staged = Zeroizing::new(Vec::with_capacity(line.len() + STAGED.len()));
    staged.extend_from_slice(line.as_bytes());
    staged.extend_from_slice(STAGED);
    let text = joined(&[&lines.all[..], &[&staged]].concat());
    let said = format!(
        "key {} is staged; promote it when every server has this file and was reloaded\n",
        id(&staged)
    );
    Ok(Edited { text, said })
}

/// Moves the newest staged key to the front.
pub fn promote(text: &[u8]) -> Result<Edited, String> {
    let lines = Lines::of(text);
    let &from = lines.staged.last().ok_or("no key is staged; stage one first")?;
    let mut all = lines.all.clone();
    let moved = all.remove(from);
    all.insert(lines.first, key(moved));
    let said = format!(
        "key {} seals once a server is reloaded; retire {} when the sessions from before have expired\n",
        id(moved),
        lines.named(&[&[lines.first], &lines.old[..]].concat()),
    );
    Ok(Edited { text: joined(&all), said })
}

/// Removes the keys that neither seal nor are staged.
pub fn retire(text: &[u8]) -> Result<Edited, String> {
    let lines = Lines::of(text);
    if lines.old.is_empty() {
        return Err("no key is old; stage a key and promote it first".to_string());
    }
    let kept = (0..lines.all.len()).filter(|line| !lines.old.contains(line));
    let kept: Vec<&[u8]> = kept.map(|line| lines.all[line]).collect();
    let said = format!("{} removed\n", lines.named(&lines.old));
    Ok(Edited { text: joined(&kept), said })
}

#[cfg(test)]
mod tests {
    use super::*;
    use sslsweep_seal::Keys;

    /// Lines of keys whose digits do not matter: `1`, or `1*` for a staged one.
    fn text(words: &str) -> String {
        let line = |word: &str| match word.strip_suffix('*') {
            Some(id) => format!("{id:0>8} {id:0>64} # staged\n"),
            None if word.starts_with('#') => format!("{word}\n"),
            None => format!("{word:0>8} {word:0>64}\n"),
        };
        words.split(' ').map(line).collect()
    }

    fn new(number: u32) -> String {
        format!("{number:08} {number:064}")
    }

    fn made(edited: Result<Edited, String>) -> String {
        String::from_utf8(edited.unwrap().text.to_vec()).unwrap()
    }

    #[test]
    fn the_steps() {
        for (before, after) in [("1", "1 2*"), ("#a 1 #b", "#a 1 #b 2*"), ("1 3", "1 3 2*")] {
            assert_eq!(made(stage(text(before).as_bytes(), &new(2))), text(after), "{before}");
        }
        for (before, after) in [
            ("1 2*", "2 1"),
            ("#a 1 3 #b 2* #c", "#a 2 1 3 #b #c"),
            ("1 2* 3*", "3 1 2*"),
            ("1* 2*", "2 1*"),
        ] {
            assert_eq!(made(promote(text(before).as_bytes())), text(after), "{before}");
        }
        for (before, after) in
            [("2 1", "2"), ("#a 2 1 #b 3* 4", "#a 2 #b 3*"), ("2* 1", "2*"), ("2 1*x", "2")]
        {
            let before = text(before).replace("# staged\nx", "# staged once");
            assert_eq!(made(retire(before.as_bytes())), text(after), "{before}");
        }
    }

    #[test]
    fn steps_out_of_turn() {
        assert!(
            stage(text("1 2*").as_bytes(), &new(3)).unwrap_err().contains("key 00000002 waits")
        );
        assert!(promote(text("1").as_bytes()).is_err() && promote(text("2 1").as_bytes()).is_err());
        assert!(retire(text("1").as_bytes()).is_err() && retire(text("1 2*").as_bytes()).is_err());
        let full = (10..26).map(|it| it.to_string()).collect::<Vec<_>>().join(" ");
        assert!(stage(text(&full).as_bytes(), &new(3)).unwrap_err().contains("16 keys"));
        let nearly = made(stage(text(&full[..full.len() - 3]).as_bytes(), &new(3)));
        assert_eq!(Keys::parse(nearly.as_bytes()).unwrap().ids().count(), 16);
    }

    #[test]
    fn texts_that_an_editor_has_left() {
        let odd = format!("\r\n\t{}\r\n# {}", new(1), new(3));
        let staged = made(stage(odd.as_bytes(), &new(2)));
        assert_eq!(staged, format!("{odd}\n{} # staged\n", new(2)));
        let promoted = made(promote(staged.replace('\n', "\r\n").as_bytes()));
        let ids = |text: &str| {
            Keys::parse(text.as_bytes()).unwrap().ids().map(|it| it.to_string()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&promoted), ["00000002", "00000001"]);
        assert_eq!(ids(&made(retire(promoted.as_bytes()))), ["00000002"]);
    }
}
