//! Device memory in host bytes, at addresses aligned as CUDA's are.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::collections::HashMap;

use cubecl::server::{CopyDescriptor, IoError};
use cubecl_runtime::storage::{ComputeStorage, StorageHandle, StorageId, StorageUtilization};

use super::properties::ALIGNMENT_BYTES;

/// Pages of host memory. `BytesStorage` of CubeCL aligns to 4 bytes, where vector loads need 16.
#[derive(Default, Debug)]
pub(crate) struct HostStorage {
    pages: HashMap<StorageId, Page>,
}

#[derive(Debug)]
struct Page {
    address: *mut u8,
    layout: Layout,
}

// SAFETY: a page is plain memory that only its storage frees.
unsafe impl Send for Page {}

/// A piece of a page.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostMemory {
    address: *mut u8,
    len: usize,
}

// SAFETY: an address is only used on the device's thread, which owns the storage.
unsafe impl Send for HostMemory {}

impl HostMemory {
    pub(crate) fn address(&self) -> *mut u8 {
        self.address
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the piece lies in one initialised page, which outlives every task of its device,
        // and nothing else runs on the device's thread while the slice is borrowed.
        unsafe { std::slice::from_raw_parts(self.address, self.len) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow ends before a kernel or another copy touches the page.
        unsafe { std::slice::from_raw_parts_mut(self.address, self.len) }
    }
}

impl ComputeStorage for HostStorage {
    type Resource = HostMemory;

    fn alignment(&self) -> usize {
        ALIGNMENT_BYTES
    }

    fn get(&mut self, handle: &StorageHandle) -> HostMemory {
        let page = &self.pages[&handle.id];
        let (offset, len) = (handle.offset() as usize, handle.size() as usize);
        assert!(
            offset + len <= page.layout.size(),
            "a piece reaches past its page"
        );
        // SAFETY: the offset is inside the page, as asserted.
        let address = unsafe { page.address.add(offset) };
        HostMemory { address, len }
    }

    fn alloc(&mut self, size: u64) -> Result<StorageHandle, IoError> {
        let layout = Layout::from_size_align((size as usize).max(1), ALIGNMENT_BYTES)
            .expect("the alignment is a power of two and pages are at most 1 GiB");
        // SAFETY: the size is at least one byte.
        let address = unsafe { alloc_zeroed(layout) };
        if address.is_null() {
            handle_alloc_error(layout);
        }
        let id = StorageId::new();
        self.pages.insert(id, Page { address, layout });
        Ok(StorageHandle::new(
            id,
            StorageUtilization { offset: 0, size },
        ))
    }

    fn dealloc(&mut self, id: StorageId) {
        if let Some(page) = self.pages.remove(&id) {
            // SAFETY: allocated with this layout, and removed from the map, so freed once.
            unsafe { dealloc(page.address, page.layout) };
        }
    }

    fn flush(&mut self) {}
}

impl Drop for HostStorage {
    fn drop(&mut self) {
        let ids: Vec<_> = self.pages.keys().copied().collect();
        ids.into_iter().for_each(|id| self.dealloc(id));
    }
}

/// Copies the rows of a tensor out of device memory into packed bytes.
pub(crate) fn read_rows(memory: &HostMemory, tensor: &CopyDescriptor) -> Vec<u8> {
    let mut packed = Vec::with_capacity(tensor.shape.num_elements() * tensor.elem_size);
    let row_bytes = row_bytes(tensor);
    for start in row_starts(tensor) {
        packed.extend_from_slice(&memory.bytes()[start..start + row_bytes]);
    }
    packed
}

/// Copies packed bytes into the rows of a tensor in device memory.
pub(crate) fn write_rows(memory: &mut HostMemory, tensor: &CopyDescriptor, packed: &[u8]) {
    let row_bytes = row_bytes(tensor);
    for (row, start) in row_starts(tensor).enumerate() {
        let source = &packed[row * row_bytes..(row + 1) * row_bytes];
        memory.bytes_mut()[start..start + row_bytes].copy_from_slice(source);
    }
}

fn row_bytes(tensor: &CopyDescriptor) -> usize {
    tensor.shape.last().copied().unwrap_or(1) * tensor.elem_size
}

/// Byte offsets of the rows: on CUDA they are pitched, so a tensor is not one run of bytes.
fn row_starts(tensor: &CopyDescriptor) -> impl Iterator<Item = usize> {
    let num_outer = tensor.shape.len().saturating_sub(1);
    let outer = &tensor.shape[..num_outer];
    let strides = &tensor.strides[..num_outer];
    let num_rows = if row_bytes(tensor) == 0 {
        0
    } else {
        outer.iter().product::<usize>()
    };
    (0..num_rows).map(move |row| {
        let mut rest = row;
        let mut start = 0;
        for (size, stride) in outer.iter().zip(strides).rev() {
            start += rest % size * stride;
            rest /= size;
        }
        start * tensor.elem_size
    })
}
