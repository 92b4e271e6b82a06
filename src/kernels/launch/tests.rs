//! What is chosen on devices that are not here.

use super::*;
use crate::kernels::LaunchRefused;
use crate::kernels::cube::reduce::Exchange;

pub(in crate::kernels) const H100: DeviceProperties = DeviceProperties {
    max_shared_memory_bytes: 227 << 10,
    max_units: 1024,
    max_cubes: [i32::MAX as usize, 65_535, 65_535],
    max_bindings: 1024,
    plane_units: Some(32),
    multiprocessors: Some(132),
    max_vector_bytes: 16,
    max_vector_elements: usize::MAX,
    has_f16: true,
    has_bf16: true,
    multiplies_f16: true,
    multiplies_bf16: true,
};

pub(in crate::kernels) const LLVMPIPE: DeviceProperties = DeviceProperties {
    max_shared_memory_bytes: 32 << 10,
    max_units: 1024,
    max_bindings: 31,
    has_f16: true,
    ..WEBGPU
};

pub(in crate::kernels) const SWIFT_SHADER: DeviceProperties = DeviceProperties {
    max_shared_memory_bytes: 32 << 10,
    max_bindings: 9,
    ..WEBGPU
};

/// What every device of WebGPU has.
pub(in crate::kernels) const WEBGPU: DeviceProperties = DeviceProperties {
    max_shared_memory_bytes: 16 << 10,
    max_units: 256,
    max_cubes: [65_535; 3],
    max_bindings: 8,
    plane_units: None,
    multiprocessors: None,
    max_vector_bytes: 16,
    max_vector_elements: 4,
    has_f16: false,
    has_bf16: false,
    multiplies_f16: false,
    multiplies_bf16: false,
};

/// Tensors of f32.
pub(in crate::kernels) fn operands(count: usize) -> Vec<Operand> {
    vec![operand(DType::F32); count]
}

pub(in crate::kernels) const fn operand(dtype: DType) -> Operand {
    Operand {
        dtype,
        is_addressable: true,
    }
}

#[test]
fn vectors_are_as_wide_as_the_device_loads_and_the_rows_divide() {
    let table = [
        (&H100, vec![DType::F32], 576, 4),
        (&H100, vec![DType::F16], 576, 8),
        (&H100, vec![DType::F16, DType::F32], 576, 4),
        (&LLVMPIPE, vec![DType::F16], 576, 4),
        (&H100, vec![DType::F16], 20, 4),
        (&H100, vec![DType::F16], 33, 1),
    ];
    for (device, dtypes, extent, expected) in table {
        let found = device.vector_width(dtypes.clone(), extent);
        assert_eq!(found, expected, "{dtypes:?} of {extent}");
    }
}

#[test]
fn rows_have_a_cube_each_and_sum_by_planes_where_there_are_planes() {
    let choose = |rows, extent, device| RowWise::in_vectors([rows, extent], &operands(3), device);
    let table = [
        (1, 576, &H100, (256, Exchange::Planes, [1, 1, 1])),
        (7, 64, &H100, (32, Exchange::Planes, [7, 1, 1])),
        (7, 576, &LLVMPIPE, (256, Exchange::SharedMemory, [7, 1, 1])),
        (
            5000,
            4096,
            &WEBGPU,
            (256, Exchange::SharedMemory, [5000, 1, 1]),
        ),
        (
            80_001,
            4096,
            &WEBGPU,
            (256, Exchange::SharedMemory, [26_667, 3, 1]),
        ),
    ];
    for (rows, extent, device, expected) in table {
        let RowWise { team, grid, .. } = choose(rows, extent, device).expect("it fits");
        let found = (team.units, team.exchange, grid.cubes);
        assert_eq!(found, expected, "{rows} rows of {extent}");
    }
}

/// 5000 tokens of Vicuna, 32 heads of queries, keys and values: more than 65 535 cubes.
#[test]
fn a_long_prompt_is_folded_over_two_axes() {
    let elements = 5000 * 96 * 128;
    for device in [H100, LLVMPIPE, SWIFT_SHADER, WEBGPU] {
        let chosen = Elementwise::of_width(elements, 1, &operands(7), &device);
        let Grid { cubes, units, .. } = chosen.expect("a grid has two axes").grid;
        let [x, y, z] = cubes;
        assert!(x.max(y) <= 65_535 && z == 1, "{cubes:?}");
        assert!(x * y * units as usize >= elements, "{cubes:?}");
    }
}

#[test]
fn every_refusal_has_a_name() {
    let choose = |elements, operands: &[Operand], device| {
        let chosen = Elementwise::of_width(elements, 1, operands, device);
        chosen.map(|chosen| chosen.grid.cubes)
    };
    assert_eq!(
        choose(0, &operands(1), &H100),
        Err(LaunchRefused::NothingToCompute)
    );
    assert_eq!(
        choose(64, &operands(9), &SWIFT_SHADER),
        Err(LaunchRefused::TooManyBindings {
            bindings: 10,
            max_bindings: 9
        })
    );
    assert_eq!(
        choose(64, &[operand(DType::F16)], &SWIFT_SHADER),
        Err(LaunchRefused::NotComputed(DType::F16))
    );
    assert_eq!(choose(64, &[operand(DType::F16)], &LLVMPIPE), Ok([1, 1, 1]));
    assert_eq!(
        choose(64, &[operand(DType::BF16)], &LLVMPIPE),
        Err(LaunchRefused::NotComputed(DType::BF16))
    );
    let large = Operand {
        is_addressable: false,
        ..operand(DType::F32)
    };
    assert_eq!(
        choose(64, &[large], &H100),
        Err(LaunchRefused::TooManyElements)
    );
    let check = |grid: Grid, device| grid.check(device).map(|_| ());
    assert_eq!(
        check(Grid::folded(1, 512, 0), &WEBGPU),
        Err(LaunchRefused::TooManyUnits {
            units: 512,
            max_units: 256
        })
    );
    assert_eq!(
        check(Grid::folded(1, 64, 20 << 10), &WEBGPU),
        Err(LaunchRefused::TooMuchSharedMemory {
            bytes: 20 << 10,
            max_bytes: 16 << 10
        })
    );
    let cubes = [65_536, 1, 1];
    let grid = Grid {
        cubes,
        ..Grid::folded(1, 64, 0)
    };
    assert_eq!(
        check(grid, &WEBGPU),
        Err(LaunchRefused::TooManyCubes {
            cubes,
            max_cubes: [65_535; 3]
        })
    );
}
