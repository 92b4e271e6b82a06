//! Memory of activations, which is used again: the system takes longer to hand out fresh pages of zeros
//! than a layer takes to fill them.

#![expect(unsafe_code, reason = "numbers seen as the bytes of a tensor")]

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::{Mutex, MutexGuard, PoisonError};

use burn::tensor::Bytes;
use burn_std::{AllocationController, AllocationProperty};

/// Shorter ones come from the allocator, which keeps such memory itself.
const MIN_LEN: usize = 1 << 14;

/// Numbers that wait to be used again, all together: 64 MiB.
const MAX_FREE: usize = 1 << 24;

static FREE: Mutex<FreeList> = Mutex::new(FreeList(Vec::new()));

fn free_list() -> MutexGuard<'static, FreeList> {
    FREE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those that nobody uses, the longest unused first.
#[derive(Debug)]
struct FreeList(Vec<Vec<f32>>);

impl FreeList {
    /// One of at least `len` numbers, and at most half as many again.
    fn take(&mut self, len: usize) -> Option<Vec<f32>> {
        let fitting = self.0.iter().enumerate().filter(|(_, numbers)| {
            let held = numbers.len();
            held >= len.max(MIN_LEN) && held <= len + len / 2
        });
        let (index, _) = fitting.min_by_key(|(_, numbers)| numbers.len())?;
        Some(self.0.remove(index))
    }

    /// Keeps one, as long as all together are not too many.
    fn put(&mut self, numbers: Vec<f32>) {
        if !(MIN_LEN..=MAX_FREE).contains(&numbers.len()) {
            return;
        }
        self.0.push(numbers);
        let mut held: usize = self.0.iter().map(Vec::len).sum();
        while held > MAX_FREE {
            held -= self.0.remove(0).len();
        }
    }
}

/// Numbers of one owner, who may make a tensor of them.
#[derive(Debug)]
pub(in crate::kernels) struct Buffer {
    /// At least `len` of them.
    numbers: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// As many numbers of any value: whoever asks for them writes each. With debug assertions they are
    /// NaN.
    pub(in crate::kernels) fn of_len(len: usize) -> Self {
        let numbers = match free_list().take(len) {
            Some(mut numbers) => {
                if cfg!(debug_assertions) {
                    numbers.fill(f32::NAN);
                }
                numbers
            }
            None => vec![
                if cfg!(debug_assertions) {
                    f32::NAN
                } else {
                    0.0
                };
                len
            ],
        };
        Self { numbers, len }
    }

    /// The bytes of a tensor; the memory comes back when nobody holds the tensor any more.
    pub(super) fn into_bytes(self) -> Bytes {
        let len_bytes = self.len * size_of::<f32>();
        // SAFETY: the controller has as many bytes, all of them initialised.
        unsafe { Bytes::from_controller(Box::new(self), len_bytes) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        free_list().put(std::mem::take(&mut self.numbers));
    }
}

impl From<Vec<f32>> for Buffer {
    fn from(numbers: Vec<f32>) -> Self {
        let len = numbers.len();
        Self { numbers, len }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.numbers[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.numbers[..self.len]
    }
}

impl AllocationController for Buffer {
    fn alloc_align(&self) -> usize {
        align_of::<f32>()
    }

    fn property(&self) -> AllocationProperty {
        AllocationProperty::Other
    }

    unsafe fn memory_mut(&mut self) -> &mut [MaybeUninit<u8>] {
        let numbers: &mut [f32] = self;
        let (start, len) = (numbers.as_mut_ptr(), size_of_val(numbers));
        // SAFETY: the bytes of the numbers, borrowed as these are; whoever writes them writes
        // initialised ones, by the contract of this method, and any of these are numbers.
        unsafe { slice::from_raw_parts_mut(start.cast(), len) }
    }

    fn memory(&self) -> &[MaybeUninit<u8>] {
        let numbers: &[f32] = self;
        // SAFETY: the bytes of the numbers, borrowed as these are.
        unsafe { slice::from_raw_parts(numbers.as_ptr().cast(), size_of_val(numbers)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_about_the_length_is_used_again() {
        let mut free = FreeList(Vec::new());
        free.put(vec![0.0; 3 * MIN_LEN]);
        free.put(vec![0.0; 2 * MIN_LEN]);
        free.put(vec![0.0; MIN_LEN - 1]);
        assert_eq!(free.take(MIN_LEN), None, "the shortest is twice as long");
        assert_eq!(
            free.take(2 * MIN_LEN - 1).map(|found| found.len()),
            Some(2 * MIN_LEN)
        );
        assert_eq!(
            free.take(2 * MIN_LEN + 1).map(|found| found.len()),
            Some(3 * MIN_LEN)
        );
        assert_eq!(free.take(2 * MIN_LEN), None);
    }

    #[test]
    fn what_is_too_much_goes_the_longest_unused_first() {
        let mut free = FreeList(Vec::new());
        let half = MAX_FREE / 2;
        for len in [half, half - 1, MIN_LEN] {
            free.put(vec![0.0; len]);
        }
        let held: Vec<_> = free.0.iter().map(Vec::len).collect();
        assert_eq!(held, [half - 1, MIN_LEN]);
        free.put(vec![0.0; MAX_FREE + 1]);
        assert_eq!(free.0.len(), 2);
    }

    #[test]
    fn what_was_there_is_never_read() {
        for _ in 0..3 {
            let mut buffer = Buffer::of_len(3 * MIN_LEN);
            assert!(buffer.iter().all(|number| number.is_nan()));
            buffer.fill(3.0);
            drop(buffer.into_bytes());
        }
    }

    #[test]
    fn bytes_may_be_written_and_copied() {
        let mut bytes = Buffer::from(vec![1.0, 2.0]).into_bytes();
        let copy = bytes.clone();
        bytemuck::cast_slice_mut::<u8, f32>(&mut bytes)[0] = 5.0;
        assert_eq!(bytemuck::cast_slice::<u8, f32>(&bytes), [5.0, 2.0]);
        assert_eq!(bytemuck::cast_slice::<u8, f32>(&copy), [1.0, 2.0]);
    }
}
