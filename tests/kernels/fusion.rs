//! The reference bodies through stream fusion.

#![cfg(feature = "wgpu")]

use burn::tensor::DType;
use burn_fusion::Fusion;
use burn_vlm::backend::Wgpu;

use crate::device::has_device;
use crate::law::run_catalogue;

#[test]
fn fusion_changes_no_answer() {
    if has_device::<Wgpu>("wgpu") {
        run_catalogue::<Fusion<Wgpu>>(&Default::default(), &[DType::F32]).report("fusion<wgpu>");
    }
}
