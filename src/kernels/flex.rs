//! [`VlmBackend`] for Flex: this crate's CPU kernels.

use burn_flex::Flex;

use super::VlmBackend;

impl VlmBackend for Flex {}
