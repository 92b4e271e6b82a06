//! Fills a module with the tensors of a checkpoint.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Bool, DType, Int, Shape, Tensor, TensorData};

use super::checkpoint::Checkpoint;
use super::kept_type::KeptType;
use super::key_map::KeyMap;
use super::matrix_type::Reading;
use super::options::{LoadProgress, ProgressCallback, WeightOptions};
use super::parameters::{ModulePath, Parameters};
use super::plan::{Plan, stored_bytes};
use super::report::LoadReport;
use super::source::{NamedTensor, Source};
use crate::error::{DeviceError, Result};
use crate::kernels::{GROUP_LEN, PackedType, VlmBackend};

/// Bytes that may be on their way to the device: uploads are queued together with their host copy.
const MAX_QUEUED_BYTES: u64 = 256 << 20;

/// Fills every float parameter of `module` from `checkpoint`, under the names that `key_map` gives.
///
/// All names, shapes and types are checked before the first tensor is read, and a parameter that
/// was never made is not made to be replaced. Shapes are those of the file: nothing is transposed.
/// Every parameter is contiguous on the device and keeps its place and its need of gradients.
///
/// # Errors
///
/// [`CheckpointError::Incomplete`](crate::error::CheckpointError::Incomplete) if module and
/// checkpoint do not fit, another `CheckpointError` if a tensor cannot be read as the type it is
/// to be kept in, [`DeviceError::Failed`] if the device refuses the weights.
pub fn load_module<B: VlmBackend, M: Module<B>>(
    module: M,
    checkpoint: &Checkpoint,
    key_map: &KeyMap,
    options: WeightOptions<'_>,
) -> Result<(M, LoadReport)> {
    let (plan, device) = plan::<B, M>(&module, checkpoint, key_map, &options)?;
    let module = fill(module, checkpoint, &plan, device, options.progress)?;
    Ok((module, plan.report))
}

/// Fills the parameters that `plan` has sources for.
pub(super) fn fill<B: VlmBackend, M: Module<B>>(
    module: M,
    checkpoint: &Checkpoint,
    plan: &Plan<'_>,
    device: Option<B::Device>,
    progress: Option<&mut ProgressCallback<'_>>,
) -> Result<M> {
    let mut filler = Filler::<B> {
        checkpoint,
        plan,
        path: ModulePath::default(),
        progress,
        done_bytes: 0,
        queued_bytes: 0,
        codes: None,
        outcome: Ok(()),
        device,
    };
    let module = module.map(&mut filler);
    filler.finish()?;
    Ok(module)
}

/// What [`load_module`] would report, reading no more than the rows by which bits are chosen.
///
/// # Errors
///
/// As [`load_module`], but for what only the content of a tensor shows.
pub(crate) fn check_module<B: VlmBackend, M: Module<B>>(
    module: &M,
    checkpoint: &Checkpoint,
    key_map: &KeyMap,
    options: &WeightOptions<'_>,
) -> Result<LoadReport> {
    plan::<B, M>(module, checkpoint, key_map, options).map(|(plan, _)| plan.report)
}

/// What fills `module`, and the device it is on.
fn plan<'c, B: VlmBackend, M: Module<B>>(
    module: &M,
    checkpoint: &'c Checkpoint,
    key_map: &KeyMap,
    options: &WeightOptions<'_>,
) -> Result<(Plan<'c>, Option<B::Device>)> {
    let parameters = Parameters::<B>::of(module);
    let device = parameters.device.clone();
    let mut plan = Plan::new(parameters, checkpoint, key_map, options)?;
    choose_types::<B>(&mut plan, checkpoint, options, device.as_ref())?;
    Ok((plan, device))
}

/// What the parameters of a plan are kept in on `device`.
pub(super) fn choose_types<B: VlmBackend>(
    plan: &mut Plan<'_>,
    checkpoint: &Checkpoint,
    options: &WeightOptions<'_>,
    device: Option<&B::Device>,
) -> Result<()> {
    let reads_matrix = |kept: KeptType, columns| match (device, kept) {
        (None, _) => Reading::Never,
        (Some(device), KeptType::Floats(weight_type)) => {
            match B::vlm_reads_matrix(device, weight_type.dtype(), columns) {
                true => Reading::Kernel,
                false => Reading::Never,
            }
        }
        (Some(device), KeptType::Packed(_)) if !stores_packed::<B>(device) => Reading::Never,
        (Some(_), KeptType::Packed(_)) if B::vlm_has_packed_kernels() => Reading::Kernel,
        (Some(_), KeptType::Packed(_)) => Reading::Slow,
    };
    plan.choose_types(checkpoint, options.matrices, &reads_matrix)
}

/// Whether the device has the types of codes and scales.
fn stores_packed<B: VlmBackend>(device: &B::Device) -> bool {
    let mut types = [DType::U32, DType::F16].into_iter();
    types.all(|dtype| B::supports_dtype(device, dtype))
}

struct Filler<'l, 'p, 'c, B: Backend> {
    checkpoint: &'l Checkpoint,
    plan: &'l Plan<'l>,
    path: ModulePath,
    progress: Option<&'p mut ProgressCallback<'c>>,
    done_bytes: u64,
    queued_bytes: u64,
    device: Option<B::Device>,
    /// The codes of the matrix whose numbers were filled last, none of floats: a mapper sees them next.
    codes: Option<TensorData>,
    /// The first failure; a mapper cannot stop the walk, so the rest of it does nothing.
    outcome: Result<()>,
}

