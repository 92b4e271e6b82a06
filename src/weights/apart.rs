//! Adapters that are kept apart from the weights that they adapt.

use std::collections::BTreeMap;

use burn::module::Module;
use burn::tensor::TensorData;

use super::checkpoint::Checkpoint;
use super::convert::zeros;
use super::key_map::KeyMap;
use super::load::{choose_types, fill};
use super::options::WeightOptions;
use super::parameters::Parameters;
use super::plan::Plan;
use super::source::{LowRank, NamedTensor, Piece, Source};
use crate::error::Result;
use crate::kernels::VlmBackend;

/// Ranks come in multiples of this many: kernels read rows of whole vectors, and what is added is zero.
const RANK_STEP: usize = 8;

/// What an adapter adds to one matrix, `up down`, in f32.
#[derive(Debug)]
pub(crate) struct LowRankFactors {
    /// `[rank, in_features]`
    pub(crate) down: TensorData,
    /// `[out_features, rank]`, scaled.
    pub(crate) up: TensorData,
}

/// A module that an adapter was loaded beside.
pub(crate) struct LoadedApart<M> {
    /// With the parameters that the adapter saved whole.
    pub(crate) module: M,
    /// The paths of those.
    pub(crate) replaced: Vec<String>,
    /// What it adds to others, by their paths.
    pub(crate) factors: BTreeMap<String, LowRankFactors>,
}

/// Loads the adapter that was [added](Checkpoint::add_adapter) to `checkpoint` last beside `module`,
/// which was loaded without it.
///
/// `blank` is the same module with nothing loaded: it has the shapes that files have, and a packed
/// matrix has not. What an adapter adds stays floats whatever it is added to; what it saved whole is
/// kept as a load would keep it.
///
/// # Errors
///
/// As [`load_module`](super::load_module).
pub(crate) fn load_apart<B: VlmBackend, M: Module<B>>(
    blank: &M,
    module: M,
    checkpoint: &Checkpoint,
    key_map: &KeyMap,
    options: WeightOptions<'_>,
) -> Result<LoadedApart<M>> {
    let parameters = Parameters::<B>::of(blank);
    let device = parameters.device.clone();
    let mut plan = Plan::new(parameters, checkpoint, key_map, &options)?;
    let mut factors = BTreeMap::new();
    for (path, source) in std::mem::take(&mut plan.sources) {
        // Where an adapter saved some of what is fused whole, filling adds its products to the rest.
        if is_replaced(&source, checkpoint) {
            plan.sources.insert(path, source);
        } else if let Some(found) = LowRankFactors::read(&source, checkpoint)? {
            factors.insert(path, found);
        }
    }
    // Of these alone: to choose, rows are read.
    choose_types::<B>(&mut plan, checkpoint, &options, device.as_ref())?;
    Ok(LoadedApart {
        module: fill(module, checkpoint, &plan, device, None)?,
        replaced: plan.sources.into_keys().collect(),
        factors,
    })
}

/// Whether the adapter holds the parameter itself.
fn is_replaced(source: &Source<'_>, checkpoint: &Checkpoint) -> bool {
    let is_own = |piece: &Piece<'_>| match piece {
        Piece::Zeros(_) => false,
        Piece::Rows { tensor, .. } => checkpoint.is_of_last_adapter(tensor.name),
    };
    source.pieces.iter().any(is_own)
}

/// A product and where it belongs.
struct Placed<'s, 'c> {
    update: &'s LowRank<'c>,
    /// The first row of the parameter that it is added to.
    row: usize,
    /// The first of its columns among those of all products.
    column: usize,
}

/// The products of the last adapter that are added to one parameter.
#[derive(Default)]
struct Products<'s, 'c> {
    placed: Vec<Placed<'s, 'c>>,
    /// The factors that narrow, each once, in the order of their columns.
    downs: Vec<NamedTensor<'c>>,
    /// Rows of the parameter.
    num_rows: usize,
}

impl<'s, 'c> Products<'s, 'c> {
    fn of(source: &'s Source<'c>, checkpoint: &Checkpoint) -> Self {
        let mut products = Self::default();
        for piece in &source.pieces {
            for update in piece.updates() {
                if checkpoint.is_of_last_adapter(update.down.name) {
                    let (row, column) = (products.num_rows, products.column_of(update.down));
                    products.placed.push(Placed {
                        update,
                        row,
                        column,
                    });
                }
            }
            products.num_rows += piece.len() / source.columns.max(1);
        }
        products
    }

    /// Rows in an order of their own come in pieces that share their factors.
    fn column_of(&mut self, down: NamedTensor<'c>) -> usize {
        let mut column = 0;
        for known in &self.downs {
            if known.name == down.name {
                return column;
            }
            column += known.num_rows();
        }
        self.downs.push(down);
        column
    }

    /// The ranks of all together, in whole steps.
    fn rank(&self) -> usize {
        let rank: usize = self.downs.iter().map(NamedTensor::num_rows).sum();
        rank.next_multiple_of(RANK_STEP)
    }
}

impl LowRankFactors {
    /// All products of the last adapter as one, or `None` if there is none.
    fn read(source: &Source<'_>, checkpoint: &Checkpoint) -> Result<Option<Self>> {
        let products = Products::of(source, checkpoint);
        let Some(first) = products.downs.first() else {
            return Ok(None);
        };
        let (rank, columns, num_rows) = (products.rank(), source.columns, products.num_rows);
        let mut down: Vec<f32> = zeros(first.name, rank.saturating_mul(columns))?;
        let mut rest = down.as_mut_slice();
        for factor in &products.downs {
            let values = factor.read_rows::<f32>(checkpoint, &(0..factor.num_rows()))?;
            let (target, others) = rest.split_at_mut(values.len());
            target.copy_from_slice(&values);
            rest = others;
        }
        let mut up: Vec<f32> = zeros(first.name, rank.saturating_mul(num_rows))?;
        for product in &products.placed {
            product.write(&mut up, rank, checkpoint)?;
        }
        Ok(Some(Self {
            down: TensorData::new(down, [rank, columns]),
            up: TensorData::new(up, [num_rows, rank]),
        }))
    }
}

impl Placed<'_, '_> {
    fn write(&self, up: &mut [f32], rank: usize, checkpoint: &Checkpoint) -> Result<()> {
        let LowRank {
            down,
            up: own,
            scale,
            up_rows,
        } = self.update;
        let own_rank = down.num_rows();
        let values = own.read_rows::<f32>(checkpoint, up_rows)?;
        let rows = up.chunks_exact_mut(rank).skip(self.row);
        for (target, values) in rows.zip(values.chunks_exact(own_rank)) {
            let target = &mut target[self.column..][..own_rank];
            for (target, value) in target.iter_mut().zip(values) {
                *target = value * scale;
            }
        }
        Ok(())
    }
}
