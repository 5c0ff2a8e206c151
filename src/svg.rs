//! Flame graphs as SVG, drawn by the crate `inferno`. Names are hostile text: what reaches it can be neither markup
//! nor a number that it would take for a count, and is legal in XML 1.0.

use std::collections::BTreeMap;
use std::str::FromStr;

use inferno::flamegraph::{self, Direction, Options, TextTruncateDirection, color::Palette};
use thiserror::Error;

/// A name longer than this shows its two ends.
const MAX_NAME_CHARS: usize = 1000;
/// More Samples than a double can count are drawn at a scale: the script of the picture counts in doubles.
const MAX_TOTAL_BITS: u32 = 53;
/// What stands for a name of which nothing is left.
const NO_NAME: &str = "(no name)";
/// A space that `inferno` does not take for the one before a count.
const NO_BREAK_SPACE: char = '\u{a0}';
/// Pixels; what is narrower has no room for its buttons, what is wider than this is no picture.
const WIDTHS: std::ops::RangeInclusive<usize> = 200..=100_000;

/// Why there is no picture.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SvgError {
    /// No stack has a value above zero.
    #[error("there is nothing to draw: no stack has a value above zero")]
    Empty,
    /// Not a palette of `inferno`.
    #[error(
        "colors is {0:?}: hot, mem, io, red, green, blue, aqua, yellow, purple, orange, wakeup, java, js, perl, python and rust are allowed"
    )]
    Colors(String),
    /// Too narrow or too wide.
    #[error("width is {0}: 200 to 100000 pixels are allowed")]
    Width(usize),
    /// `inferno` could not draw.
    #[error("the flame graph cannot be drawn: {0}")]
    Failed(String),
}

/// How a flame graph looks.
#[derive(Debug, Clone, Copy)]
pub struct Look<'a> {
    /// Above the picture.
    pub title: &'a str,
    /// Under the title.
    pub subtitle: Option<&'a str>,
    /// What the values count.
    pub unit: &'a str,
    /// A palette of `inferno`; the same name has the same colour in every picture.
    pub colors: &'a str,
    /// Pixels; as wide as the window when `None`.
    pub width: Option<usize>,
    /// Callers on top.
    pub inverted: bool,
}

impl Look<'_> {
    fn options(&self, shift: u32) -> Result<Options<'static>, SvgError> {
        let mut options = Options::default();
        options.colors = Palette::from_str(self.colors).map_err(|_| SvgError::Colors(self.colors.to_owned()))?;
        options.deterministic = true;
        if let Some(width) = self.width.filter(|width| !WIDTHS.contains(width)) {
            return Err(SvgError::Width(width));
        }
        options.image_width = self.width;
        options.direction = if self.inverted { Direction::Inverted } else { Direction::Straight };
        options.text_truncate_direction = TextTruncateDirection::Right;
        options.title = shown(self.title);
        options.subtitle = self.subtitle.map(shown);
        // Its own factor would leave its 64 bits.
        let scale = if shift == 0 { String::new() } else { format!("× 2^{shift} ") };
        options.count_name = format!("{scale}{}", shown(self.unit));
        // Its own order is that of the lines' bytes, which draws `main` twice when there is a `main.run` as well. As a
        // chart it takes the lines as they are given, from the last one on.
        options.flame_chart = true;
        Ok(options)
    }
}

/// The flame graph of folded stacks, `root;...;leaf` with a value each; what is not above zero is left out.
pub fn flame_graph<'a>(
    stacks: impl IntoIterator<Item = (&'a str, i128)>,
    look: &Look<'_>,
) -> Result<Vec<u8>, SvgError> {
    let mut totals: Totals = BTreeMap::new();
    for (stack, value) in stacks {
        let total = &mut totals.entry(frames(stack)).or_default().1;
        *total = total.saturating_add(positive(value));
    }
    draw(&totals, look, |_, after| after.to_string())
}

