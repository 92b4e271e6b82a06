//! Memory of activations, which is used again: the system takes longer to hand out fresh pages of zeros
//! than a layer takes to fill them.

#![expect(unsafe_code, reason = "numbers seen as the bytes of a tensor")]

use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::slice;
use std::sync::{Mutex, PoisonError};

use burn::tensor::Bytes;
use burn_std::{AllocationController, AllocationProperty};

/// Shorter ones come from the allocator, which keeps such memory itself.
const MIN_LEN: usize = 1 << 14;

/// Numbers that wait to be used again, all together: 64 MiB.
const MAX_FREE: usize = 1 << 24;

/// Those that nobody uses, the longest unused first.
static FREE: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// Numbers of one owner, who may make a tensor of them.
#[derive(Debug)]
pub(in crate::kernels) struct Buffer {
    /// At least `len` of them.
    numbers: Vec<f32>,
    len: usize,
}

impl Buffer {
    /// As many numbers of any value: whoever asks for them writes each. Tests find NaN in them.
    pub(in crate::kernels) fn of_len(len: usize) -> Self {
        let numbers = match take(len) {
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

    /// As many zeros.
    pub(in crate::kernels) fn zeros(len: usize) -> Self {
        let numbers = match take(len) {
            Some(mut numbers) => {
                numbers[..len].fill(0.0);
                numbers
            }
            None => vec![0.0; len],
        };
        Self { numbers, len }
    }

    /// A copy.
    pub(in crate::kernels) fn copy_of(numbers: &[f32]) -> Self {
        let mut copy = Self::of_len(numbers.len());
        copy.copy_from_slice(numbers);
        copy
    }

    /// The bytes of a tensor; the memory comes back when nobody holds the tensor any more.
    pub(super) fn into_bytes(self) -> Bytes {
        let len_bytes = self.len * size_of::<f32>();
        // SAFETY: the controller has as many bytes, all of them initialised.
        unsafe { Bytes::from_controller(Box::new(self), len_bytes) }
    }
}

/// A free buffer of at least `len` numbers, and at most twice as many.
fn take(len: usize) -> Option<Vec<f32>> {
    if len < MIN_LEN {
        return None;
    }
    let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    let fitting = free.iter().enumerate().filter(|(_, numbers)| {
        let held = numbers.len();
        held >= len && held / 2 <= len
    });
    let (index, _) = fitting.min_by_key(|(_, numbers)| numbers.len())?;
    Some(free.remove(index))
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let numbers = std::mem::take(&mut self.numbers);
        if !(MIN_LEN..=MAX_FREE).contains(&numbers.len()) {
            return;
        }
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(numbers);
        let mut held: usize = free.iter().map(Vec::len).sum();
        while held > MAX_FREE {
            held -= free.remove(0).len();
        }
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

    /// A length that no other test of this process asks for.
    const LEN: usize = 5 * MIN_LEN + 7;

    #[test]
    fn memory_is_used_again_and_never_read_again() {
        let mut first = Buffer::zeros(LEN);
        first.fill(3.0);
        let place = first.as_ptr();
        let bytes = first.into_bytes();
        assert_eq!(bytes.len(), LEN * size_of::<f32>());
        assert_eq!(bytemuck::cast_slice::<u8, f32>(&bytes)[LEN - 1], 3.0);
        drop(bytes);
        let second = Buffer::of_len(LEN - 1);
        assert_eq!(second.as_ptr(), place, "the same memory");
        assert_eq!(second.len(), LEN - 1);
        assert!(!second.contains(&3.0), "what was there is not");
        drop(second);
        assert!(Buffer::zeros(LEN).iter().all(|number| *number == 0.0));
        assert_ne!(
            Buffer::of_len(LEN / 4).len(),
            LEN,
            "too large a one is left"
        );
    }

    #[test]
    fn bytes_may_be_written_and_copied() {
        let mut bytes = Buffer::copy_of(&[1.0, 2.0]).into_bytes();
        let copy = bytes.clone();
        bytemuck::cast_slice_mut::<u8, f32>(&mut bytes)[0] = 5.0;
        assert_eq!(bytemuck::cast_slice::<u8, f32>(&bytes), [5.0, 2.0]);
        assert_eq!(bytemuck::cast_slice::<u8, f32>(&copy), [1.0, 2.0]);
    }
}
