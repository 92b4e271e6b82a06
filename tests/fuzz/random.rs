/// Numbers that look random and are the same for the same seed (SplitMix64, Steele et al. 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`, which is not 0.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// A part of `bytes`, which may be empty.
    fn part<'a>(&mut self, bytes: &'a [u8], max_bytes: usize) -> &'a [u8] {
        let start = self.below(bytes.len() + 1);
        let rest = bytes.len() - start;
        &bytes[start..start + self.below(rest.min(max_bytes) + 1)]
    }

    /// Damages `bytes` as transfers, editors and attackers do.
    pub(crate) fn damage(&mut self, bytes: &mut Vec<u8>, others: &[Vec<u8>]) {
        const NUMBERS: [&[u8]; 8] = [
            &[0],
            &[0xff],
            &[0xff; 4],
            &[0, 0, 0, 0],
            &[0x7f, 0xff, 0xff, 0xff],
            &[0xff, 0xff, 0xff, 0x7f],
            &[0, 1],
            &[0x80, 0, 0, 0],
        ];
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            match self.below(7) {
                0 => bytes.truncate(at),
                1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = self.next() as u8,
                3 => {
                    let number = *self.pick(&NUMBERS);
                    let end = bytes.len().min(at + number.len());
                    bytes[at..end].copy_from_slice(&number[..end - at]);
                }
                4 => {
                    let other = self.pick(others);
                    let part = self.part(other, 400).to_vec();
                    bytes.splice(at..at, part);
                }
                5 => {
                    let part = self.part(bytes, 64).to_vec();
                    let count = *self.pick(&[1, 2, 50, 2000]);
                    bytes.splice(at..at, part.repeat(count));
                }
                _ => {
                    let end = (at + self.below(40)).min(bytes.len());
                    bytes.drain(at..end);
                }
            }
        }
    }
}