/// The differential flame graph of two sets of folded stacks: as wide as `after`, coloured by the change. When
/// `normalize` is set, `before` is scaled to the total of `after`.
pub fn differential<'a>(
    before: impl IntoIterator<Item = (&'a str, i128)>,
    after: impl IntoIterator<Item = (&'a str, i128)>,
    normalize: bool,
    look: &Look<'_>,
) -> Result<Vec<u8>, SvgError> {
    let mut totals: Totals = BTreeMap::new();
    for (stack, value) in before {
        let total = &mut totals.entry(frames(stack)).or_default().0;
        *total = total.saturating_add(positive(value));
    }
    for (stack, value) in after {
        let total = &mut totals.entry(frames(stack)).or_default().1;
        *total = total.saturating_add(positive(value));
    }
    let sum = |which: fn(&(u128, u128)) -> u128| totals.values().map(which).fold(0, u128::saturating_add);
    let (sum_before, sum_after) = (sum(|total| total.0), sum(|total| total.1));
    if normalize && sum_before > 0 {
        for total in totals.values_mut() {
            total.0 = scaled(total.0, sum_after, sum_before);
        }
    }
    draw(&totals, look, |before, after| format!("{before} {after}"))
}

/// What stacks stand for, before and after, in the order of their frames.
type Totals = BTreeMap<Vec<String>, (u128, u128)>;

#[expect(clippy::cast_precision_loss, reason = "a picture has fewer pixels than a double has steps")]
fn scaled(value: u128, to: u128, from: u128) -> u128 {
    (value as f64 * (to as f64 / from as f64)).round() as u128
}

fn positive(value: i128) -> u128 {
    u128::try_from(value).unwrap_or(0)
}

fn draw(totals: &Totals, look: &Look<'_>, counts: impl Fn(u128, u128) -> String) -> Result<Vec<u8>, SvgError> {
    let sum = |which: fn(&(u128, u128)) -> u128| totals.values().map(which).fold(0, u128::saturating_add);
    let largest = sum(|total| total.0).max(sum(|total| total.1));
    if sum(|total| total.1) == 0 {
        return Err(SvgError::Empty);
    }
    let shift = (u128::BITS - largest.leading_zeros()).saturating_sub(MAX_TOTAL_BITS);
    let mut options = look.options(shift)?;
    let lines = totals.iter().rev().filter(|(_, total)| (total.0 >> shift, total.1 >> shift) != (0, 0));
    let lines: Vec<String> = lines
        .map(|(frames, total)| format!("{} {}", frames.join(";"), counts(total.0 >> shift, total.1 >> shift)))
        .collect();
    let mut svg = vec![];
    flamegraph::from_lines(&mut options, lines.iter().map(String::as_str), &mut svg)
        .map_err(|error| SvgError::Failed(error.to_string()))?;
    Ok(svg)
}

fn frames(stack: &str) -> Vec<String> {
    stack.split(';').map(|name| frame(shown(name))).collect()
}

/// A name that `inferno` takes neither for a comment, when it is the first one, nor, when it is the last, its last word
/// for a count.
fn frame(name: String) -> String {
    let name = match name.strip_prefix("# ") {
        Some(rest) => format!("#{NO_BREAK_SPACE}{rest}"),
        None => name,
    };
    match name.rsplit_once(' ') {
        Some((rest, word)) if word.chars().all(|c| c.is_ascii_digit() || c == '.') => {
            format!("{rest}{NO_BREAK_SPACE}{word}")
        }
        _ => name,
    }
}

/// A text as the picture may show it.
fn shown(text: &str) -> String {
    let count = text.chars().count();
    let mut clean: String = if count <= MAX_NAME_CHARS {
        text.chars().map(legal).collect()
    } else {
        let (head, tail) = (text.chars().take(MAX_NAME_CHARS / 2), text.chars().skip(count - MAX_NAME_CHARS / 2));
        head.chain(['…']).chain(tail).map(legal).collect()
    };
    clean.truncate(clean.trim_end().len());
    match clean.trim_start() {
        "" => NO_NAME.to_owned(),
        trimmed if trimmed.len() == clean.len() => clean,
        trimmed => trimmed.to_owned(),
    }
}

/// A character that XML 1.0 allows, and that neither hides nor reorders those beside it.
fn legal(c: char) -> char {
    match c {
        c if c.is_control() => ' ',
        // Zero width, direction, line and paragraph separators; interlinear annotation; not characters at all.
        '\u{ad}'
        | '\u{61c}'
        | '\u{180e}'
        | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => char::REPLACEMENT_CHARACTER,
        c if u32::from(c) & 0xfffe == 0xfffe => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    const LOOK: Look<'_> =
        Look { title: "t", subtitle: None, unit: "samples", colors: "hot", width: None, inverted: false };

    fn drawn(stacks: &[(&str, i128)]) -> String {
        String::from_utf8(flame_graph(stacks.iter().copied(), &LOOK).unwrap()).unwrap()
    }

    #[test]
    fn a_number_at_the_end_of_a_name_is_no_count() {
        let svg = drawn(&[("main;worker 7", 3), ("# root 1.5", 1)]);
        assert!(svg.contains("worker\u{a0}7 (3 samples, 75.00%)"));
        assert!(svg.contains("#\u{a0}root\u{a0}1.5 (1 samples, 25.00%)"));
    }

    #[test]
    fn a_frame_is_drawn_once_beside_names_that_begin_as_its_own() {
        let svg = drawn(&[("main", 1), ("main.run;a", 2), ("main;b", 3)]);
        assert_eq!(1, svg.matches("<title>main (4 samples").count());
    }

    #[test]
    fn values_beyond_doubles_are_drawn_at_a_scale() {
        let svg = drawn(&[("a", i128::MAX / 4), ("b", i128::MAX / 4), ("c", -5)]);
        assert!(svg.contains("× 2^73 samples, 50.00%)"));
        assert!(!svg.contains("<title>c"));
    }

    #[test]
    fn nothing_above_zero_is_an_error() {
        assert_eq!(Err(SvgError::Empty), flame_graph([("a", 0), ("b", -1)], &LOOK));
    }

    #[test]
    fn long_names_show_their_ends() {
        let name = format!("head{}tail", "é".repeat(100_000));
        let clean = shown(&name);
        assert_eq!(MAX_NAME_CHARS + 1, clean.chars().count());
        assert!(clean.starts_with("head") && clean.ends_with("tail"));
    }
}
