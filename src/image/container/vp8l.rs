//! The head of a lossless WebP bitstream, read for how many tables it makes its decoder build.
//!
//! A picture of one pixel can ask for 65,536 groups of prefix codes, each of thousands of symbols:
//! some hundred bytes of tables for each byte of the file. The layout is that of RFC 9649.

use super::Refusal;
use crate::image::ImageSize;

/// Signature, sides and version, which stand before what is read here.
pub(super) const HEADER_BYTES: usize = 5;

/// Symbols of all prefix codes together. A decoder takes up to 28 bytes for each, so this is some
/// 110 MB; encoders make up to some thousand groups, of which most use a tenth of their symbols.
const MAX_SYMBOLS: usize = 4_000_000;

const NUM_LITERALS: usize = 256;
const NUM_LENGTHS: usize = 24;
const NUM_DISTANCES: usize = 40;

/// Checks how many prefix codes the `bitstream` of a picture of `size` asks for.
pub(super) fn check(bitstream: &[u8], size: ImageSize) -> Result<(), Refusal> {
    let num_symbols = Reader::new(bitstream).num_symbols(size);
    let num_symbols =
        num_symbols.ok_or("a bitstream that ends in its head, or breaks its rules")?;
    if num_symbols > MAX_SYMBOLS {
        return Err(format!("{num_symbols} symbols in its prefix codes").into());
    }
    Ok(())
}

struct Reader<'a> {
    rest: &'a [u8],
    held: u64,
    num_held: u32,
}

/// The five codes of a picture: lengths of the codes of green, red, blue, alpha and distances.
struct Group([PrefixCode; 5]);

impl<'a> Reader<'a> {
    fn new(bitstream: &'a [u8]) -> Self {
        Self {
            rest: bitstream,
            held: 0,
            num_held: 0,
        }
    }

    /// An upper bound for the symbols of all groups.
    fn num_symbols(mut self, size: ImageSize) -> Option<usize> {
        let mut width = size.width;
        let mut seen = [false; 4];
        while self.bits(1)? == 1 {
            let kind = self.bits(2)? as usize;
            if std::mem::replace(&mut seen[kind], true) {
                return None;
            }
            match kind {
                // Predictors and colours: one pixel for each square block.
                0 | 1 => {
                    let block_bits = self.bits(3)? + 2;
                    self.skip_image(blocks(width, size.height, block_bits))?;
                }
                2 => {}
                _ => {
                    let num_colors = self.bits(8)? as usize + 1;
                    self.skip_image(num_colors)?;
                    width = width.div_ceil(pixels_in_one(num_colors));
                }
            }
        }
        let num_cached = self.num_cached()?;
        let num_groups = match self.bits(1)? {
            0 => 1,
            _ => {
                let block_bits = self.bits(3)? + 2;
                self.num_groups(blocks(width, size.height, block_bits))?
            }
        };
        let alphabets = NUM_LITERALS + NUM_LENGTHS + num_cached + 3 * NUM_LITERALS + NUM_DISTANCES;
        Some(num_groups * alphabets)
    }

    /// The size of the cache of colours.
    fn num_cached(&mut self) -> Option<usize> {
        match self.bits(1)? {
            0 => Some(0),
            _ => match self.bits(4)? {
                bits @ 1..=11 => Some(1 << bits),
                _ => None,
            },
        }
    }

    /// How many groups the picture that chooses among them can name: no more than its literals can
    /// spell, because all else repeats them.
    fn num_groups(&mut self, num_pixels: usize) -> Option<usize> {
        let group = self.group()?;
        self.skip_pixels(&group, num_pixels)?;
        let [green, red, ..] = &group.0;
        let largest = |code: &PrefixCode| code.largest_below(NUM_LITERALS);
        Some((largest(red) << 8 | largest(green)) + 1)
    }

    fn skip_image(&mut self, num_pixels: usize) -> Option<()> {
        let group = self.group()?;
        self.skip_pixels(&group, num_pixels)
    }

    /// The codes of an image within the bitstream, its cache of colours before them.
    fn group(&mut self) -> Option<Group> {
        let num_cached = self.num_cached()?;
        Some(Group([
            self.code(NUM_LITERALS + NUM_LENGTHS + num_cached)?,
            self.code(NUM_LITERALS)?,
            self.code(NUM_LITERALS)?,
            self.code(NUM_LITERALS)?,
            self.code(NUM_DISTANCES)?,
        ]))
    }

    fn skip_pixels(&mut self, group: &Group, num_pixels: usize) -> Option<()> {
        let [green, red, blue, alpha, distances] = &group.0;
        let mut left = num_pixels;
        while left > 0 {
            let symbol = self.symbol(green)?;
            let taken = if symbol < NUM_LITERALS {
                for code in [red, blue, alpha] {
                    self.symbol(code)?;
                }
                1
            } else if symbol < NUM_LITERALS + NUM_LENGTHS {
                let length = self.number(symbol - NUM_LITERALS)?;
                let distance = self.symbol(distances)?;
                self.number(distance)?;
                length
            } else {
                1
            };
            left = left.saturating_sub(taken);
        }
        Some(())
    }

