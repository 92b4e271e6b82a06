//! The reference bodies through stream fusion.

#![cfg(feature = "wgpu")]

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_fusion::Fusion;
use burn_vlm::backend::{Cpu, Wgpu};
use burn_vlm::kernels::Catalogue;

use crate::device::has_device;

/// Measured against the same formula on the same device: Burn sums a long product on a GPU in an
/// order of its own, fused or not.
#[test]
fn fusion_changes_no_answer() {
    if !has_device::<Wgpu>("wgpu") {
        return;
    }
    let mut wrong = Vec::new();
    let mut num_answers = 0;
    let unfused = Catalogue::<Wgpu>::ENTRIES.iter();
    let fused = Catalogue::<Fusion<Wgpu>>::ENTRIES.iter().zip(unfused);
    for ((fused, unfused), truth) in fused.zip(Catalogue::<Cpu>::ENTRIES) {
        let plain = (unfused.cases)().into_iter().zip((truth.cases)());
        for (case, (plain, truth)) in (fused.cases)().into_iter().zip(plain) {
            let lacks = |dtype: &DType| !Wgpu::supports_dtype(&Default::default(), *dtype);
            if case.stored.iter().any(lacks) {
                continue;
            }
            let answers = (case.kernel)(&Default::default(), DType::F32);
            let plain = (plain.reference)(&Default::default(), DType::F32);
            let exact = (truth.exact)(&Default::default(), DType::F32);
            assert_eq!(answers.len(), exact.len(), "{}: outputs", case.name);
            num_answers += answers.len();
            for (answer, (plain, exact)) in answers.iter().zip(plain.iter().zip(&exact)) {
                if let Err(deviation) = answer.check(plain, exact, DType::F32) {
                    wrong.push(format!("{} [{}]: {deviation}", fused.name, case.name));
                }
            }
        }
    }
    assert!(num_answers > 100, "{num_answers} answers");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
