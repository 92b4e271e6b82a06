//! From a task of CubeCL to a kernel that ran, or the reason why it did not.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use cubecl::prelude::*;
use cubecl::server::{Binding, KernelArguments};

use super::properties::{self, ALIGNMENT_BYTES};
use super::runtime::{Call, CudaCompiler, EmittedKernel, HostDevice};
use super::server::{HostServer, Prepared, Task};

impl<D: HostDevice> HostServer<D> {
    pub(crate) fn try_launch(
        &mut self,
        task: Task,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
    ) -> Result<(), String> {
        let prepared = self.prepared(task, mode)?;
        let at = |reason: String| format!("{}: {reason}", prepared.kernel.entry);
        self.utilities.info.add(&prepared.kernel);
        let grid = self.grid(count).map_err(at)?;
        let mut buffers = Vec::with_capacity(arguments.buffers.len());
        for binding in &arguments.buffers {
            buffers.push(self.bound(binding)?);
        }
        let call = Call {
            grid,
            buffers: &buffers,
            info: &arguments.info,
            num_tensor_maps: arguments.tensor_maps.len(),
        };
        self.device.run(&prepared.program, &call).map_err(at)?;
        self.check_guards(&arguments.buffers).map_err(at)
    }

    fn prepared(
        &mut self,
        task: Task,
        mode: ExecutionMode,
    ) -> Result<Arc<Prepared<D::Program>>, String> {
        let mut id = task.id();
        id.mode(mode);
        if let Some(prepared) = self.kernels.get(&id) {
            return Ok(prepared.clone());
        }
        let name = task.name();
        let kernel = self
            .emit(task, mode)
            .map_err(|reason| format!("{name}: {reason}"))?;
        let program = self
            .device
            .prepare(&kernel)
            .map_err(|reason| format!("{}: {reason}", kernel.entry))?;
        let prepared = Arc::new(Prepared {
            kernel: Arc::new(kernel),
            program,
        });
        self.kernels.insert(id, prepared.clone());
        Ok(prepared)
    }

    fn emit(&self, task: Task, mode: ExecutionMode) -> Result<EmittedKernel, String> {
        let arch = self.device.arch();
        let options = properties::compilation_options(arch);
        // A panic while the kernel expands would end this thread's task and be lost: the launch
        // returns, and `flush` says that all is well.
        let compiled = catch_unwind(AssertUnwindSafe(|| {
            task.compile(
                &mut CudaCompiler::default(),
                &options,
                mode,
                task.address_type(),
            )
        }))
        .map_err(|panic| format!("the expansion panicked: {}", panic_text(&*panic)))?
        .map_err(|error| error.to_string())?;
        let kernel = EmittedKernel {
            arch,
            entry: compiled.entrypoint_name,
            source: compiled.source,
            cube_dim: compiled.cube_dim,
            shared_memory_bytes: compiled.repr.map_or(0, |repr| repr.shared_memory_size()),
        };
        self.check_limits(&kernel).map(|()| kernel)
    }

    fn check_limits(&self, kernel: &EmittedKernel) -> Result<(), String> {
        let hardware = &self.utilities.properties.hardware;
        let (units, max_units) = (kernel.cube_dim.num_elems(), hardware.max_units_per_cube);
        if units == 0 || units > max_units {
            return Err(format!(
                "{units} threads a block, the device takes {max_units}"
            ));
        }
        let (bytes, max_bytes) = (kernel.shared_memory_bytes, hardware.max_shared_memory_size);
        if bytes > max_bytes {
            return Err(format!(
                "{bytes} bytes of shared memory, the device has {max_bytes}"
            ));
        }
        Ok(())
    }

    fn grid(&mut self, count: CubeCount) -> Result<[u32; 3], String> {
        let grid = match count {
            CubeCount::Static(x, y, z) => [x, y, z],
            CubeCount::Dynamic(binding) => {
                let memory = self.bound(&binding)?;
                let word = |i: usize| memory.bytes()[4 * i..4 * i + 4].try_into();
                [0, 1, 2].map(|i| u32::from_ne_bytes(word(i).expect("a word has four bytes")))
            }
        };
        let (max_x, max_y, max_z) = self.utilities.properties.hardware.max_cube_count;
        let is_legal = |(size, max): (&u32, u32)| (1..=max).contains(size);
        if grid.iter().zip([max_x, max_y, max_z]).all(is_legal) {
            return Ok(grid);
        }
        Err(format!(
            "a grid of {grid:?} blocks, each size must be 1 to {max_x}, {max_y}, {max_z}"
        ))
    }

    /// A kernel that writes past its buffer is found here, before it can harm a neighbour unseen.
    fn check_guards(&mut self, bindings: &[Binding]) -> Result<(), String> {
        for (position, binding) in bindings.iter().enumerate() {
            let whole = self.memory.get_resource(binding.memory.clone(), None, None);
            let mut whole = whole.map_err(|error| error.to_string())?;
            // CubeCL rounds the size up and keeps the exact end in the offset. A view cuts off
            // whole multiples of the alignment on top of that.
            let padding = binding.offset_end.unwrap_or(0) % ALIGNMENT_BYTES as u64;
            let guard = &mut whole.bytes_mut()[(binding.size - padding) as usize..];
            if guard.iter().any(|byte| *byte != D::FRESH_BYTE) {
                guard.fill(D::FRESH_BYTE);
                return Err(format!("wrote past the end of buffer {position}"));
            }
        }
        Ok(())
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
