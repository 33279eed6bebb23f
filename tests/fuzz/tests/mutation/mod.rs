//! Inputs out of samples and chance, from one seed: the target's name.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Longer inputs only take longer: huge ones have a test of their own.
const LONGEST: usize = 16 * 1024;

/// At the edges of what numbers, times and durations can be.
const EXTREMES: [&str; 20] = [
    "0",
    "-1",
    "1",
    "99",
    "100",
    "255",
    "256",
    "65536",
    "2147483648",
    "4294967295",
    "9223372036854775807",
    "18446744073709551615",
    "18446744073709551616",
    "1e308",
    "-1e400",
    "NaN",
    "inf",
    "9999-12-30T22:00:00Z",
    "-009999-01-02T01:59:59Z",
    "1m ago",
];

/// What has a meaning somewhere.
const WORDS: [&str; 24] = [
    "\n",
    "\r\n",
    "\n\n",
    "\n@@",
    "\n@@end\n",
    "\"",
    "\"\"",
    "'",
    ",",
    "{",
    "}",
    "[",
    "]",
    "[[",
    "=",
    "{version}",
    "../",
    "\\",
    "\0",
    "ü",
    "\u{feff}",
    "# pxname",
    "- ",
    " ",
];

/// Makes one input after the other.
pub(crate) struct Mutator {
    chance: StdRng,
    samples: Vec<Vec<u8>>,
}

impl Mutator {
    /// `samples` is not empty.
    pub(crate) fn new(seed: &str, samples: Vec<Vec<u8>>) -> Self {
        let seed = seed.bytes().fold(1, |seed: u64, byte| seed.wrapping_mul(257) + u64::from(byte));
        Self { chance: StdRng::seed_from_u64(seed), samples }
    }

    /// A sample with a few changes, most often one.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.sample();
        while {
            self.change(&mut input);
            self.chance.random_bool(0.5)
        } {}
        input.truncate(LONGEST);
        input
    }

    fn sample(&mut self) -> Vec<u8> {
        self.samples[self.chance.random_range(0..self.samples.len())].clone()
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.place(input);
        match self.chance.random_range(0..9) {
            0 => self.flip(input, at),
            1 => self.splice(input, at),
            2 => input.truncate(at),
            3 => self.move_line(input, true),
            4 => self.move_line(input, false),
            5 => self.replace_number(input, at),
            6 => self.insert(input, at, &WORDS),
            7 => self.insert(input, at, &EXTREMES),
            _ => self.cut(input, at),
        }
    }

    fn place(&mut self, input: &[u8]) -> usize {
        self.chance.random_range(0..=input.len())
    }

    fn flip(&mut self, input: &mut [u8], at: usize) {
        if let Some(byte) = input.get_mut(at) {
            *byte ^= 1 << self.chance.random_range(0..8);
        }
    }

    /// The beginning of this and the end of another.
    fn splice(&mut self, input: &mut Vec<u8>, at: usize) {
        let other = self.sample();
        let from = self.place(&other);
        input.truncate(at);
        input.extend_from_slice(&other[from..]);
    }

    fn cut(&mut self, input: &mut Vec<u8>, at: usize) {
        let end = (at + self.chance.random_range(1..20)).min(input.len());
        input.drain(at..end);
    }

    fn insert(&mut self, input: &mut Vec<u8>, at: usize, words: &[&str]) {
        let word = words[self.chance.random_range(0..words.len())];
        input.splice(at..at, word.bytes());
    }

    /// One line to another place; kept where it was, too, or not.
    fn move_line(&mut self, input: &mut Vec<u8>, keep: bool) {
        let mut lines: Vec<Vec<u8>> =
            input.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        if lines.is_empty() {
            return;
        }
        let from = self.chance.random_range(0..lines.len());
        let line = if keep { lines[from].clone() } else { lines.remove(from) };
        lines.insert(self.chance.random_range(0..=lines.len()), line);
        *input = lines.concat();
    }

    /// The next number after a place becomes an extreme one.
    fn replace_number(&mut self, input: &mut Vec<u8>, at: usize) {
        let digit = |byte: &u8| byte.is_ascii_digit();
        let Some(from) = input[at..].iter().position(digit).map(|more| at + more) else { return };
        let end = input[from..].iter().position(|byte| !digit(byte)).map_or(input.len(), |more| from + more);
        input.drain(from..end);
        self.insert(input, from, &EXTREMES);
    }
}
