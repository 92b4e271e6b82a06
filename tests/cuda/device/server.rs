//! The server behind a made-up card: memory, copies, launches, and errors as CUDA reports them.

use std::collections::HashMap;
use std::sync::Arc;

use cubecl::backtrace::BackTrace;
use cubecl::bytes::Bytes;
use cubecl::device::{DeviceId, DeviceService, ServerUtilitiesHandle};
use cubecl::future::DynFut;
use cubecl::prelude::*;
use cubecl::profile::ProfileDuration;
use cubecl::server::{
    Binding, ComputeServer, CopyDescriptor, KernelArguments, ProfileError, ProfilingToken,
    ServerCommunication, ServerError, ServerUtilities,
};
use cubecl::stream_id::StreamId;
use cubecl::{CubeTask, MemoryConfiguration, MemoryUsage};
use cubecl_runtime::allocator::PitchedMemoryLayoutPolicy;
use cubecl_runtime::logging::ServerLogger;
use cubecl_runtime::memory_management::{
    ManagedMemoryHandle, MemoryAllocationMode, MemoryManagement, MemoryManagementOptions,
};
use cubecl_runtime::storage::ManagedResource;
use cubecl_runtime::timestamp_profiler::TimestampProfiler;

use super::memory::{HostMemory, HostStorage, read_rows, write_rows};
use super::properties::{self, ALIGNMENT_BYTES};
use super::runtime::{CudaCompiler, EmittedKernel, HostDevice, KernelLog};

/// Bytes behind every allocation that no kernel may touch.
const GUARD_BYTES: u64 = 4096;

pub(crate) type Task = Box<dyn CubeTask<CudaCompiler>>;

/// Runs on the device's own thread. Errors wait here until `read`, `sync` or `flush` reports them,
/// whichever stream asks: a device belongs to one test.
#[derive(Debug)]
pub(crate) struct HostServer<D: HostDevice> {
    pub(crate) device: D,
    pub(crate) memory: MemoryManagement<HostStorage>,
    pub(crate) utilities: Arc<ServerUtilities<Self>>,
    pub(crate) kernels: HashMap<KernelId, Arc<Prepared<D::Program>>>,
    errors: Vec<String>,
    clock: TimestampProfiler,
}

/// A kernel that was emitted and made ready to run.
#[derive(Debug)]
pub(crate) struct Prepared<P> {
    pub(crate) kernel: Arc<EmittedKernel>,
    pub(crate) program: P,
}

impl<D: HostDevice> HostServer<D> {
    pub(crate) fn bound(&mut self, binding: &Binding) -> Result<HostMemory, String> {
        self.memory
            .get_resource(
                binding.memory.clone(),
                binding.offset_start,
                binding.offset_end,
            )
            .map_err(|error| error.to_string())
    }

    fn initialize(&mut self, memory: ManagedMemoryHandle, size: u64) -> Result<(), String> {
        let reserved = self
            .memory
            .reserve(size + GUARD_BYTES)
            .map_err(|e| e.to_string())?;
        let binding = reserved.clone().binding();
        let fresh = self.memory.get_resource(binding, None, None);
        fresh
            .map_err(|error| error.to_string())?
            .bytes_mut()
            .fill(D::FRESH_BYTE);
        self.memory
            .bind(reserved, memory, 0)
            .map_err(|error| error.to_string())
    }

    fn report(&mut self) -> Result<(), ServerError> {
        if self.errors.is_empty() {
            return Ok(());
        }
        let reason = std::mem::take(&mut self.errors).join("\n");
        Err(ServerError::Generic {
            reason,
            backtrace: BackTrace::capture(),
        })
    }

    fn keep_error(&mut self, outcome: Result<(), String>) {
        self.errors.extend(outcome.err());
    }
}

