//! What CubeCL asks of a CUDA card, answered from its compute capability alone.

use cubecl::ir::features::{AtomicUsage, Plane, Tma, TypeUsage};
use cubecl::ir::{
    BarrierLevel, ContiguousElements, DeviceProperties, ElemType, FloatKind, HardwareProperties,
    MatrixLayout, MemoryDeviceProperties, MmaProperties, OpaqueType, SemanticType, StorageType,
    TargetProperties, Type, VectorSize,
};
use cubecl::profile::TimingMethod;
use cubecl_cpp::cuda::arch::CudaArchitecture;
use cubecl_cpp::cuda::mma::{CudaWmmaCompiler, contiguous_elements_cuda};
use cubecl_cpp::shared::{
    CompilationOptions, CppSupportedFeatures, DialectWmmaCompiler, register_mma_features,
    register_wmma_features,
};

/// The alignment that `cuMemAllocPitch` gives to rows.
pub(crate) const ALIGNMENT_BYTES: usize = 512;

/// The most that `launch` accepts: 163 KiB on an A100, 227 KiB from an H100 on.
fn max_shared_memory_bytes(arch: u16) -> usize {
    if arch >= 90 { 232_448 } else { 166_912 }
}

/// Memory limits, the same on every made-up card.
pub(crate) fn memory() -> MemoryDeviceProperties {
    MemoryDeviceProperties {
        max_page_size: 1 << 30,
        alignment: ALIGNMENT_BYTES as u64,
    }
}

/// The properties of a card of compute capability `arch`, as `cubecl-cuda` would report them.
pub(crate) fn device(arch: u16) -> DeviceProperties {
    let mut properties = DeviceProperties::new(
        Default::default(),
        memory(),
        hardware(arch),
        TimingMethod::System,
    );
    cubecl_cpp::register_supported_types(&mut properties);
    register_opaque_types(&mut properties);
    register_features(&mut properties, arch);
    properties
}

fn hardware(arch: u16) -> HardwareProperties {
    HardwareProperties {
        load_width: 128,
        plane_size_min: 32,
        plane_size_max: 32,
        max_bindings: 1024,
        max_shared_memory_size: max_shared_memory_bytes(arch),
        max_cube_count: (i32::MAX as u32, u16::MAX.into(), u16::MAX.into()),
        max_units_per_cube: 1024,
        max_cube_dim: (1024, 1024, 64),
        num_streaming_multiprocessors: Some(if arch >= 90 { 132 } else { 108 }),
        num_cpu_cores: None,
        num_tensor_cores: Some(4),
        min_tensor_cores_dim: Some(8),
        max_vector_size: VectorSize::MAX,
    }
}

fn register_opaque_types(properties: &mut DeviceProperties) {
    properties.register_type_usage(ElemType::Float(FloatKind::TF32), TypeUsage::Conversion);
    properties.register_semantic_type(SemanticType::Pipeline);
    for level in [BarrierLevel::Unit, BarrierLevel::Cube] {
        properties.register_type_usage(OpaqueType::Barrier(level), TypeUsage::Buffer);
    }
    let atomic_f16 = Type::new(StorageType::Atomic(ElemType::Float(FloatKind::F16)));
    properties.register_atomic_type_usage(atomic_f16, AtomicUsage::Add | AtomicUsage::LoadStore);
}

fn register_features(properties: &mut DeviceProperties, arch: u16) {
    let matrix_types: [StorageType; 2] =
        [FloatKind::F16, FloatKind::BF16].map(|kind| ElemType::Float(kind).into());
    let features = &mut properties.features;
    features.plane |= Plane::Sync | Plane::Ops | Plane::NonUniformControlFlow;
    features.memory_reinterpret = true;
    features.alignment = true;
    features.copy_async = true;
    features.matmul.ldmatrix.extend(matrix_types);
    if arch >= 90 {
        features.matmul.stmatrix.extend(matrix_types);
        features.tma.insert(Tma::Base);
        features.cube_cluster = true;
        properties.register_semantic_type(SemanticType::TensorMap);
    }
    let arch = CudaArchitecture {
        version: arch.into(),
    };
    register_wmma_features(
        CudaWmmaCompiler::supported_wmma_combinations(&arch),
        properties,
    );
    register_mma_features(
        CudaWmmaCompiler::supported_mma_combinations(&arch),
        properties,
    );
}

/// The options that `cubecl-cuda` gives to its compiler on such a card.
pub(crate) fn compilation_options(arch: u16) -> CompilationOptions {
    CompilationOptions {
        warp_size: 32,
        supports_features: CppSupportedFeatures {
            fast_math: true,
            grid_constants: true,
            fast_tanh: true,
            clusters: arch >= 90,
            elect_sync: arch >= 90,
        },
    }
}

/// Register layouts of the matrix instructions.
pub(crate) fn target() -> TargetProperties {
    TargetProperties {
        mma: MmaProperties {
            register_size_bits: 32,
            const_plane_size: 32,
            register_layout_a: MatrixLayout::RowMajor,
            register_layout_b: MatrixLayout::ColMajor,
            register_layout_acc: MatrixLayout::RowMajor,
            register_duplication_a: 1,
            register_duplication_b: 1,
            register_duplication_acc: 1,
            contiguous_elements: ContiguousElements::new(contiguous_elements_cuda),
        },
    }
}