    /// A length or a distance, of which the symbol is the upper part.
    fn number(&mut self, symbol: usize) -> Option<usize> {
        if symbol < 4 {
            return Some(symbol + 1);
        }
        let extra_bits = (symbol as u32 - 2) >> 1;
        let offset = (2 + (symbol & 1)) << extra_bits;
        Some(offset + self.bits(extra_bits)? as usize + 1)
    }

    fn code(&mut self, num_symbols: usize) -> Option<PrefixCode> {
        if self.bits(1)? == 1 {
            return self.simple_code(num_symbols);
        }
        const ORDER: [usize; 19] = [
            17, 18, 0, 1, 2, 3, 4, 5, 16, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
        ];
        let num_lengths = self.bits(4)? as usize + 4;
        let mut lengths = [0; 19];
        for &symbol in ORDER.get(..num_lengths)? {
            lengths[symbol] = self.bits(3)? as u8;
        }
        let lengths = PrefixCode::of(&lengths)?;
        let num_coded = match self.bits(1)? {
            0 => num_symbols,
            _ => {
                let count_bits = 2 + 2 * self.bits(3)?;
                2 + self.bits(count_bits)? as usize
            }
        };
        self.coded_lengths(&lengths, num_symbols, num_coded)
    }

    fn coded_lengths(
        &mut self,
        code: &PrefixCode,
        num_symbols: usize,
        num_coded: usize,
    ) -> Option<PrefixCode> {
        let mut lengths = Vec::with_capacity(num_symbols);
        let mut previous = 8;
        for _ in 0..num_coded {
            if lengths.len() == num_symbols {
                break;
            }
            let (length, count) = match self.symbol(code)? {
                16 => (previous, 3 + self.bits(2)?),
                17 => (0, 3 + self.bits(3)?),
                18 => (0, 11 + self.bits(7)?),
                length => (length as u8, 1),
            };
            if length != 0 {
                previous = length;
            }
            lengths.extend(std::iter::repeat_n(length, count as usize));
        }
        lengths.resize(num_symbols.max(lengths.len()), 0);
        (lengths.len() == num_symbols).then(|| PrefixCode::of(&lengths))?
    }

    fn simple_code(&mut self, num_symbols: usize) -> Option<PrefixCode> {
        let has_two = self.bits(1)? == 1;
        let first_bits = if self.bits(1)? == 1 { 8 } else { 1 };
        let mut lengths = vec![0; num_symbols];
        *lengths.get_mut(self.bits(first_bits)? as usize)? = 1;
        if has_two {
            *lengths.get_mut(self.bits(8)? as usize)? = 1;
        }
        PrefixCode::of(&lengths)
    }

    fn symbol(&mut self, code: &PrefixCode) -> Option<usize> {
        if let [only] = code.symbols[..] {
            return Some(only.into());
        }
        let (mut value, mut first, mut before) = (0, 0, 0);
        for &count in &code.counts[1..] {
            value = (value << 1) | self.bits(1)? as usize;
            first <<= 1;
            if value < first + count {
                let at = before + value.checked_sub(first)?;
                return code.symbols.get(at).map(|&symbol| symbol.into());
            }
            first += count;
            before += count;
        }
        None
    }

    /// The next bits, the lowest first.
    fn bits(&mut self, count: u32) -> Option<u32> {
        while self.num_held < count {
            let (&byte, rest) = self.rest.split_first()?;
            self.held |= u64::from(byte) << self.num_held;
            self.num_held += 8;
            self.rest = rest;
        }
        let bits = self.held & ((1 << count) - 1);
        self.held >>= count;
        self.num_held -= count;
        Some(bits as u32)
    }
}

/// A canonical prefix code.
struct PrefixCode {
    /// How many codes have each length.
    counts: [usize; 16],
    /// The symbols in the order of their codes.
    symbols: Vec<u16>,
}

impl PrefixCode {
    fn of(lengths: &[u8]) -> Option<Self> {
        let mut counts = [0; 16];
        for &length in lengths.iter().filter(|&&length| length > 0) {
            *counts.get_mut(usize::from(length))? += 1;
        }
        let used = |length: u8| {
            let symbols = lengths.iter().enumerate();
            symbols.filter(move |&(_, &other)| other == length)
        };
        let symbols: Vec<u16> = (1..16)
            .filter(|&length| counts[usize::from(length)] > 0)
            .flat_map(|length| used(length).map(|(symbol, _)| symbol as u16))
            .collect();
        (!symbols.is_empty()).then_some(Self { counts, symbols })
    }

    fn largest_below(&self, limit: usize) -> usize {
        let symbols = self.symbols.iter().map(|&symbol| usize::from(symbol));
        symbols.filter(|&symbol| symbol < limit).max().unwrap_or(0)
    }
}

fn blocks(width: usize, height: usize, block_bits: u32) -> usize {
    width.div_ceil(1 << block_bits) * height.div_ceil(1 << block_bits)
}

/// How many pixels of a palette share one.
fn pixels_in_one(num_colors: usize) -> usize {
    match num_colors {
        0..=2 => 8,
        3..=4 => 4,
        5..=16 => 2,
        _ => 1,
    }
}
