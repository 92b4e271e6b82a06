//! The scan of a sequential JPEG, read for nothing but whether it is all there.

use super::Refusal;
use crate::image::ImageSize;

/// One colour of a frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Component {
    id: u8,
    horizontal_blocks: usize,
    vertical_blocks: usize,
}

impl Component {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let &[id, blocks, _table] = bytes else {
            return None;
        };
        let [horizontal_blocks, vertical_blocks] = [blocks >> 4, blocks & 0xf].map(usize::from);
        let is_sound = (1..=4).contains(&horizontal_blocks) && (1..=4).contains(&vertical_blocks);
        is_sound.then_some(Self {
            id,
            horizontal_blocks,
            vertical_blocks,
        })
    }

    /// Blocks in each unit.
    pub(super) fn area(&self) -> usize {
        self.horizontal_blocks * self.vertical_blocks
    }
}

/// The prefix codes and the restart interval that hold for the next scan.
#[derive(Default)]
pub(super) struct Tables {
    dc: [Option<PrefixCode>; 4],
    ac: [Option<PrefixCode>; 4],
    restart_interval: usize,
}

impl Tables {
    /// Takes what a segment of prefix codes defines.
    pub(super) fn define(&mut self, mut body: &[u8]) -> Result<(), Refusal> {
        while let Some((&place, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(SHORT_TABLE)?;
            let count = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(count).ok_or(SHORT_TABLE)?;
            let tables = match place >> 4 {
                0 => &mut self.dc,
                1 => &mut self.ac,
                _ => return Err("a table of prefix codes of an unknown class".into()),
            };
            let table = tables.get_mut(usize::from(place & 0xf));
            *table.ok_or("a fifth table of prefix codes")? = Some(PrefixCode {
                counts: *counts,
                symbols: symbols.to_vec(),
            });
            body = rest;
        }
        Ok(())
    }

    pub(super) fn set_restart_interval(&mut self, body: &[u8]) {
        let interval = body
            .first_chunk()
            .map_or(0, |bytes| u16::from_be_bytes(*bytes));
        self.restart_interval = interval.into();
    }
}

const SHORT_TABLE: &str = "a table of prefix codes that is cut short";

/// A prefix code: how many codes have each length, and what they stand for.
struct PrefixCode {
    counts: [u8; 16],
    symbols: Vec<u8>,
}

/// The scan of a picture that has only one.
pub(super) struct Scan<'a> {
    bits: Bits<'a>,
    /// The codes of each block of a unit.
    blocks: Vec<(&'a PrefixCode, &'a PrefixCode)>,
    num_units: usize,
    restart_interval: usize,
}

impl<'a> Scan<'a> {
    pub(super) fn new(
        size: ImageSize,
        components: &[Component],
        tables: &'a Tables,
        header: &[u8],
        data: &'a [u8],
    ) -> Option<Self> {
        let mut blocks = Vec::new();
        for chosen in header.get(1..)?.chunks_exact(2).take(components.len()) {
            let component = components
                .iter()
                .find(|component| component.id == chosen[0])?;
            let dc = tables.dc.get(usize::from(chosen[1] >> 4))?.as_ref()?;
            let ac = tables.ac.get(usize::from(chosen[1] & 0xf))?.as_ref()?;
            // A scan of one component goes block by block.
            let count = if components.len() == 1 {
                1
            } else {
                component.area()
            };
            blocks.extend(std::iter::repeat_n((dc, ac), count));
        }
        let largest = |of: fn(&Component) -> usize| match components {
            [_] => 1,
            _ => components.iter().map(of).max().unwrap_or(1),
        };
        let columns = size
            .width
            .div_ceil(8 * largest(|component| component.horizontal_blocks));
        let rows = size
            .height
            .div_ceil(8 * largest(|component| component.vertical_blocks));
        Some(Self {
            bits: Bits::new(data),
            blocks,
            num_units: rows * columns,
            restart_interval: tables.restart_interval,
        })
    }

    /// Whether the data reaches to the last block of the picture.
    pub(super) fn has_every_unit(mut self) -> bool {
        (0..self.num_units).all(|unit| {
            let is_restart =
                self.restart_interval > 0 && unit > 0 && unit.is_multiple_of(self.restart_interval);
            (!is_restart || self.bits.restart().is_some()) && self.unit().is_some()
        })
    }

    fn unit(&mut self) -> Option<()> {
        for &(dc, ac) in &self.blocks {
            let size = self.bits.symbol(dc)?;
            self.bits.skip(size)?;
            let mut coefficient = 1;
            while coefficient < 64 {
                let symbol = self.bits.symbol(ac)?;
                let (run, size) = (symbol >> 4, symbol & 0xf);
                self.bits.skip(size)?;
                match (run, size) {
                    (15, 0) => coefficient += 16,
                    (_, 0) => break,
                    (run, _) => coefficient += usize::from(run) + 1,
                }
            }
        }
        Some(())
    }
}

struct Bits<'a> {
    rest: &'a [u8],
    /// What was read and not used, in the lowest bits.
    held: u32,
    num_held: u8,
}

impl<'a> Bits<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            rest: data,
            held: 0,
            num_held: 0,
        }
    }

    fn bit(&mut self) -> Option<u32> {
        if self.num_held == 0 {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = match (byte, rest.split_first()) {
                (0xff, Some((0, rest))) => rest,
                (0xff, _) => return None,
                (_, _) => rest,
            };
            (self.held, self.num_held) = (byte.into(), 8);
        }
        self.num_held -= 1;
        Some((self.held >> self.num_held) & 1)
    }

    fn skip(&mut self, count: u8) -> Option<()> {
        (0..count).try_for_each(|_| self.bit().map(drop))
    }

    fn symbol(&mut self, code: &PrefixCode) -> Option<u8> {
        let (mut value, mut first, mut before) = (0, 0, 0);
        for &count in &code.counts {
            let count = u32::from(count);
            value = (value << 1) | self.bit()?;
            first <<= 1;
            if value < first + count {
                let at = before + value.checked_sub(first)?;
                return code.symbols.get(at as usize).copied();
            }
            first += count;
            before += count;
        }
        None
    }

    /// Passes over the marker of a restart.
    fn restart(&mut self) -> Option<()> {
        self.num_held = 0;
        let fill = self.rest.iter().take_while(|&&byte| byte == 0xff).count();
        let (&code, rest) = self.rest[fill..].split_first()?;
        self.rest = rest;
        (fill > 0 && (0xd0..=0xd7).contains(&code)).then_some(())
    }
}
