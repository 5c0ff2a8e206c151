//! A pattern that is held against many texts, most of which it does not find anything in.

use std::borrow::Cow;

use regex::Regex;
use regex_syntax::hir::Look;
use regex_syntax::hir::literal::Extractor;

/// A regular expression, and what it tells of a text's start.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
    /// A text in which something is found starts with one of these; with anything, when there are none.
    starts: Vec<Vec<u8>>,
}

impl Pattern {
    /// Read a pattern.
    ///
    /// # Errors
    /// The pattern is none.
    pub fn new(pattern: &str) -> Result<Self, regex::Error> {
        Ok(Self { regex: Regex::new(pattern)?, starts: starts(pattern) })
    }

    /// Whether something is found in a text. Most texts are told by their first bytes, before they are read.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let may_match = self.starts.is_empty() || self.starts.iter().any(|start| text.starts_with(start));
        may_match && self.regex.is_match(&read(text))
    }

    /// The text with everything that is found replaced.
    pub fn replace_all(&self, text: &[u8], replacement: &str) -> String {
        self.regex.replace_all(&read(text), replacement).into_owned()
    }
}

/// A text as patterns see it: what is not UTF-8 is replaced.
fn read(text: &[u8]) -> Cow<'_, str> {
    // Nearly everything is UTF-8, and to check it is much faster than to convert it.
    std::str::from_utf8(text).map_or_else(|_| String::from_utf8_lossy(text), Cow::from)
}

/// The literals one of which everything starts with that an anchored pattern finds. Only ASCII: it reads the same in
/// a text that is not UTF-8.
fn starts(pattern: &str) -> Vec<Vec<u8>> {
    let Ok(hir) = regex_syntax::parse(pattern) else { return vec![] };
    let found = Extractor::new().extract(&hir);
    let literals = found.literals().unwrap_or_default();
    let is_known = hir.properties().look_set_prefix().contains(Look::Start)
        && literals.iter().all(|literal| !literal.is_empty() && literal.as_bytes().is_ascii());
    let known = if is_known { literals } else { &[] };
    known.iter().map(|literal| literal.as_bytes().to_vec()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_anchored_literal_is_known_and_what_may_start_otherwise_is_not() {
        for (pattern, expected) in [
            ("^/home/[^/]+", &["/home/"][..]),
            ("^(/home/|/Users/)[^/]+", &["/home/", "/Users/"]),
            ("/home/", &[]),
            ("(?m)^/home/", &[]),
            ("^/home/|x", &[]),
            ("^a?b*", &[]),
            ("^\u{fffd}", &[]),
            ("^", &[]),
        ] {
            let starts = Pattern::new(pattern).unwrap().starts;
            assert_eq!(expected, starts.iter().map(|s| std::str::from_utf8(s).unwrap()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_a_pattern_finds_does_not_depend_on_what_is_known_of_its_start() {
        let texts: [&[u8]; 8] = [b"", b"/home/me", b"/home/", b"x/home/me", b"b", b"/Users/me", b"\xff", b"/home/\xff"];
        for pattern in ["^/home/[^/]+", "^(/home/|/Users/)[^/]+", "(?m)^/home/", "^/home/|x", "^a?b*", "^\u{fffd}", "^"]
        {
            let (known, regex) = (Pattern::new(pattern).unwrap(), Regex::new(pattern).unwrap());
            for text in texts {
                assert_eq!(regex.is_match(&String::from_utf8_lossy(text)), known.is_match(text), "{pattern} {text:?}");
            }
        }
    }
}