impl<D: HostDevice> DeviceService for HostServer<D> {
    fn init(id: DeviceId) -> Self {
        let device = D::from_id(id);
        let logger = Arc::new(ServerLogger::default());
        let memory = MemoryManagement::from_configuration(
            HostStorage::default(),
            &properties::memory(),
            MemoryConfiguration::default(),
            logger.clone(),
            MemoryManagementOptions::new(D::NAME),
        );
        let utilities = Arc::new(ServerUtilities::new(
            properties::device(device.arch()),
            logger,
            KernelLog::default(),
            PitchedMemoryLayoutPolicy::new(ALIGNMENT_BYTES),
        ));
        let clock = TimestampProfiler::default();
        let (kernels, errors) = (HashMap::new(), Vec::new());
        Self {
            device,
            memory,
            clock,
            utilities,
            kernels,
            errors,
        }
    }

    fn utilities(&self) -> ServerUtilitiesHandle {
        self.utilities.clone() as ServerUtilitiesHandle
    }
}

impl<D: HostDevice> ServerCommunication for HostServer<D> {
    const SERVER_COMM_ENABLED: bool = false;
}

impl<D: HostDevice> ComputeServer for HostServer<D> {
    type Kernel = Task;
    type Info = KernelLog;
    type MemoryLayoutPolicy = PitchedMemoryLayoutPolicy;
    type Storage = HostStorage;

    unsafe fn launch(
        &mut self,
        task: Task,
        count: CubeCount,
        arguments: KernelArguments,
        mode: ExecutionMode,
        _stream: StreamId,
    ) {
        let outcome = self.try_launch(task, count, arguments, mode);
        self.keep_error(outcome);
    }

    fn initialize_memory(&mut self, memory: ManagedMemoryHandle, size: u64, _stream: StreamId) {
        let outcome = self.initialize(memory, size);
        self.keep_error(outcome);
    }

    fn read(
        &mut self,
        tensors: Vec<CopyDescriptor>,
        _stream: StreamId,
    ) -> DynFut<Result<Vec<Bytes>, ServerError>> {
        let mut packed = Vec::with_capacity(tensors.len());
        for tensor in tensors {
            match self.bound(&tensor.handle) {
                Ok(memory) => {
                    let rows = read_rows(&memory, &tensor);
                    self.utilities.info.add_read(rows.len());
                    packed.push(Bytes::from_bytes_vec(rows));
                }
                Err(reason) => self.errors.push(reason),
            }
        }
        let outcome = self.report().map(|()| packed);
        Box::pin(async move { outcome })
    }

    fn write(&mut self, tensors: Vec<(CopyDescriptor, Bytes)>, _stream: StreamId) {
        for (tensor, packed) in tensors {
            let memory = self.bound(&tensor.handle);
            let outcome = memory.map(|mut memory| write_rows(&mut memory, &tensor, &packed));
            self.keep_error(outcome);
        }
    }

    fn sync(&mut self, _stream: StreamId) -> DynFut<Result<(), ServerError>> {
        let outcome = self.report();
        Box::pin(async move { outcome })
    }

    fn flush(&mut self, _stream: StreamId) -> Result<(), ServerError> {
        self.report()
    }

    fn get_resource(
        &mut self,
        binding: Binding,
        _stream: StreamId,
    ) -> Result<ManagedResource<HostMemory>, ServerError> {
        let memory = binding.memory.clone();
        let (start, end) = (binding.offset_start, binding.offset_end);
        let resource = self.memory.get_resource(memory, start, end)?;
        Ok(ManagedResource::new(binding.memory, resource))
    }

    fn logger(&self) -> Arc<ServerLogger> {
        self.utilities.logger.clone()
    }

    fn utilities(&self) -> Arc<ServerUtilities<Self>> {
        self.utilities.clone()
    }

    fn memory_usage(&mut self, _stream: StreamId) -> Result<MemoryUsage, ServerError> {
        Ok(self.memory.memory_usage())
    }

    fn memory_cleanup(&mut self, _stream: StreamId) {
        self.memory.cleanup(true);
    }

    fn start_profile(&mut self, _stream: StreamId) -> Result<ProfilingToken, ServerError> {
        Ok(self.clock.start())
    }

    fn end_profile(
        &mut self,
        _stream: StreamId,
        token: ProfilingToken,
    ) -> Result<ProfileDuration, ProfileError> {
        self.clock.stop(token)
    }

    fn allocation_mode(&mut self, mode: MemoryAllocationMode, _stream: StreamId) {
        self.memory.mode(mode);
    }
}
