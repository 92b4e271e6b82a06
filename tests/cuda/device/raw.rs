//! A kernel written in CUDA C++, sent through CubeCL's queue like one of its own.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::server::{KernelArguments, MetadataBindingInfo};
use cubecl::{CompilationError, Compiler, CubeTask};

/// Text that the tests wrote, to see what the devices make of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RawCuda {
    /// Name of the function in `source`.
    pub(crate) entry: &'static str,
    /// CUDA C++. Buffers come first, then the scalars as one struct of 64-bit words.
    pub(crate) source: String,
    /// Threads of the only block.
    pub(crate) units: u32,
    /// Dynamic shared memory.
    pub(crate) shared_memory_bytes: usize,
}

/// Carries the size of the shared memory: only CubeCL's own form of a kernel has one.
#[cube(launch)]
fn shared_memory_only(#[comptime] words: usize) {
    let mut words = SharedMemory::<u32>::new(words);
    words[UNIT_POS as usize] = 0u32;
}

struct RawTask {
    raw: RawCuda,
    shared_memory: Box<dyn CubeKernel>,
}

impl RawCuda {
    /// Launches one block.
    pub(crate) fn launch<R: CubeRuntime>(&self, buffers: Vec<CubeTensor<R>>, scalars: Vec<u64>) {
        let client = buffers[0].client.clone();
        let settings = KernelSettings::default().cube_dim(CubeDim::new_1d(self.units));
        let words = self.shared_memory_bytes.div_ceil(4);
        let shared_memory =
            shared_memory_only::SharedMemoryOnly::<R>::new(settings, client.clone(), words);
        let task = RawTask {
            raw: self.clone(),
            shared_memory: Box::new(shared_memory),
        };
        let num_scalars = scalars.len();
        let arguments = KernelArguments::new()
            .with_buffers(
                buffers
                    .into_iter()
                    .map(|tensor| tensor.handle.binding())
                    .collect(),
            )
            .with_info(MetadataBindingInfo::new(scalars, num_scalars));
        client.launch(Box::new(task), CubeCount::new_single(), arguments);
    }
}

impl KernelMetadata for RawTask {
    fn id(&self) -> KernelId {
        // Kernels are cached by this alone: it must hold all that shapes a launch.
        KernelId::new::<Self>()
            .cube_dim(CubeDim::new_1d(self.raw.units))
            .info(self.raw.clone())
    }

    fn address_type(&self) -> StorageType {
        AddressType::U32.unsigned_type()
    }
}

impl<C: Compiler> CubeTask<C> for RawTask {
    fn compile(
        &self,
        compiler: &mut C,
        options: &C::CompilationOptions,
        mode: ExecutionMode,
        address: StorageType,
    ) -> Result<CompiledKernel<C>, CompilationError> {
        let repr = compiler.compile(self.shared_memory.define(), options, mode, address)?;
        Ok(CompiledKernel {
            entrypoint_name: self.raw.entry.into(),
            debug_name: Some(self.raw.entry),
            source: self.raw.source.clone(),
            repr: Some(repr),
            cube_dim: CubeDim::new_1d(self.raw.units),
            debug_info: None,
        })
    }
}
