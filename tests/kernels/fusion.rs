//! The reference bodies through stream fusion.

#![cfg(feature = "wgpu")]

use burn::tensor::DType;
use burn_fusion::Fusion;
use burn_vlm::backend::Wgpu;

use crate::law::run_catalogue;
use crate::wgpu::has_device;

#[test]
fn fusion_changes_no_answer() {
    if has_device() {
        run_catalogue::<Fusion<Wgpu>>(&Default::default(), &[DType::F32]).report("fusion<wgpu>");
    }
}