impl<B: Backend> Filler<'_, '_, '_, B> {
    fn finish(mut self) -> Result<()> {
        std::mem::replace(&mut self.outcome, Ok(()))?;
        self.wait_for_uploads()
    }

    fn upload<const D: usize>(
        &mut self,
        param: &Param<Tensor<B, D>>,
        source: &Source,
    ) -> Result<Tensor<B, D>> {
        let device = param.lazy_device();
        let tensor = match source.kept {
            KeptType::Floats(weight_type) => {
                let data = source.read(self.checkpoint, weight_type)?;
                let shape = match self.path.is_in_matrix() {
                    // What it takes the place of may be packed.
                    true => {
                        self.codes = Some(TensorData::new(Vec::<u32>::new(), [0]));
                        let columns = source.columns;
                        Shape::from([data.num_elements() / columns.max(1), columns])
                    }
                    false => param.lazy_shape(),
                };
                upload_floats::<B, D>(data, weight_type.dtype(), shape, &device)
            }
            KeptType::Packed(packed_type) => {
                let [codes, numbers] = source.read_packed(self.checkpoint, packed_type)?;
                self.codes = Some(codes);
                upload_numbers::<B, D>(numbers, packed_type, source.columns, &device)
            }
        };
        let tensors = source.tensors();
        self.queued_bytes += tensors.iter().map(stored_bytes).sum::<u64>();
        if self.queued_bytes > MAX_QUEUED_BYTES {
            self.wait_for_uploads()?;
        }
        tensors
            .iter()
            .for_each(|tensor| self.report_progress(tensor));
        Ok(tensor)
    }

    fn wait_for_uploads(&mut self) -> Result<()> {
        self.queued_bytes = 0;
        let Some(device) = &self.device else {
            return Ok(());
        };
        B::sync(device).map_err(|error| {
            let reason = error.to_string();
            DeviceError::Failed {
                stage: "the upload of weights",
                reason,
            }
            .into()
        })
    }

    fn report_progress(&mut self, tensor: &NamedTensor) {
        self.done_bytes += stored_bytes(tensor);
        if let Some(progress) = &mut self.progress {
            progress(LoadProgress {
                done_bytes: self.done_bytes,
                total_bytes: self.plan.report.stored_bytes,
                tensor: tensor.name,
            });
        }
    }
}

fn upload_floats<B: Backend, const D: usize>(
    data: TensorData,
    dtype: DType,
    shape: Shape,
    device: &B::Device,
) -> Tensor<B, D> {
    // One axis first: CUDA pads the rows of a matrix that is uploaded as one.
    B::memory_persistent_allocations(device, data, |data| {
        Tensor::<B, 1>::from_data(data, (device, dtype)).reshape(shape.clone())
    })
}

/// The numbers of a packed matrix: in f16, or in f32 where the device has none.
fn upload_numbers<B: Backend, const D: usize>(
    numbers: TensorData,
    packed_type: PackedType,
    columns: usize,
    device: &B::Device,
) -> Tensor<B, D> {
    let per_row = columns / GROUP_LEN * packed_type.numbers_of_group();
    let shape = [numbers.num_elements() / per_row.max(1), per_row];
    let dtype = match B::supports_dtype(device, DType::F16) {
        true => DType::F16,
        false => DType::F32,
    };
    upload_floats(numbers.convert_dtype(dtype), dtype, shape.into(), device)
}

impl<B: Backend> ModuleMapper<B> for Filler<'_, '_, '_, B> {
    fn enter_module(&mut self, name: &str, container_type: &str) {
        self.path.enter(name, container_type);
    }

    fn exit_module(&mut self, name: &str, container_type: &str) {
        self.path.exit(name, container_type);
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let plan = self.plan;
        let source = plan.sources.get(&self.path.join());
        let (Some(source), Ok(())) = (source, &self.outcome) else {
            return param;
        };
        match self.upload(&param, source) {
            Ok(tensor) => {
                let id = param.id;
                param.transform_for_load(tensor, id)
            }
            Err(error) => {
                self.outcome = Err(error);
                param
            }
        }
    }

    fn map_int<const D: usize>(
        &mut self,
        param: Param<Tensor<B, D, Int>>,
    ) -> Param<Tensor<B, D, Int>> {
        let is_in_matrix = self.path.is_in_matrix();
        let Some(codes) = self.codes.take().filter(|_| is_in_matrix) else {
            return param;
        };
        let [rows, words] = param.lazy_shape().dims();
        let shape = [rows, codes.num_elements() / rows.max(1)];
        let (device, id) = (param.lazy_device(), param.id);
        if shape == [rows, 0] {
            return match words {
                0 => param,
                _ => param.transform_for_load(Tensor::empty(shape, (&device, DType::U32)), id),
            };
        }
        let tensor = B::memory_persistent_allocations(&device, codes, |codes| {
            Tensor::<B, 1, Int>::from_data(codes, (&device, DType::U32)).reshape(Shape::from(shape))
        });
        param.transform_for_load(tensor, id)
    }

    fn map_bool<const D: usize>(
        &mut self,
        param: Param<Tensor<B, D, Bool>>,
    ) -> Param<Tensor<B, D, Bool>> {
        param
    }
}

#[cfg(test)]
mod packed_tests;
#[cfg(test)]
mod part_tests;
#[cfg(test)]
mod tests;
